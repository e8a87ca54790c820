#include "gal/session.h"

#include <toml++/toml.h>

#include "data/vocabulary.h"
#include "gal/evaluation/ranking.h"
#include "gal/recommenders/lightgcn.h"
#include "gal/recommenders/pretrain.h"
#include "gal/recommenders/sasrec.h"
#include "gal/training/train_options.h"
#include "layers/t5/checkpoint.h"

namespace galrec::gal {

namespace {

namespace fs = std::filesystem;

// The configuration file of the pre-training run that an embedding folder belongs to.
data::Config pretrain_config(const fs::path& folder) {
  data::Config config(pretrain_schema());
  config.load_toml(folder / "config.toml");
  return config;
}

void add_data_keys(data::ConfigSchema& schema, const std::string& kind) {
  schema.add_group("run", "the run as a whole");
  schema.add({.name = "run.kind", .default_value = kind, .help = "what was trained", .choices = {"gal", "lightgcn", "sasrec"}});
  schema.add({.name = "run.precision", .default_value = std::string("fp32"), .help = "fp32, or bf16 with fp32 sums and master weights: on cuda the storage of activations, on cpu the operands of products", .choices = {"fp32", "bf16"}});
  schema.add({.name = "run.seed", .default_value = std::int64_t{1}, .help = "seed of everything random", .min = 0});
  schema.add_group("data", "what to train on");
  schema.add({.name = "data.path", .default_value = std::string(), .help = "data set folder (galrec prepare)"});
  schema.add({.name = "data.split", .default_value = std::string("leave_one_out"), .help = "protocol", .choices = {"leave_one_out", "temporal"}});
  schema.add({.name = "data.valid_fraction", .default_value = 0.1, .help = "temporal split: share of the validation period", .min = 0, .max = 1});
  schema.add({.name = "data.test_fraction", .default_value = 0.1, .help = "temporal split: share of the test period", .min = 0, .max = 1});
}

const std::string& require_path(const data::Config& config, const char* key, const char* meaning) {
  const std::string& path = config.get_string(key);
  if (path.empty()) throw UsageError(fmt::format("{} is not set: {}", key, meaning));
  return path;
}

ExternalEmbeddings load_external(const data::Config& config, const data::Split& split, std::uint64_t seed) {
  const std::string& source = config.get_string("external.source");
  if (source.empty()) return ExternalEmbeddings::random(split, config.get_int("external.dim"), seed);
  const std::string& tensor = config.get_string("external.tensor");
  return ExternalEmbeddings::load(source, split, tensor.empty() ? std::nullopt : std::make_optional(tensor));
}

data::PromptTemplates load_templates(const data::Config& config) {
  const std::string& path = config.get_string("data.templates");
  return path.empty() ? data::PromptTemplates::defaults() : data::PromptTemplates::load(path);
}

layers::T5Config shape(const data::Config& config, std::int32_t vocabulary) {
  const std::string& checkpoint = config.get_string("model.checkpoint");
  if (!checkpoint.empty()) return layers::open_t5_folder(checkpoint).config;
  auto t5 = layers::T5Config::preset(config.get_string("model.preset"));
  t5.vocab_size = vocabulary;
  return t5;
}

}  // namespace

data::ConfigSchema train_schema() {
  data::ConfigSchema schema;
  add_data_keys(schema, "gal");
  schema.add({.name = "data.tokenizer", .default_value = std::string(), .help = "SentencePiece model; empty: the checkpoint's, the data set's, or one trained on its titles"});
  schema.add({.name = "data.templates", .default_value = std::string(), .help = "prompt template file; empty: the defaults"});
  schema.add({.name = "data.vocab_size", .default_value = std::int64_t{1000}, .help = "pieces of a vocabulary trained for the run", .min = 32, .max = 32000});
  add_gal_keys(schema);
  schema.add({.name = "external.source", .default_value = std::string(), .help = "pre-training run, .npy or .safetensors of item vectors; empty: random vectors"});
  schema.add({.name = "external.tensor", .default_value = std::string(), .help = "which matrix of a .safetensors file"});
  schema.add({.name = "external.dim", .default_value = std::int64_t{64}, .help = "width of random vectors", .min = 1, .max = 65536});
  add_train_keys(schema);
  add_ranking_keys(schema);
  return schema;
}

data::ConfigSchema pretrain_schema() {
  data::ConfigSchema schema;
  add_data_keys(schema, "lightgcn");
  add_pretrain_keys(schema);
  add_lightgcn_keys(schema);
  add_sasrec_keys(schema);
  add_ranking_keys(schema);
  return schema;
}

std::string run_kind(const fs::path& run) {
  const fs::path path = run / "config.toml";
  toml::table table;
  try {
    table = toml::parse_file(path.string());
  } catch (const toml::parse_error& e) {
    throw DataError(fmt::format("{}: {}", path.string(), e.description()));
  }
  const auto kind = table["run"]["kind"].value<std::string>();
  if (!kind) throw DataError(fmt::format("{}: run.kind is missing: not a run of this program", path.string()));
  return *kind;
}

data::Split make_split(const data::Dataset& dataset, const data::Config& config) {
  if (config.get_string("data.split") == "leave_one_out") return data::Split::leave_one_out(dataset);
  return data::Split::temporal(dataset, config.get_double("data.valid_fraction"), config.get_double("data.test_fraction"));
}

fs::path find_vocabulary(const data::Config& config, const fs::path& copy) {
  if (fs::exists(copy)) return copy;
  const std::string& named = config.get_string("data.tokenizer");
  const std::string& checkpoint = config.get_string("model.checkpoint");
  const fs::path data_path = require_path(config, "data.path", "the data set folder");
  fs::path source;
  if (!named.empty()) source = named;
  else if (!checkpoint.empty()) source = data::find_spiece(checkpoint);
  else if (fs::exists(data_path / "spiece.model")) source = data_path / "spiece.model";
  if (source.empty()) {
    data::train_vocabulary(data::Dataset::load(data_path), load_templates(config), static_cast<std::int32_t>(config.get_int("data.vocab_size")), copy);
    return copy;
  }
  std::error_code error;
  fs::copy_file(source, copy, error);
  if (error) throw DataError(fmt::format("data.tokenizer: {} cannot be copied to {}: {}", source.string(), copy.string(), error.message()));
  return copy;
}

Session::Session(const Device& device, const data::Config& config, const fs::path& vocabulary)
    : config_(config),
      seed_(static_cast<std::uint64_t>(config.get_int("run.seed"))),
      options_(GalOptions::from_config(config)),
      dataset_(data::Dataset::load(require_path(config, "data.path", "the data set folder"))),
      split_(make_split(dataset_, config)),
      tokenizer_(data::Tokenizer::load(vocabulary)),
      external_(load_external(config, split_, seed_)) {
  attach_prefix_model(device.host());
  builder_ = std::make_unique<BatchBuilder>(device.host(), split_, load_templates(config).compile(tokenizer_), external_, options_.sampling, seed_);
}

void Session::attach_prefix_model(CpuContext& host) {
  if (!external_.needs_prefix_model() || options_.sampling.user_vector != UserVector::kPrefix) return;
  const fs::path folder = config_.get_string("external.source");
  const data::Config pretrained = pretrain_config(folder);
  prefix_model_ = make_recommender(host, "sasrec", split_, pretrained, static_cast<std::uint64_t>(pretrained.get_int("run.seed")));
  prefix_model_->load(data::find_checkpoint(folder, "best"));
  prefix_model_->finish_epoch(host);
  external_.set_prefix_model([this, &host](std::span<const std::span<const data::ItemId>> histories, View<float, 2> out) {
    const std::vector<data::UserId> unknown(histories.size(), -1);
    prefix_model_->queries(host, unknown, histories, out);
  });
}

template <class T>
std::unique_ptr<GalModel<T>> Session::make_model(const Device& device) const {
  ModelOptions options;
  options.t5 = shape(config_, tokenizer_.vocab_size());
  options.text_rows = options_.mapping.text_rows > 0 ? options_.mapping.text_rows : static_cast<std::int32_t>(options.t5.vocab_size);
  options.users = dataset_.num_users();
  options.items = dataset_.num_items();
  options.user_dim = external_.user_dim();
  options.item_dim = external_.item_dim();
  options.mapping = options_.mapping;
  auto model = std::make_unique<GalModel<T>>(options, memory_of(device));
  model->set_external(external_.user(), external_.item());
  return model;
}

template <class T>
void Session::initialize(const Device& device, GalModel<T>& model) const {
  const std::string& checkpoint = config_.get_string("model.checkpoint");
  if (checkpoint.empty()) model.initialize(device, seed_);
  else model.load_pretrained(device, checkpoint, seed_);
}

#define INSTANTIATE(T)                                                            \
  template std::unique_ptr<GalModel<T>> Session::make_model(const Device&) const; \
  template void Session::initialize(const Device&, GalModel<T>&) const;
INSTANTIATE(float)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
