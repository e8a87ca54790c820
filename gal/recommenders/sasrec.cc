#include "gal/recommenders/sasrec.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "autograd/ops/embedding.h"
#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/ranking_loss.h"
#include "autograd/ops/rows.h"
#include "gal/recommenders/recommender_state.h"

namespace galrec::gal {

namespace {

// Streams of the model's random numbers; dropout masks count up from kDropoutStream.
constexpr std::uint32_t kOrderStream = 0x5a500, kNegativeStream = 0x5a501, kDropoutStream = 0x5a600;
constexpr std::int64_t kQueryBlock = 512;  // histories encoded together

std::int32_t table_row(data::ItemId item) { return item + 1; }  // row 0 is padding

}  // namespace

void add_sasrec_keys(data::ConfigSchema& schema) {
  schema.add_group("sasrec", "SASRec [Kang & McAuley 2018], as S3-Rec trains it");
  schema.add({.name = "sasrec.hidden", .default_value = std::int64_t{64}, .help = "width", .min = 1, .max = 4096});
  schema.add({.name = "sasrec.layers", .default_value = std::int64_t{2}, .help = "blocks", .min = 1, .max = 64});
  schema.add({.name = "sasrec.heads", .default_value = std::int64_t{2}, .help = "attention heads", .min = 1, .max = 64});
  schema.add({.name = "sasrec.inner", .default_value = std::int64_t{256}, .help = "feed-forward width", .min = 1, .max = 65536});
  schema.add({.name = "sasrec.length", .default_value = std::int64_t{50}, .help = "most recent items that are read", .min = 1, .max = 4096});
  schema.add({.name = "sasrec.loss", .default_value = std::string("bce"), .help = "bce: one negative a position (S3-Rec); ce: full softmax", .choices = {"bce", "ce"}});
  schema.add({.name = "sasrec.dropout", .default_value = 0.5, .help = "dropout", .min = 0, .max = 0.99});
  schema.add({.name = "sasrec.lr", .default_value = 1e-3, .help = "Adam learning rate", .min = 0});
  schema.add({.name = "sasrec.batch", .default_value = std::int64_t{256}, .help = "users per step", .min = 1});
}

SasRecOptions sasrec_options(const data::Config& config, std::uint64_t seed) {
  SasRecOptions o;
  o.encoder.hidden_size = config.get_int("sasrec.hidden");
  o.encoder.num_hidden_layers = config.get_int("sasrec.layers");
  o.encoder.num_attention_heads = config.get_int("sasrec.heads");
  o.encoder.intermediate_size = config.get_int("sasrec.inner");
  o.encoder.max_seq_length = config.get_int("sasrec.length");
  o.loss = config.get_string("sasrec.loss") == "ce" ? SasRecLoss::kCe : SasRecLoss::kBce;
  o.dropout = config.get_double("sasrec.dropout");
  o.lr = config.get_double("sasrec.lr");
  o.batch = static_cast<std::int32_t>(config.get_int("sasrec.batch"));
  o.seed = seed;
  return o;
}

SasRec::SasRec(const Device& device, const data::Split& split, const SasRecOptions& options)
    : split_(&split), options_(options), tape_(device), query_tape_(device) {
  const auto& dataset = split.dataset();
  options_.encoder.item_size = dataset.num_items() + 2;  // padding and mask rows, as S3-Rec
  if (options_.encoder.hidden_size % options_.encoder.num_attention_heads != 0)
    throw UsageError(fmt::format("sasrec.hidden {} is not a multiple of sasrec.heads {}", options_.encoder.hidden_size, options_.encoder.num_attention_heads));
  sorted_sequence_.resize(static_cast<std::size_t>(dataset.num_users()));
  for (data::UserId u = 0; u < dataset.num_users(); ++u) {
    if (split.train(u).size() < 2) continue;
    train_users_.push_back(u);
    auto& sorted = sorted_sequence_[static_cast<std::size_t>(u)];
    const auto all = dataset.sequence(u);
    sorted.assign(all.begin(), all.end());
    std::sort(sorted.begin(), sorted.end());
  }
  encoder_ = std::make_unique<layers::SasRecEncoder<float>>(store_, options_.encoder);
  store_.allocate(autograd::Trainable::kYes, memory_of(device));
  layers::init_sasrec(store_, options_.seed);
  optimizer_ = std::make_unique<autograd::AdamW<float>>(store_, autograd::AdamWSettings{});
}

std::unique_ptr<SasRec> SasRec::from_s3rec_folder(const Device& device, const data::Split& split, const std::filesystem::path& folder) {
  const auto path = folder / "config.json";
  std::ifstream in(path);
  if (!in) throw DataError(fmt::format("{}: cannot be read", path.string()));
  std::stringstream text;
  text << in.rdbuf();
  SasRecOptions options;
  options.encoder = layers::SasRecConfig::from_json_text(text.str(), path.string());
  if (options.encoder.item_size != split.dataset().num_items() + 2)
    throw DataError(fmt::format("{}: item_size is {}, expected {} (the data set's {} items, padding and mask)", path.string(),
                                options.encoder.item_size, split.dataset().num_items() + 2, split.dataset().num_items()));
  auto model = std::make_unique<SasRec>(device, split, options);
  load_recommender_parameters(data::SafetensorsFile::open(folder / "model.safetensors"), model->store_);
  return model;
}

void SasRec::build(Batch& batch, std::span<const data::UserId> users, std::int32_t epoch) const {
  batch.ids.clear();
  batch.targets.clear();
  batch.negatives.clear();
  batch.cu.assign(1, 0);
  const auto rows = static_cast<std::uint64_t>(options_.encoder.item_size);
  for (data::UserId u : users) {
    auto train = split_->train(u);
    const auto length = std::min<std::size_t>(train.size() - 1, static_cast<std::size_t>(options_.encoder.max_seq_length));
    const auto inputs = train.subspan(train.size() - 1 - length, length);
    const auto targets = train.subspan(train.size() - length, length);
    const auto& seen = sorted_sequence_[static_cast<std::size_t>(u)];
    PhiloxStream random({.seed = options_.seed, .step = static_cast<std::uint32_t>(epoch), .stream = kNegativeStream},
                        static_cast<std::uint64_t>(u) << 20);
    for (std::size_t t = 0; t < length; ++t) {
      batch.ids.push_back(table_row(inputs[t]));
      batch.targets.push_back(table_row(targets[t]));
      if (options_.loss == SasRecLoss::kCe) continue;
      std::int32_t row = 0;  // from 1: S3-Rec never draws the padding, but may draw the mask row
      do {
        row = 1 + static_cast<std::int32_t>(random.below(rows - 1));
      } while (std::binary_search(seen.begin(), seen.end(), row - 1));
      batch.negatives.push_back(row);
    }
    batch.cu.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
}

autograd::Variable<float> SasRec::step(const Batch& batch, std::int32_t epoch, std::uint32_t step_in_epoch) {
  using namespace autograd;
  // One Philox step per optimiser step: epochs are far fewer than 2^12, steps of one than 2^20.
  const auto key_step = static_cast<std::uint32_t>(epoch) << 20 | step_in_epoch;
  tape_.reset(Recording::kOn, {.seed = options_.seed, .step = key_step, .stream = kDropoutStream});
  store_.zero_gradients();
  const auto cu = tape_.keep(batch.cu);
  const auto positions = layers::left_padded_positions(view_of(std::as_const(batch.cu)), options_.encoder.max_seq_length);
  const auto states = encoder_->forward(tape_, tape_.keep(batch.ids), tape_.keep(positions), cu, layers::DropoutRates::uniform(options_.dropout));
  const auto table = tape_.parameter(store_, encoder_->item_embeddings_id());
  Variable<float> loss;
  if (options_.loss == SasRecLoss::kBce) {
    loss = ranking_loss(tape_, states, embedding(tape_, table, tape_.keep(batch.targets)), embedding(tape_, table, tape_.keep(batch.negatives)),
                        RankingLossKind::kBce);
  } else {
    std::vector<std::int32_t> targets(batch.targets);
    for (auto& t : targets) --t;  // columns are the items alone
    loss = linear_cross_entropy(tape_, states, table, {}, tape_.keep(targets), 1.0, {.first = 1, .count = options_.encoder.item_size - 2});
  }
  tape_.backward(loss);
  store_.finish_gradients();
  optimizer_->step(tape_.device(), options_.lr);
  return loss;
}

EpochReport SasRec::train_epoch(const Device& device, std::int32_t epoch, const std::function<void(std::int64_t)>& progress) {
  std::vector<data::UserId> order(train_users_);
  PhiloxStream random({.seed = options_.seed, .step = static_cast<std::uint32_t>(epoch), .stream = kOrderStream});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  Batch batch;
  std::vector<std::int64_t> positions;  // of each step
  losses_ = Buffer<float>((samples_per_epoch() + options_.batch - 1) / options_.batch, memory_of(device));
  for (std::size_t first = 0; first < order.size(); first += static_cast<std::size_t>(options_.batch)) {
    const auto count = std::min(order.size() - first, static_cast<std::size_t>(options_.batch));
    build(batch, std::span<const data::UserId>(order).subspan(first, count), epoch);
    const auto loss = step(batch, epoch, static_cast<std::uint32_t>(positions.size()));
    losses_.memory().copy(losses_.data() + positions.size(), loss.value().data, sizeof(float));
    positions.push_back(static_cast<std::int64_t>(batch.ids.size()));
    progress(static_cast<std::int64_t>(first + count));
  }
  const auto losses = on_host(device, losses_.view());
  synchronize<float>(device);
  double total = 0;
  std::int64_t all = 0;
  for (std::size_t s = 0; s < positions.size(); ++s) {
    total += static_cast<double>(losses.view()[static_cast<std::int64_t>(s)]) * static_cast<double>(positions[s]);
    all += positions[s];
  }
  return {.loss = all > 0 ? total / static_cast<double>(all) : 0.0, .samples = samples_per_epoch()};
}

void SasRec::queries(const Device&, std::span<const data::UserId>, std::span<const std::span<const data::ItemId>> histories,
                     View<float, 2> out) const {
  using namespace autograd;
  const auto longest = static_cast<std::size_t>(options_.encoder.max_seq_length);
  for (std::size_t first = 0; first < histories.size(); first += kQueryBlock) {
    const auto block = histories.subspan(first, std::min<std::size_t>(kQueryBlock, histories.size() - first));
    std::vector<std::int32_t> ids, cu{0};
    for (const auto& history : block) {
      const auto recent = history.subspan(history.size() - std::min(history.size(), longest));
      for (data::ItemId i : recent) ids.push_back(table_row(i));
      cu.push_back(static_cast<std::int32_t>(ids.size()));
    }
    query_tape_.reset(Recording::kOff);
    std::vector<std::int32_t> last;  // rows of the states after each history that is not empty
    for (std::size_t n = 0; n < block.size(); ++n)
      if (cu[n] < cu[n + 1]) last.push_back(cu[n + 1] - 1);
    Variable<float> states;
    if (!ids.empty()) {
      const auto positions = layers::left_padded_positions(view_of(std::as_const(cu)), options_.encoder.max_seq_length);
      states = encoder_->forward(query_tape_, query_tape_.keep(ids), query_tape_.keep(positions), query_tape_.keep(cu), layers::DropoutRates::none());
      states = embedding(query_tape_, states, query_tape_.keep(last));
    }
    const auto rows = on_host(query_tape_.device(), states.value());
    std::int64_t next = 0;
    for (std::size_t n = 0; n < block.size(); ++n) {
      float* row = out.row(static_cast<std::int64_t>(first + n));
      if (cu[n] == cu[n + 1]) std::fill_n(row, out.cols(), 0.0f);
      else std::copy_n(rows->row(next++), out.cols(), row);
    }
  }
}

RankedItems<float> SasRec::items() const {
  return {.rows = View<const float, 2>(store_.value(encoder_->item_embeddings_id())), .first_item = 1};
}

EmbeddingTables SasRec::embeddings(const Device& device) {
  const std::int64_t users = split_->dataset().num_users(), d = options_.encoder.hidden_size;
  std::vector<data::UserId> ids(static_cast<std::size_t>(users));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<std::span<const data::ItemId>> histories;
  for (data::UserId u : ids) histories.push_back(split_->train(u));
  user_vectors_ = Buffer<float>(users * d);
  queries(device, ids, histories, user_vectors_.view(users, d));
  item_vectors_ = store_.read(encoder_->item_embeddings_id());
  return {.user = user_vectors_.view(users, d), .item = item_vectors_->view().slice_rows(1, split_->dataset().num_items())};
}

void SasRec::save(const std::filesystem::path& folder) const { save_recommender_state(folder, store_, *optimizer_); }
void SasRec::load(const std::filesystem::path& folder) { load_recommender_state(folder, store_, *optimizer_); }

}  // namespace galrec::gal
