#include "gal/options.h"

#include <array>
#include <initializer_list>
#include <utility>
#include <vector>

#include "kernels/common/check.h"

namespace galrec::gal {

namespace {

template <class E>
using Names = std::vector<std::pair<const char*, E>>;

// The first name of each list is the default.
const Names<SampleUnit> kUnits{{"prefix", SampleUnit::kPrefix}, {"cut", SampleUnit::kCut}, {"last", SampleUnit::kLast}};
const Names<SampleOrder> kOrders{{"random", SampleOrder::kRandom}, {"neighbours", SampleOrder::kNeighbours}};
const Names<OwnUser> kOwnUsers{{"exclude", OwnUser::kExclude}, {"keep", OwnUser::kKeep}};
const Names<ItemCentre> kItemCentres{{"history", ItemCentre::kHistory}, {"target", ItemCentre::kTarget}};
const Names<PromptCentre> kPromptCentres{{"keep", PromptCentre::kKeep}, {"drop", PromptCentre::kDrop}};
const Names<UserVector> kUserVectors{{"prefix", UserVector::kPrefix},
                                     {"static", UserVector::kStatic},
                                     {"static_drop", UserVector::kStaticDrop},
                                     {"none", UserVector::kNone}};
const Names<PrefixHistory> kPrefixHistories{{"prompt", PrefixHistory::kPrompt}, {"all", PrefixHistory::kAll}};
const Names<LossColumns> kColumns{{"all", LossColumns::kAll}, {"items", LossColumns::kItems}};
const Names<L1Anchor> kAnchors{
    {"hop2", L1Anchor::kHop2}, {"hop0", L1Anchor::kHop0}, {"symmetric", L1Anchor::kSymmetric}};
const Names<Positive> kPositives{{"query", Positive::kQuery}, {"momentum", Positive::kMomentum}};
const Names<Similarity> kSimilarities{{"cosine", Similarity::kCosine}, {"dot", Similarity::kDot}};
const Names<Reduction> kReductions{{"sum", Reduction::kSum}, {"mean", Reduction::kMean}};
const Names<InBatch> kInBatch{{"off", InBatch::kOff}, {"on", InBatch::kOn}};
const Names<QueueEncoder> kQueueEncoders{{"momentum", QueueEncoder::kMomentum}, {"query", QueueEncoder::kQuery}};
const Names<QueueStart> kQueueStarts{{"empty", QueueStart::kEmpty}, {"random", QueueStart::kRandom}};
const Names<bool> kSwitch{{"off", false}, {"on", true}};
const Names<Pooling> kPoolings{{"mean", Pooling::kMean}, {"first", Pooling::kFirst}, {"eos", Pooling::kEos}};
const Names<Mapping> kMappings{{"linear", Mapping::kLinear}, {"mlp", Mapping::kMlp}};
const Names<ExternalRows> kRows{{"frozen", ExternalRows::kFrozen}, {"trainable", ExternalRows::kTrainable}};
const Names<HeadInit> kHeadInits{{"external", HeadInit::kExternal}, {"random", HeadInit::kRandom}};

template <class E>
void add_choice(data::ConfigSchema& schema, const char* key, const Names<E>& names, const char* help) {
  std::vector<std::string> choices;
  for (const auto& [name, value] : names) choices.emplace_back(name);
  schema.add({.name = key, .default_value = choices.front(), .help = help, .choices = std::move(choices)});
}

template <class E>
E chosen(const data::Config& config, const char* key, const Names<E>& names) {
  const std::string& value = config.get_string(key);
  for (const auto& [name, e] : names) {
    if (value == name) return e;
  }
  throw CheckError(fmt::format("{}: no choice {}", key, value));  // the schema has checked it
}

void add_int(data::ConfigSchema& schema, const char* key, std::int64_t value, double min, double max,
             const char* help) {
  schema.add({.name = key, .default_value = value, .help = help, .min = min, .max = max});
}

void add_number(data::ConfigSchema& schema, const char* key, double value, double min, double max, const char* help) {
  schema.add({.name = key, .default_value = value, .help = help, .min = min, .max = max});
}

std::int32_t int32(const data::Config& config, const char* key) {
  return static_cast<std::int32_t>(config.get_int(key));
}

}  // namespace

void add_gal_keys(data::ConfigSchema& schema) {
  schema.add_group("sample", "Training samples and sampled neighbours");
  add_choice(schema, "sample.unit", kUnits,
             "one sample per training prefix, one random cut per user and epoch, or each user's last");
  add_choice(schema, "sample.order", kOrders, "neighbours: micro-batches of users that share items (harder negatives)");
  add_int(schema, "sample.hops", 2, 1, 2, "hops of the prompts; 1 leaves out two-hop neighbours, L1 and L2");
  add_int(schema, "sample.history", 20, 1, 64, "most recent items of a user in a prompt");
  add_int(schema, "sample.users_per_item", 8, 1, 64, "two-hop users drawn per history item");
  add_int(schema, "sample.item_users", 20, 1, 64, "one-hop users drawn per item");
  add_int(schema, "sample.items_per_user", 8, 1, 64, "two-hop items drawn per one-hop user");
  add_int(schema, "sample.max_tokens", 512, 16, 1 << 20, "tokens of one prompt");
  add_choice(schema, "sample.own_user", kOwnUsers, "whether the sample's user may be drawn as a neighbour of i0");
  add_choice(schema, "prompt.centre", kPromptCentres, "whether one- and two-hop prompts name their own user or item");

  schema.add_group("loss", "The objective");
  add_choice(schema, "loss.columns", kColumns,
             "cross-entropy of [item, </s>] over all columns, or of the item over items");
  add_number(schema, "loss.tau", 0.1, 1e-4, 100, "temperature of the contrastive losses");
  add_number(schema, "loss.l1", 0.1, 0, 1e6, "weight of L1 (2-hop and 0-hop)");
  add_number(schema, "loss.l2", 0.1, 0, 1e6, "weight of L2 (2-hop and the other side's 1-hop)");
  add_number(schema, "loss.l3", 0.1, 0, 1e6, "weight of L3 (0-hop and the other side's 1-hop)");
  add_choice(schema, "l1.anchor", kAnchors, "which view of L1 meets the negatives");
  add_choice(schema, "loss.positive", kPositives, "positives from the query encoder with gradient, or momentum keys");
  add_choice(schema, "loss.i0", kItemCentres, "the sample's item: one of the history, or the target");
  add_choice(schema, "loss.similarity", kSimilarities, "of two embeddings");
  add_choice(schema, "loss.reduction", kReductions, "of a user and an item term");

  schema.add_group("queue", "Negatives");
  add_int(schema, "queue.size", 512, 1, 1 << 24, "rows of each of the four queues");
  add_choice(schema, "queue.encoder", kQueueEncoders, "who fills the queues");
  add_choice(schema, "queue.start", kQueueStarts, "empty and growing, or full of random unit rows");
  add_choice(schema, "queue.in_batch", kInBatch, "the other samples' positives join the negatives");
  add_number(schema, "momentum.m", 0.999, 0, 1, "momentum of the key encoder, per optimiser step");
  add_choice(schema, "momentum.dropout", kSwitch, "dropout in the key encoder");

  schema.add_group("external", "Vectors of users and items from another model");
  add_choice(schema, "external.user_vector", kUserVectors,
             "the own user's vector: from the prompt's history, or from all of training");
  add_number(schema, "external.user_drop", 0.5, 0, 1, "static_drop: share of samples without the own user's token");
  add_choice(schema, "external.prefix_history", kPrefixHistories,
             "items of a prefix vector: the prompt's, or all before the target");
  add_choice(schema, "external.mapping", kMappings, "g: linear with bias, or two layers with GELU");
  add_choice(schema, "external.rows", kRows, "whether the vectors themselves train");

  add_choice(schema, "pooling", kPoolings, "a prompt's embedding from its final encoder states");
  add_choice(schema, "head.init", kHeadInits, "head rows of users and items: their embeddings times d^-1/2, or random");
  add_int(schema, "tokens.text_rows", 0, 0, 1 << 24,
          "embedding rows before the first id token; 0: all of the checkpoint's (T5: 32128)");
}

GalOptions GalOptions::from_config(const data::Config& config) {
  GalOptions o;
  o.sampling = {.unit = chosen(config, "sample.unit", kUnits),
                .order = chosen(config, "sample.order", kOrders),
                .hops = int32(config, "sample.hops"),
                .history = int32(config, "sample.history"),
                .users_per_item = int32(config, "sample.users_per_item"),
                .item_users = int32(config, "sample.item_users"),
                .items_per_user = int32(config, "sample.items_per_user"),
                .max_tokens = int32(config, "sample.max_tokens"),
                .own_user = chosen(config, "sample.own_user", kOwnUsers),
                .i0 = chosen(config, "loss.i0", kItemCentres),
                .centre = chosen(config, "prompt.centre", kPromptCentres),
                .user_vector = chosen(config, "external.user_vector", kUserVectors),
                .user_drop = config.get_double("external.user_drop"),
                .prefix_history = chosen(config, "external.prefix_history", kPrefixHistories)};
  o.loss = {.columns = chosen(config, "loss.columns", kColumns),
            .tau = config.get_double("loss.tau"),
            .l1 = config.get_double("loss.l1"),
            .l2 = config.get_double("loss.l2"),
            .l3 = config.get_double("loss.l3"),
            .l1_anchor = chosen(config, "l1.anchor", kAnchors),
            .positive = chosen(config, "loss.positive", kPositives),
            .similarity = chosen(config, "loss.similarity", kSimilarities),
            .reduction = chosen(config, "loss.reduction", kReductions),
            .in_batch = chosen(config, "queue.in_batch", kInBatch)};
  if (o.sampling.hops == 1) o.loss.l1 = o.loss.l2 = 0;
  o.queue = {.size = int32(config, "queue.size"),
             .encoder = chosen(config, "queue.encoder", kQueueEncoders),
             .start = chosen(config, "queue.start", kQueueStarts),
             .momentum = config.get_double("momentum.m"),
             .momentum_dropout = chosen(config, "momentum.dropout", kSwitch)};
  o.mapping = {.pooling = chosen(config, "pooling", kPoolings),
               .mapping = chosen(config, "external.mapping", kMappings),
               .rows = chosen(config, "external.rows", kRows),
               .head_init = chosen(config, "head.init", kHeadInits),
               .text_rows = int32(config, "tokens.text_rows")};
  return o;
}

}  // namespace galrec::gal
