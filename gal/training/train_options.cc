#include "gal/training/train_options.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

struct Preset {
  const char* name;
  const char* toml;
};

// nano and mini: what a prototype of nano trained well with (methods.md section 7): one random cut per user and epoch, a
// high rate, dropout on the embedded prompt alone, cross-entropy over items.
constexpr Preset kPresets[] = {
    {"nano", R"(
[model]
preset = "nano"
dropout = 0.0
embedding_dropout = 0.2
[train]
lr = 1e-3
batch = 128
micro_batch = 64
epochs = 12
weight_decay = 0.01
[sample]
unit = "cut"
[loss]
columns = "items"
[external]
rows = "frozen"
)"},
    {"mini", R"(
[model]
preset = "mini"
dropout = 0.0
embedding_dropout = 0.2
[train]
lr = 5e-4
batch = 128
micro_batch = 64
epochs = 12
weight_decay = 0.01
[sample]
unit = "cut"
[loss]
columns = "items"
[external]
rows = "frozen"
)"},
    {"flan-t5-small", "[model]\npreset = \"flan-t5-small\"\n"},
    {"flan-t5-base", "[model]\npreset = \"flan-t5-base\"\n"},
    {"flan-t5-large", "[model]\npreset = \"flan-t5-large\"\n"},
};

void add_number(data::ConfigSchema& schema, const char* key, double value, double min, double max, const char* help) {
  schema.add({.name = key, .default_value = value, .help = help, .min = min, .max = max});
}

void add_int(data::ConfigSchema& schema, const char* key, std::int64_t value, double min, double max, const char* help) {
  schema.add({.name = key, .default_value = value, .help = help, .min = min, .max = max});
}

}  // namespace

void add_train_keys(data::ConfigSchema& schema) {
  const TrainOptions d;
  schema.add_group("model", "The language model");
  schema.add({.name = "model.preset", .default_value = std::string("nano"), .help = "size of the model", .choices = preset_names()});
  schema.add({.name = "model.checkpoint",
              .default_value = std::string(),
              .help = "Hugging Face folder to start from (config.json, model.safetensors, spiece.model); empty: random weights"});
  add_number(schema, "model.dropout", 0.1, 0, 0.95, "dropout inside the transformer");
  add_number(schema, "model.embedding_dropout", 0.1, 0, 0.95, "dropout on the embedded prompt");

  schema.add_group("train", "Optimisation");
  add_int(schema, "train.epochs", d.epochs, 1, 1e6, "passes over the training samples");
  add_int(schema, "train.batch", d.batch, 1, 1e6, "samples per optimiser step");
  add_int(schema, "train.micro_batch", d.micro_batch, 1, 1e6, "samples per forward pass; gradients of a batch are accumulated");
  add_number(schema, "train.lr", d.lr, 0, 10, "peak learning rate");
  add_number(schema, "train.warmup", d.warmup, 0, 1, "share of all steps that warm up; then linear decay to 0");
  add_number(schema, "train.weight_decay", d.adamw.weight_decay, 0, 10, "decoupled weight decay of matrices");
  add_number(schema, "train.beta1", d.adamw.beta1, 0, 0.9999, "AdamW");
  add_number(schema, "train.beta2", d.adamw.beta2, 0, 0.999999, "AdamW");
  add_number(schema, "train.eps", d.adamw.eps, 1e-16, 1, "AdamW");
  add_number(schema, "train.clip", d.clip, 0, 1e9, "largest global norm of the gradient; 0: no clipping");
  add_int(schema, "train.patience", d.patience, 0, 1e6, "validations without a better score that end training; 0: never");
  add_int(schema, "train.eval_every", d.eval_every, 1, 1e6, "epochs between validations");
  schema.add({.name = "train.metric", .default_value = d.metric.name(), .help = "what validation selects by: HR@K, NDCG@K or MRR"});
  add_int(schema, "train.log_every", d.log_every, 1, 1e9, "steps per line of metrics.jsonl");
  add_int(schema, "train.statistics_every", d.statistics_every, 0, 1e9, "steps between hop statistics; 0: never");
  add_number(schema, "train.checkpoint_minutes", d.checkpoint_minutes, 0, 1e6, "time between checkpoints within an epoch");
  schema.add({.name = "train.warm_start",
              .default_value = std::string(),
              .help = "checkpoint folder of another run whose parameters training starts from"});

  schema.add_group("cuda", "Steps on a CUDA device");
  schema.add({.name = "cuda.graph",
              .default_value = std::string("on"),
              .help = "steps that come again in the same shape are captured in CUDA graphs and replayed",
              .choices = {"on", "off"}});
  add_int(schema, "cuda.bucket", d.bucket, 0, 1 << 20,
          "the prompts of a step are padded to multiples of so many tokens, a multiple of 64, so that shapes come "
          "again; 0: no padding");
}

TrainOptions train_options(const data::Config& config) {
  TrainOptions o;
  o.epochs = config.get_int("train.epochs");
  o.batch = config.get_int("train.batch");
  o.micro_batch = std::min(config.get_int("train.micro_batch"), o.batch);
  o.lr = config.get_double("train.lr");
  o.warmup = config.get_double("train.warmup");
  o.clip = config.get_double("train.clip");
  o.adamw = {.beta1 = config.get_double("train.beta1"),
             .beta2 = config.get_double("train.beta2"),
             .eps = config.get_double("train.eps"),
             .weight_decay = config.get_double("train.weight_decay")};
  o.patience = config.get_int("train.patience");
  o.eval_every = config.get_int("train.eval_every");
  o.metric = Metric::parse(config.get_string("train.metric"));
  o.log_every = config.get_int("train.log_every");
  o.statistics_every = config.get_int("train.statistics_every");
  o.checkpoint_minutes = config.get_double("train.checkpoint_minutes");
  o.warm_start = config.get_string("train.warm_start");
  o.graph = config.get_string("cuda.graph") == "on" ? GraphUse::kOn : GraphUse::kOff;
  o.bucket = config.get_int("cuda.bucket");
  if (o.bucket % 64 != 0) throw UsageError(fmt::format("cuda.bucket: got {}, expected a multiple of 64", o.bucket));
  o.dropout = layers::DropoutRates::uniform(config.get_double("model.dropout"));
  o.dropout.embedding = config.get_double("model.embedding_dropout");
  return o;
}

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Preset& preset : kPresets) out.emplace_back(preset.name);
    return out;
  }();
  return names;
}

void apply_preset(data::Config& config, const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (name != preset.name) continue;
    config.load_toml_text(preset.toml, "preset " + name);
    return;
  }
  throw UsageError(fmt::format("preset '{}': expected one of {}", name, fmt::join(preset_names(), ", ")));
}

}  // namespace galrec::gal
