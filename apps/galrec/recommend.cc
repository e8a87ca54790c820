// galrec recommend: the best items for a user or for a raw history, with titles.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "gal/ranker.h"
#include "kernels/common/check.h"
#include "kernels/topk/topk.h"

namespace galrec::apps {

namespace {

struct Options {
  std::string run, data, history, device = "cpu", precision = "fp32";
  std::int32_t user = 0;
  std::int32_t top_k = 10;
  bool with_seen = false;
};

// "12,7,99": ids from 1, as files have them.
std::vector<data::ItemId> parse_history(const std::string& text, std::int32_t items) {
  std::vector<data::ItemId> history;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    std::int32_t id = 0;
    while (at < end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || (next < end && *next != ',')) throw UsageError(fmt::format("--history '{}': expected item ids separated by commas, like \"12,7,99\"", text));
    if (id < 1 || id > items) throw UsageError(fmt::format("--history: item {} is not in the data set, which has items 1 to {}", id, items));
    history.push_back(id - 1);
    at = next < end ? next + 1 : end;
  }
  if (history.empty()) throw UsageError("--history is empty: expected item ids separated by commas, like \"12,7,99\"");
  return history;
}

std::string title(const data::Dataset& dataset, data::ItemId i) {
  return dataset.item_title(i).empty() ? fmt::format("({})", dataset.raw_item(i)) : dataset.item_title(i);
}

void recommend(const Options& o, const CommonOptions& common) {
  if ((o.user != 0) == !o.history.empty()) throw UsageError("recommend needs either --user or --history");
  if (o.device == "cuda" && o.top_k > kMostTopKOnCuda) {
    throw UsageError(fmt::format("--top-k {}: expected at most {} with --device cuda; --device cpu has no such limit", o.top_k,
                                 kMostTopKOnCuda));
  }
  Contexts contexts(common, o.device, precision(o.precision, o.device));
  const Device device = contexts.device();
  const auto ranker = gal::Ranker::open(device, o.run, o.data);
  const auto& dataset = ranker->dataset();
  std::vector<float> query(static_cast<std::size_t>(ranker->dim()));
  std::vector<data::ItemId> history;
  if (o.user != 0) {
    if (o.user < 1 || o.user > dataset.num_users())
      throw UsageError(fmt::format("--user {} is not in the data set, which has users 1 to {}", o.user, dataset.num_users()));
    const data::UserId user = o.user - 1;
    const auto before = ranker->split().history(user, data::Phase::kTest);
    if (before.empty()) throw DataError(fmt::format("user {} has no interaction to recommend from", o.user));
    history.assign(before.begin(), before.end());
    ranker->user_queries(std::span(&user, 1), data::Phase::kTest, view_of(query, 1, ranker->dim()));
    fmt::print("user {} ({}), {} interactions before the test item; the most recent:\n", o.user, dataset.raw_user(user), history.size());
  } else {
    history = parse_history(o.history, dataset.num_items());
    ranker->history_queries(std::span(&history, 1), view_of(query, 1, ranker->dim()));
    fmt::print("a user unknown to the model, with this history:\n");
  }
  for (std::size_t n = history.size() - std::min<std::size_t>(history.size(), 5); n < history.size(); ++n)
    fmt::print("          item {:>6}  {}\n", history[n] + 1, title(dataset, history[n]));
  std::vector<data::ItemId> excluded;
  if (!o.with_seen) excluded = history;
  std::sort(excluded.begin(), excluded.end());
  excluded.erase(std::unique(excluded.begin(), excluded.end()), excluded.end());
  fmt::print("recommended:\n");
  int rank = 0;
  for (const auto& r : gal::recommend(device, *ranker, view_of(query), excluded, o.top_k))
    fmt::print("{:>4}  {:>8.3f}  item {:>6}  {}\n", ++rank, r.score, r.item + 1, title(dataset, r.item));
}

}  // namespace

void add_recommend(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("recommend", "The best items for a user of the data set, or for any history, with titles");
  c->add_option("run", o->run, "run folder of pretrain or train")->required();
  c->add_option("--user", o->user, "user id, from 1");
  c->add_option("--history", o->history, "item ids from 1, oldest first: \"12,7,99\"");
  c->add_option("--top-k", o->top_k, fmt::format("how many items; on cuda at most {}", kMostTopKOnCuda))
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  c->add_option("--data", o->data, "data set folder, where it is not where it was");
  add_device_option(*c, o->device);
  add_precision_option(*c, o->precision);
  c->add_flag("--with-seen", o->with_seen, "let items of the history be recommended again");
  c->footer("Examples:\n  galrec recommend runs/quickstart/gal_lightgcn --user 1 --top-k 5\n"
            "  galrec recommend runs/quickstart/gal_lightgcn --history \"12,7,99\"");
  c->callback([o, &common] { recommend(*o, common); });
}

}  // namespace galrec::apps
