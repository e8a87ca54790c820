#include "data/split.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/check.h"

namespace galrec::data {

void Split::add(const UserSplit& user) {
  const auto u = static_cast<UserId>(users_.size());
  users_.push_back(user);
  num_train_ += user.train_end;
  if (user.valid >= 0) valid_users_.push_back(u);
  if (user.test >= 0) test_users_.push_back(u);
  if (user.valid < 0 && user.test < 0) ++train_only_;
}

Split Split::leave_one_out(const Dataset& dataset) {
  Split split(dataset, SplitKind::kLeaveOneOut);
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto n = static_cast<std::int32_t>(dataset.sequence(u).size());
    split.add(n >= 3 ? UserSplit{n - 2, n - 2, n - 1} : UserSplit{n, -1, -1});
    split.test_begin_.push_back(n >= 3 ? n - 1 : n);
  }
  return split;
}

Split Split::temporal(const Dataset& dataset, double valid_fraction, double test_fraction) {
  if (!dataset.has_times())
    throw UsageError(fmt::format(
        "the temporal split needs times, and data set '{}' has none (times.txt); use leave-one-out", dataset.name));
  if (!(valid_fraction > 0 && test_fraction > 0 && valid_fraction + test_fraction < 1))
    throw UsageError(fmt::format("temporal split: got fractions {} and {}, expected two above 0 with a sum below 1",
                                 valid_fraction, test_fraction));
  std::vector<std::int64_t> all;
  all.reserve(static_cast<std::size_t>(dataset.num_interactions()));
  for (UserId u = 0; u < dataset.num_users(); ++u)
    all.insert(all.end(), dataset.times(u).begin(), dataset.times(u).end());
  std::sort(all.begin(), all.end());
  const auto quantile = [&](double fraction) {
    const auto k = static_cast<std::size_t>(std::floor(static_cast<double>(all.size()) * fraction));
    return all[std::min(k, all.size() - 1)];
  };
  const std::int64_t valid_from = quantile(1 - valid_fraction - test_fraction);
  const std::int64_t test_from = quantile(1 - test_fraction);
  if (valid_from == all.front() || test_from == valid_from)
    throw DataError(fmt::format(
        "data set '{}': too many equal times for a temporal split: the training or the validation part is empty",
        dataset.name));

  Split split(dataset, SplitKind::kTemporal);
  for (UserId u = 0; u < dataset.num_users(); ++u) {
    const auto times = dataset.times(u);
    const auto position = [&](std::int64_t from) {
      return static_cast<std::int32_t>(std::lower_bound(times.begin(), times.end(), from) - times.begin());
    };
    const auto n = static_cast<std::int32_t>(times.size());
    const std::int32_t first_valid = position(valid_from), first_test = position(test_from);
    // A target needs history: a user's very first interaction cannot be predicted from nothing, the next one can.
    const std::int32_t valid = std::max(first_valid, 1), test = std::max(first_test, 1);
    split.add({first_valid, valid < first_test ? valid : -1, test < n ? test : -1});
    split.test_begin_.push_back(first_test);
  }
  return split;
}

std::span<const ItemId> Split::history(UserId u, Phase phase) const {
  const UserSplit& split = user(u);
  if (phase == Phase::kValid) return prefix(u, split.valid >= 0 ? split.valid : split.train_end);
  return prefix(u, split.test >= 0 ? split.test : test_begin_[static_cast<std::size_t>(u)]);
}

}  // namespace galrec::data
