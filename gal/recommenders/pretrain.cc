#include "gal/recommenders/pretrain.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/safetensors_writer.h"
#include "gal/evaluation/full_ranking.h"
#include "gal/evaluation/result_file.h"

namespace galrec::gal {

namespace {

using nlohmann::ordered_json;

// What last/ needs to go on: the rest is a function of parameters, moments, seed and epoch.
struct Progress {
  std::int32_t epoch = 0;  // finished epochs
  std::int32_t best_epoch = 0;
  double best_ndcg = -1;
  std::int32_t stale = 0;  // validations since the best
  double seconds = 0;      // in epochs, without validation

  ordered_json to_json() const { return {{"epoch", epoch}, {"best_epoch", best_epoch}, {"best_ndcg", best_ndcg}, {"stale", stale}, {"seconds", seconds}}; }
};

Progress read_progress(const std::filesystem::path& folder) {
  std::ifstream in(folder / "state.json");
  try {
    const auto j = nlohmann::json::parse(in);
    return {.epoch = j.at("epoch"), .best_epoch = j.at("best_epoch"), .best_ndcg = j.at("best_ndcg"), .stale = j.at("stale"), .seconds = j.at("seconds")};
  } catch (const nlohmann::json::exception& e) {
    throw DataError(fmt::format("{}: {}", (folder / "state.json").string(), e.what()));
  }
}

void save(const Recommender& model, const Progress& progress, data::RunFolder& run, const std::string& name) {
  run.save_checkpoint(name, [&](const std::filesystem::path& folder) {
    model.save(folder);
    data::write_file(folder / "state.json", progress.to_json().dump(1) + "\n");
  });
}

void write_embeddings(const Device& device, Recommender& model, const std::filesystem::path& path) {
  const EmbeddingTables tables = model.embeddings(device);
  data::SafetensorsWriter writer;
  const auto add = [&](const char* name, View<const float, 2> m) {
    if (!m.empty()) writer.add(name, {m.rows(), m.cols()}, std::span<const float>(m.data, static_cast<std::size_t>(m.size())));
  };
  add("user", tables.user);
  add("item", tables.item);
  add("item_prefix", tables.item_prefix);
  writer.set_metadata({{"format", "pt"}, {"kind", model.kind()}});
  writer.write(path);
}

}  // namespace

void add_pretrain_keys(data::ConfigSchema& schema) {
  schema.add_group("pretrain", "training of LightGCN and SASRec");
  schema.add({.name = "pretrain.epochs", .default_value = std::int64_t{200}, .help = "largest number of epochs", .min = 1});
  schema.add({.name = "pretrain.eval_every", .default_value = std::int64_t{5}, .help = "epochs between validations", .min = 1});
  schema.add({.name = "pretrain.patience", .default_value = std::int64_t{10}, .help = "validations without a better NDCG@10 before stopping", .min = 1});
}

PretrainOptions pretrain_options(const data::Config& config) {
  return {.epochs = static_cast<std::int32_t>(config.get_int("pretrain.epochs")),
          .eval_every = static_cast<std::int32_t>(config.get_int("pretrain.eval_every")),
          .patience = static_cast<std::int32_t>(config.get_int("pretrain.patience")),
          .ranking = ranking_options(config)};
}

RankResult rank_recommender(const Device& device, Recommender& model, const data::Split& split, data::Phase phase, const RankingOptions& options) {
  std::vector<std::span<const data::ItemId>> histories;
  const QueryFn<float> query = [&](std::span<const data::UserId> users, data::Phase p, View<float, 2> out) {
    histories.clear();
    for (data::UserId u : users) histories.push_back(split.history(u, p));
    model.queries(device, users, histories, out);
  };
  return full_ranking<float>(device, split, phase, query, model.items(), options);
}

PretrainResult pretrain(const Device& device, Recommender& model, const data::Split& split, const PretrainOptions& options, data::RunFolder& run,
                        spdlog::logger& log, data::ProgressStyle style) {
  Progress progress;
  if (run.has_checkpoint("last")) {
    const auto folder = data::find_checkpoint(run.path(), "last");
    model.load(folder);
    progress = read_progress(folder);
    log.info("resuming after epoch {} (best NDCG@10 {:.4f} at epoch {})", progress.epoch, progress.best_ndcg, progress.best_epoch);
  }
  run.truncate_metrics(progress.epoch);
  while (progress.epoch < options.epochs && progress.stale < options.patience) {
    const std::int32_t epoch = progress.epoch + 1;
    data::Progress bar(fmt::format("{} epoch {}", model.kind(), epoch), "samples", model.samples_per_epoch(), {.style = style});
    const auto start = std::chrono::steady_clock::now();
    const EpochReport report = model.train_epoch(device, epoch, [&](std::int64_t done) { bar.update(done); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    progress.seconds += seconds;
    if (!std::isfinite(report.loss)) throw NumericalError(fmt::format("{}: the loss of epoch {} is {}", model.kind(), epoch, report.loss));
    progress.epoch = epoch;
    ordered_json line{{"step", epoch}, {"epoch", epoch}, {"loss", report.loss}, {"seconds", seconds}};
    if (epoch % options.eval_every == 0 || epoch == options.epochs) {
      model.finish_epoch(device);
      const auto valid = rank_recommender(device, model, split, data::Phase::kValid, options.ranking);
      const double ndcg = mean_metric({MetricKind::kNdcg, 10}, valid.ranks);
      line["valid"] = valid.to_json(options.ranking.ks);
      ++progress.stale;
      if (ndcg > progress.best_ndcg) {
        progress.best_ndcg = ndcg;
        progress.best_epoch = epoch;
        progress.stale = 0;
        save(model, progress, run, "best");
      }
      save(model, progress, run, "last");
      log.info("{} epoch {}: loss {:.4f}, valid NDCG@10 {:.4f} (best {:.4f} at {}), {:.2f} s an epoch", model.kind(), epoch, report.loss, ndcg,
               progress.best_ndcg, progress.best_epoch, seconds);
    }
    run.append_metrics(line);
  }
  model.load(data::find_checkpoint(run.path(), "best"));
  model.finish_epoch(device);
  PretrainResult result{.best_epoch = progress.best_epoch, .best_valid_ndcg10 = progress.best_ndcg};
  result.valid = rank_recommender(device, model, split, data::Phase::kValid, options.ranking);
  result.test = rank_recommender(device, model, split, data::Phase::kTest, options.ranking);
  write_embeddings(device, model, run.path() / "embeddings.safetensors");
  write_result(run.path(), {.model = model.kind(), .best_epoch = progress.best_epoch, .epochs = progress.epoch, .train_seconds = progress.seconds},
               result.valid, result.test, options.ranking.ks);
  return result;
}

}  // namespace galrec::gal
