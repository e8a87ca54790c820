#pragma once
// A whole GAL run, tiny: synthetic data, a two-layer T5, a few seconds. For the tests of training.

#include <spdlog/sinks/null_sink.h>

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "data/atomic_file.h"
#include "data/synthetic.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"
#include "gal/training/trainer.h"

namespace galrec::gal::test {

namespace fs = std::filesystem;

inline data::Config tiny_config(const std::vector<std::string>& overrides = {}) {
  data::ConfigSchema schema;
  add_gal_keys(schema);
  add_train_keys(schema);
  add_ranking_keys(schema);
  data::Config config(schema);
  for (const char* value : {"train.epochs=2", "train.batch=6", "train.micro_batch=4", "train.lr=0.003", "train.log_every=2",
                            "train.statistics_every=3", "train.checkpoint_minutes=0", "train.patience=0", "sample.unit=cut",
                            "sample.history=6", "sample.users_per_item=2", "sample.item_users=3", "sample.items_per_user=2",
                            "queue.size=10", "eval.batch=7"})
    config.load_toml_text([&] {  // as a file would: later overrides win
      const std::string text = value;
      const std::string key = text.substr(0, text.find('=')), rest = text.substr(text.find('=') + 1);
      const bool word = rest.find_first_not_of("0123456789.") != std::string::npos;
      return key + " = " + (word ? "\"" + rest + "\"" : rest) + "\n";
    }(), "tiny");
  for (const std::string& text : overrides) config.apply_override(text);
  return config;
}

inline data::RunInfo run_info() {
  data::RunInfo info;
  info.seed = 3;
  return info;
}

/// The inputs of a run: data, vocabulary, vectors, a model of storage T with its starting weights.
template <class T>
class TinyRunOf {
 public:
  TinyRunOf(const data::Config& config, const fs::path& vocabulary, int threads, std::int32_t users = 25, std::int32_t items = 30,
            std::int64_t width = 16)
      : TinyRunOf(config, vocabulary, std::make_unique<CpuContext>(threads), nullptr, users, items, width) {}
  /// On a CUDA device, where `cuda` is not null.
  TinyRunOf(const data::Config& config, const fs::path& vocabulary, std::unique_ptr<CpuContext> host, CudaContext* cuda,
            std::int32_t users = 25, std::int32_t items = 30, std::int64_t width = 16)
      : host_(std::move(host)),
        ctx(*host_),
        device(cuda == nullptr ? Device(ctx) : Device(*cuda, ctx)),
        config(config),
        dataset(data::make_synthetic({.users = users, .items = items, .communities = 3, .series_length = 5, .mean_length = 8, .seed = 5})),
        split(data::Split::leave_one_out(dataset)),
        tokenizer(open_vocabulary(dataset, vocabulary)),
        external(ExternalEmbeddings::random(split, 12, 7)),
        builder(ctx, split, data::PromptTemplates::defaults().compile(tokenizer), external, GalOptions::from_config(config).sampling, kSeed) {
    layers::T5Config t5 = layers::T5Config::preset("nano");
    t5.vocab_size = tokenizer.vocab_size();
    t5.d_model = width;
    t5.d_kv = width / 2;
    t5.num_heads = 2;
    t5.d_ff = 2 * width;
    t5.num_layers = t5.num_decoder_layers = 1;
    model = std::make_unique<GalModel<T>>(ModelOptions{.t5 = t5,
                                                       .text_rows = tokenizer.vocab_size(),
                                                       .users = dataset.num_users(),
                                                       .items = dataset.num_items(),
                                                       .user_dim = external.user_dim(),
                                                       .item_dim = external.item_dim(),
                                                       .mapping = GalOptions::from_config(config).mapping},
                                          memory_of(device));
    model->set_external(external.user(), external.item());
    model->initialize(device, kSeed);
  }

  TrainerParts<T> parts() { return trainer_parts(config, split, builder, external, *model, kSeed); }

  /// Trains in `folder`, from its last checkpoint if it has one.
  TrainResult train(const fs::path& folder, const LoopLimits& limits = {}) {
    data::RunFolder run(folder, config, run_info(), data::RunMode::kNewOrResume);
    spdlog::logger log("null", std::make_shared<spdlog::sinks::null_sink_mt>());
    return Trainer(device, parts(), run, log, data::ProgressStyle::kSilent).run(limits);
  }

 private:
  std::unique_ptr<CpuContext> host_;

 public:
  static constexpr std::uint64_t kSeed = 3;
  CpuContext& ctx;
  Device device;
  data::Config config;
  data::Dataset dataset;
  data::Split split;
  data::Tokenizer tokenizer;
  ExternalEmbeddings external;
  BatchBuilder builder;
  std::unique_ptr<GalModel<T>> model;

 private:
  static data::Tokenizer open_vocabulary(const data::Dataset& dataset, const fs::path& path) {
    if (!fs::exists(path)) data::train_vocabulary(dataset, data::PromptTemplates::defaults(), 150, path);
    return data::Tokenizer::load(path);
  }
};

using TinyRun = TinyRunOf<float>;

/// All bytes that a run leaves, by file name, without what a clock decides.
inline std::map<std::string, std::string> run_contents(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder);
    if (!entry.is_regular_file() || name == "env.json" || name == "timing.json" || name == ".lock" || name == "metrics.jsonl") continue;
    out[name] = data::read_file(entry.path());
  }
  std::istringstream lines(data::read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto json = nlohmann::ordered_json::parse(line);
    json.erase("samples_per_second");
    out["metrics.jsonl"] += json.dump() + "\n";
  }
  return out;
}

/// The names of files that differ: readable where the bytes are not.
inline std::string differences(const std::map<std::string, std::string>& a, const std::map<std::string, std::string>& b) {
  std::string out;
  for (const auto& [name, bytes] : a)
    if (!b.contains(name) || b.at(name) != bytes) out += name + " ";
  for (const auto& [name, bytes] : b)
    if (!a.contains(name)) out += name + " ";
  return out;
}

}  // namespace galrec::gal::test
