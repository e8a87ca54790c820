#include "data/leak_audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

namespace galrec::data {
namespace {

/// Spearman's correlation of the ids with their positions; equal ids share their mean rank. None where all ids are
/// equal.
std::optional<double> spearman(std::span<const ItemId> ids, std::vector<std::size_t>& order) {
  const std::size_t n = ids.size();
  order.resize(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  const double mean = (static_cast<double>(n) - 1) / 2;
  double cross = 0, of_ids = 0, of_positions = 0;
  for (std::size_t first = 0; first < n;) {
    std::size_t last = first + 1;
    while (last < n && ids[order[last]] == ids[order[first]]) ++last;
    const double rank = static_cast<double>(first + last - 1) / 2 - mean;
    for (std::size_t k = first; k < last; ++k) {
      const double position = static_cast<double>(order[k]) - mean;
      cross += rank * position;
      of_ids += rank * rank;
      of_positions += position * position;
    }
    first = last;
  }
  if (of_ids == 0 || of_positions == 0) return std::nullopt;
  return cross / std::sqrt(of_ids * of_positions);
}

void audit_times(const Split& split, LeakAudit& audit) {
  const Dataset& dataset = split.dataset();
  std::int64_t newest_training = std::numeric_limits<std::int64_t>::min();
  for (UserId u = 0; u < dataset.num_users(); ++u)
    if (const auto end = static_cast<std::size_t>(split.user(u).train_end); end > 0)
      newest_training = std::max(newest_training, dataset.times(u)[end - 1]);
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto times = dataset.times(u);
    for (std::size_t k = 1; k < times.size(); ++k) audit.tied_pairs += times[k] == times[k - 1];
    if (split.user(u).test < 0) continue;
    const auto test = static_cast<std::size_t>(split.user(u).test);
    audit.tied_test += test > 0 && times[test] == times[test - 1];
    audit.test_before_train += times[test] < newest_training;
  }
}

void audit_ids(const Split& split, LeakAudit& audit) {
  const Dataset& dataset = split.dataset();
  std::int64_t successors = 0, correlated = 0;
  std::int32_t test_successors = 0;
  double sum = 0;
  std::vector<std::size_t> order;
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto items = dataset.sequence(u);
    for (std::size_t k = 1; k < items.size(); ++k) successors += items[k] == items[k - 1] + 1;
    if (!items.empty()) audit.consecutive_pairs += static_cast<std::int64_t>(items.size()) - 1;
    if (items.size() >= 3) {
      if (const auto value = spearman(items, order)) {
        sum += *value;
        ++correlated;
      }
    }
    const std::int32_t test = split.user(u).test;
    if (test > 0) test_successors += split.test_target(u) == items[static_cast<std::size_t>(test) - 1] + 1;
  }
  const auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0; };
  audit.mean_spearman = share(sum, static_cast<double>(correlated));
  audit.successor_share = share(static_cast<double>(successors), static_cast<double>(audit.consecutive_pairs));
  audit.successor_test = share(test_successors, audit.test_users);
  audit.successor_chance = share(1, dataset.num_items());
}

void audit_targets(const Split& split, LeakAudit& audit) {
  const Dataset& dataset = split.dataset();
  std::vector<char> trained(static_cast<std::size_t>(dataset.num_items()), 0);
  for (UserId u = 0; u < dataset.num_users(); ++u)
    for (const ItemId item : split.train(u)) trained[static_cast<std::size_t>(item)] = 1;
  std::vector<ItemId> sorted;
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const ItemId valid = split.valid_target(u), test = split.test_target(u);
    audit.valid_unseen += valid >= 0 && !trained[static_cast<std::size_t>(valid)];
    audit.test_unseen += test >= 0 && !trained[static_cast<std::size_t>(test)];
    const auto history = split.history(u, Phase::kTest);
    audit.test_repeats += test >= 0 && std::find(history.begin(), history.end(), test) != history.end();
    sorted.assign(dataset.sequence(u).begin(), dataset.sequence(u).end());
    std::sort(sorted.begin(), sorted.end());
    audit.users_with_repeats += std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
  }
  if (audit.test_users > 0) audit.best_hr_when_masked = 1 - static_cast<double>(audit.test_repeats) / audit.test_users;
}

double percent(double part, double whole) {
  return whole > 0 ? 100 * part / whole : 0;
}

std::string times_report(const LeakAudit& a) {
  if (!a.has_times)
    return "times: none, so the order is the file's and ties cannot be counted. If the file is not in time order, "
           "every result is void.\n";
  std::string out = fmt::format("time ties: {} of {} neighbours ({:.2f} %), {} of {} test targets ({:.2f} %). ",
                                a.tied_pairs, a.consecutive_pairs,
                                percent(static_cast<double>(a.tied_pairs), static_cast<double>(a.consecutive_pairs)),
                                a.tied_test, a.test_users, percent(a.tied_test, a.test_users));
  out += a.tied_pairs == 0
             ? "The order is certain.\n"
             : "Tied interactions keep the order of the file; do not break ties by item id, which would leak it.\n";
  out += fmt::format("future: {} of {} test targets ({:.2f} %) are older than the newest training interaction. ",
                     a.test_before_train, a.test_users, percent(a.test_before_train, a.test_users));
  out += a.test_before_train == 0 ? "No training interaction lies in a target's future.\n"
         : a.kind == SplitKind::kLeaveOneOut
             ? "That is leave-one-out's nature: models see other users' future. A temporal split does not have it.\n"
             : "The temporal split should not have it.\n";
  return out;
}

std::string ids_report(const LeakAudit& a) {
  std::string out = fmt::format(
      "id order: Spearman of item id and position {:+.3f}; the next id is the last one + 1 in {:.2f} % of all steps "
      "and {:.2f} % of the steps "
      "to a test target (random ids: {:.4f} %). ",
      a.mean_spearman, 100 * a.successor_share, 100 * a.successor_test, 100 * a.successor_chance);
  const bool counts = a.successor_test > 0.01 && a.successor_test > 10 * a.successor_chance;
  const bool ordered = std::abs(a.mean_spearman) > 0.1 || a.successor_share > 0.01 + 10 * a.successor_chance;
  out += counts ? "The ids give some test targets away: any model that spells ids as text (P5, SID) must use shuffled "
                  "ids. One token for each id is safe.\n"
         : ordered ? "The ids follow the order of reading: models that spell ids as text should use shuffled ids. One "
                     "token for each id is safe.\n"
                   : "The ids do not give the order away.\n";
  return out;
}

}  // namespace

LeakAudit audit_leaks(const Split& split) {
  LeakAudit audit;
  audit.name = split.dataset().name;
  audit.kind = split.kind();
  audit.test_users = static_cast<std::int32_t>(split.users_with_target(Phase::kTest).size());
  audit.valid_users = static_cast<std::int32_t>(split.users_with_target(Phase::kValid).size());
  audit.has_times = split.dataset().has_times();
  if (audit.has_times) audit_times(split, audit);
  audit_ids(split, audit);
  audit_targets(split, audit);
  return audit;
}

std::string to_report(const LeakAudit& a) {
  std::string out = fmt::format("leak audit of {} ({} split)\n", a.name,
                                a.kind == SplitKind::kLeaveOneOut ? "leave-one-out" : "temporal");
  out += times_report(a);
  out += ids_report(a);
  out += fmt::format("unseen targets: {} of {} test and {} of {} validation targets occur in nobody's training part. ",
                     a.test_unseen, a.test_users, a.valid_unseen, a.valid_users);
  out += a.test_unseen == 0 ? "Every test target can be learnt.\n"
                            : fmt::format("Without item texts no model can find them: HR is at most {:.4f}.\n",
                                          1 - static_cast<double>(a.test_unseen) / a.test_users);
  out += fmt::format(
      "repeats: {} users have an item twice; for {} ({:.2f} %) the test target is already in their history. ",
      a.users_with_repeats, a.test_repeats, percent(a.test_repeats, a.test_users));
  out += a.test_repeats == 0 ? "Masking seen items costs nothing.\n"
                             : fmt::format("Masking seen items (eval.mask_seen=all) caps HR at {:.4f}; report both.\n",
                                           a.best_hr_when_masked);
  return out;
}

}  // namespace galrec::data
