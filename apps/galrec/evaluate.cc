// galrec evaluate: HR, NDCG and MRR of a run over the full catalogue, with intervals, alone or against another run.

#include <fmt/format.h>

#include <optional>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "data/progress.h"
#include "gal/evaluation/bootstrap.h"
#include "gal/ranker.h"

namespace galrec::apps {

namespace {

struct Options {
  std::string run, data, mask, compare, ranks, device = "cpu", precision = "fp32";
  std::vector<std::int64_t> ks;
  std::string phase = "both";
  std::int64_t resamples = 0;  // 0: the run's eval.bootstrap
};

std::vector<gal::Metric> metrics_at(const std::vector<std::int64_t>& ks) {
  std::vector<gal::Metric> metrics;
  for (auto k : ks) {
    metrics.push_back({gal::MetricKind::kHitRate, static_cast<int>(k)});
    metrics.push_back({gal::MetricKind::kNdcg, static_cast<int>(k)});
  }
  metrics.push_back({gal::MetricKind::kMrr, 0});
  return metrics;
}

gal::RankingOptions options_of(const Options& o, const gal::Ranker& ranker) {
  data::Config config = ranker.config();
  if (o.mask == "s3rec") config.set("compat.s3rec_mask", true, "command line: --mask-seen");
  else if (!o.mask.empty()) config.set("eval.mask_seen", o.mask, "command line: --mask-seen");
  if (!o.ks.empty()) config.set("eval.k", o.ks, "command line: --k");
  return gal::ranking_options(config);
}

gal::RankResult rank(const Device& device, gal::Ranker& ranker, data::Phase phase, const gal::RankingOptions& options, bool quiet) {
  const auto users = static_cast<std::int64_t>(ranker.split().users_with_target(phase).size());
  data::Progress bar(fmt::format("rank {}", gal::phase_name(phase)), "users", users, {.style = data::choose_progress_style(quiet)});
  return gal::rank(device, ranker, phase, options, [&](std::int64_t done) { bar.update(done); });
}

void print(const gal::RankResult& result, const gal::RankingOptions& options, std::int64_t resamples) {
  fmt::print("{}: {} users, {} items, mask_seen = {}; ties: {} users, counted against the target", gal::phase_name(result.phase), result.users.size(),
             result.num_items, gal::mask_seen_name(result.mask_seen), result.tied_users());
  if (result.masked_targets > 0) fmt::print("; {} targets are masked because the user has had them before", result.masked_targets);
  fmt::print("\n");
  const auto metrics = metrics_at(options.ks);
  if (resamples == 0) {
    for (const auto& m : metrics) fmt::print("  {:<9}{:.5f}\n", m.name(), gal::mean_metric(m, result.ranks));
    return;
  }
  const auto intervals = gal::bootstrap_intervals(result.ranks, metrics, {.resamples = resamples});
  for (const auto& i : intervals) fmt::print("  {:<9}{:.5f}   95 % interval {:.5f} to {:.5f}\n", i.metric.name(), i.value, i.low, i.high);
}

void print_comparison(const gal::RankResult& a, const gal::RankResult& b, const Options& o, const gal::RankingOptions& options, std::int64_t resamples) {
  fmt::print("{} against {} on {}, paired over users:\n", o.run, o.compare, gal::phase_name(a.phase));
  for (const auto& d : gal::paired_bootstrap(b, a, metrics_at(options.ks), {.resamples = resamples}))
    fmt::print("  {:<9}{:.5f} - {:.5f} = {:+.5f}   95 % interval {:+.5f} to {:+.5f}   p = {:.3f}\n", d.metric.name(), d.b, d.a, d.b - d.a, d.low, d.high, d.p_value);
}

void evaluate(const Options& o, const CommonOptions& common) {
  Contexts contexts(common, o.device, precision(o.precision, o.device));
  const Device device = contexts.device();
  const auto ranker = gal::Ranker::open(device, o.run, o.data);
  const auto other = o.compare.empty() ? nullptr : gal::Ranker::open(device, o.compare, o.data);
  const auto options = options_of(o, *ranker);
  const std::int64_t resamples = o.resamples > 0 ? o.resamples : ranker->config().get_int("eval.bootstrap");
  if (other && resamples == 0) {
    throw UsageError(fmt::format("--compare: its intervals need resamples, and eval.bootstrap of {} is 0; pass for example --resamples 1000", o.run));
  }
  for (const auto phase : {data::Phase::kValid, data::Phase::kTest}) {
    if (o.phase != "both" && o.phase != gal::phase_name(phase)) continue;
    const auto result = rank(device, *ranker, phase, options, common.quiet);
    print(result, options, resamples);
    if (!o.ranks.empty()) gal::write_ranks(fmt::format("{}_{}.tsv", o.ranks, gal::phase_name(phase)), result);
    if (other) print_comparison(result, rank(device, *other, phase, options, common.quiet), o, options, resamples);
  }
}

}  // namespace

void add_evaluate(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("evaluate", "Rank the whole catalogue for every user: HR@K, NDCG@K, MRR with bootstrap intervals");
  c->add_option("run", o->run, "run folder of pretrain or train, or a trained SASRec in S3-Rec's names (config.json, model.safetensors; with --data)")->required();
  c->add_option("--data", o->data, "data set folder, where it is not where it was");
  add_device_option(*c, o->device);
  add_precision_option(*c, o->precision);
  c->add_option("--phase", o->phase, "valid, test or both")->capture_default_str()->check(CLI::IsMember({"valid", "test", "both"}));
  c->add_option("--k", o->ks, "cut-offs, for example --k 5,10,20 (default: the run's eval.k)")->delimiter(',');
  c->add_option("--mask-seen", o->mask, "none, all, all_but_target or s3rec (default: the run's eval.mask_seen)");
  c->add_option("--compare", o->compare, "another run folder: paired bootstrap of the differences");
  c->add_option("--ranks", o->ranks, "write every user's rank to PREFIX_valid.tsv and PREFIX_test.tsv");
  c->add_option("--resamples", o->resamples, "bootstrap resamples (default: the run's eval.bootstrap)")->check(CLI::PositiveNumber);
  c->footer("Example:\n  galrec evaluate runs/quickstart/gal_lightgcn --compare runs/quickstart/gal_lightgcn_without --k 5,10,20");
  c->callback([o, &common] { evaluate(*o, common); });
}

}  // namespace galrec::apps
