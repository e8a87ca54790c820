#include "gal/ranker.h"

#include <algorithm>

#include "autograd/ops/sums.h"
#include "data/checkpoint_reader.h"
#include "data/run_folder.h"
#include "gal/recommenders/pretrain.h"
#include "gal/recommenders/sasrec.h"
#include "gal/session.h"
#include "gal/training/checkpoint.h"
#include "kernels/common/host_view.h"
#include "kernels/topk/topk.h"

namespace galrec::gal {

namespace {

namespace fs = std::filesystem;

data::Config read_config(const fs::path& run, const data::ConfigSchema& schema, const std::string& data_path) {
  data::Config config(schema);
  config.load_toml(run / "config.toml");
  if (!data_path.empty()) config.set("data.path", data_path, "command line: --data");
  return config;
}

// LightGCN, SASRec.
class RecommenderRanker final : public Ranker {
 public:
  RecommenderRanker(const Device& device, const fs::path& run, const std::string& data_path)
      : device_(device),
        config_(read_config(run, pretrain_schema(), data_path)),
        dataset_(data::Dataset::load(config_.get_string("data.path"))),
        split_(make_split(dataset_, config_)),
        model_(make_recommender(device, config_.get_string("run.kind"), split_, config_, static_cast<std::uint64_t>(config_.get_int("run.seed")))) {
    model_->load(data::find_checkpoint(run, "best"));
    model_->finish_epoch(device);
  }
  /// A foreign SASRec, in S3-Rec's parameter names.
  RecommenderRanker(const Device& device, const fs::path& folder, data::Config config)
      : device_(device),
        config_(std::move(config)),
        dataset_(data::Dataset::load(config_.get_string("data.path"))),
        split_(make_split(dataset_, config_)),
        model_(SasRec::from_s3rec_folder(device, split_, folder)) {}

  const data::Config& config() const override { return config_; }
  const data::Dataset& dataset() const override { return dataset_; }
  const data::Split& split() const override { return split_; }
  std::int64_t dim() const override { return model_->items().rows.cols(); }
  RankedItems<float> items() const override { return model_->items(); }

  void user_queries(std::span<const data::UserId> users, data::Phase phase, View<float, 2> out) override {
    histories_.clear();
    for (data::UserId u : users) histories_.push_back(split_.history(u, phase));
    model_->queries(device_, users, histories_, out);
  }
  void history_queries(std::span<const std::vector<data::ItemId>> histories, View<float, 2> out) override {
    histories_.assign(histories.begin(), histories.end());
    const std::vector<data::UserId> unknown(histories.size(), -1);
    model_->queries(device_, unknown, histories_, out);
  }

 private:
  Device device_;
  data::Config config_;
  data::Dataset dataset_;
  data::Split split_;
  std::unique_ptr<Recommender> model_;
  std::vector<std::span<const data::ItemId>> histories_;
};

// The language model, in storage T.
template <class T>
class GalRanker final : public Ranker {
 public:
  GalRanker(const Device& device, const fs::path& run, const std::string& data_path)
      : config_(read_config(run, train_schema(), data_path)), session_(device, config_, run / "spiece.model"), tape_(device) {
    model_ = session_.make_model<T>(device);
    load_model(data::find_checkpoint(run, "best"), *model_);
  }

  const data::Config& config() const override { return config_; }
  const data::Dataset& dataset() const override { return session_.dataset(); }
  const data::Split& split() const override { return session_.split(); }
  std::int64_t dim() const override { return model_->item_head().cols(); }
  RankedItems<float> items() const override { return {.rows = model_->item_head()}; }

  void user_queries(std::span<const data::UserId> users, data::Phase phase, View<float, 2> out) override {
    session_.builder().build_eval(batch_, users, phase);
    states(out);
  }
  void history_queries(std::span<const std::vector<data::ItemId>> histories, View<float, 2> out) override {
    session_.builder().build_histories(batch_, histories);
    states(out);
  }

 private:
  void states(View<float, 2> out) {
    tape_.reset(autograd::Recording::kOff);
    const auto states = on_host(tape_.device(), autograd::cast<float>(tape_, model_->rank_states(tape_, batch_)).value());
    for (std::int64_t n = 0; n < out.rows(); ++n) std::copy_n(states->row(n), out.cols(), out.row(n));
  }

  data::Config config_;
  Session session_;
  autograd::Tape<T> tape_;
  std::unique_ptr<GalModel<T>> model_;
  HopBatch batch_;
};

}  // namespace

std::unique_ptr<Ranker> Ranker::open(const Device& device, const fs::path& run, const std::string& data_path) {
  if (!fs::exists(run / "config.toml") && fs::exists(run / "config.json") && fs::exists(run / "model.safetensors")) {
    if (data_path.empty()) throw UsageError(fmt::format("{}: a model from elsewhere does not name its data set; give --data", run.string()));
    data::Config config(pretrain_schema());
    config.set("run.kind", std::string("sasrec"), run.string());
    config.set("data.path", data_path, "command line: --data");
    return std::make_unique<RecommenderRanker>(device, run, std::move(config));
  }
  if (!fs::exists(run / "config.toml")) throw DataError(fmt::format("{}: not a run folder (config.toml is missing)", run.string()));
  if (run_kind(run) == "gal")
    return in_storage(device, [&]<class T>() -> std::unique_ptr<Ranker> { return std::make_unique<GalRanker<T>>(device, run, data_path); });
  return std::make_unique<RecommenderRanker>(device, run, data_path);
}

RankResult rank(const Device& device, Ranker& ranker, data::Phase phase, const RankingOptions& options, const RankingProgress& progress) {
  const QueryFn<float> query = [&](std::span<const data::UserId> users, data::Phase p, View<float, 2> out) { ranker.user_queries(users, p, out); };
  return full_ranking<float>(device, ranker.split(), phase, query, ranker.items(), options, progress);
}

std::vector<Recommendation> recommend(const Device& device, const Ranker& ranker, View<const float, 1> query, std::span<const data::ItemId> excluded,
                                      std::int32_t k) {
  const auto items = ranker.items();
  const std::int32_t catalogue = ranker.dataset().num_items();
  k = std::min(k, catalogue);
  const auto rows = items.rows.slice_rows(items.first_item, catalogue);
  std::vector<std::int32_t> indices(static_cast<std::size_t>(k));
  std::vector<float> scores(static_cast<std::size_t>(k));
  const std::vector<std::int32_t> row_ptr{0, static_cast<std::int32_t>(excluded.size())};
  Arena arena(memory_of(device));
  const auto best = arena.matrix<std::int32_t>(1, k);
  const auto best_scores = arena.matrix<float>(1, k);
  const View<const float, 2> queries(upload(arena, query.data, query.extent(0)).data, {1, query.extent(0)});
  const ExcludedItems seen{.row_ptr = upload(arena, row_ptr), .items = upload(arena, excluded)};
  dispatch<float>(device, [&](auto& ctx) { top_k<float>(ctx, best, best_scores, queries, rows, {}, seen); });
  arena.memory().download(indices.data(), best.data, indices.size() * sizeof(std::int32_t));
  arena.memory().download(scores.data(), best_scores.data, scores.size() * sizeof(float));
  synchronize<float>(device);
  std::vector<Recommendation> out;
  for (std::size_t n = 0; n < indices.size(); ++n)
    if (indices[n] >= 0) out.push_back({indices[n], scores[n]});
  return out;
}

}  // namespace galrec::gal
