#pragma once
// Which interactions train, validate and test. Leave-one-out is the field's protocol; the temporal split shows what it
// hides: leave-one-out trains on interactions that lie after other users' test items.

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace galrec::data {

enum class SplitKind { kLeaveOneOut, kTemporal };
enum class Phase { kValid, kTest };

/// Indices into sequence(u); the training part is [0, train_end). -1 where the user has no such target.
struct UserSplit {
  std::int32_t train_end = 0;
  std::int32_t valid = -1;
  std::int32_t test = -1;
};

/// A split of a data set, which must outlive it.
class Split {
 public:
  /// n >= 3 interactions: the first n - 2 train, the one before the last validates, the last one tests. Users with
  /// fewer than three interactions are kept for training and have no target.
  static Split leave_one_out(const Dataset& dataset);
  static Split leave_one_out(Dataset&&) = delete;

  /// One cut for all users: the last `test_fraction` of all interactions by time form the test period, the
  /// `valid_fraction` before it the validation period; equal times stay together, in the later period. Interactions
  /// before both train. A user's target in a period is the first interaction there that has any history before it.
  /// Throws UsageError without times or for fractions that leave no training part, DataError if ties leave none.
  static Split temporal(const Dataset& dataset, double valid_fraction, double test_fraction);
  static Split temporal(Dataset&&, double, double) = delete;

  SplitKind kind() const { return kind_; }
  const Dataset& dataset() const { return *dataset_; }
  const UserSplit& user(UserId u) const { return users_[static_cast<std::size_t>(u)]; }

  std::span<const ItemId> train(UserId u) const { return prefix(u, user(u).train_end); }
  /// The item to predict, -1 where the user has none.
  ItemId valid_target(UserId u) const { return at(u, user(u).valid); }
  ItemId test_target(UserId u) const { return at(u, user(u).test); }
  ItemId target(UserId u, Phase phase) const { return phase == Phase::kValid ? valid_target(u) : test_target(u); }

  /// Everything before the target of `phase` (for the test that includes the validation item). For a user without that
  /// target: all interactions that lie before the period.
  std::span<const ItemId> history(UserId u, Phase phase) const;

  /// Users that have a target, in order.
  const std::vector<UserId>& users_with_target(Phase phase) const {
    return phase == Phase::kValid ? valid_users_ : test_users_;
  }
  std::int64_t num_train_interactions() const { return num_train_; }
  /// Leave-one-out: users with fewer than three interactions. Temporal: users without any target. They only train.
  std::int32_t num_train_only_users() const { return train_only_; }

 private:
  Split(const Dataset& dataset, SplitKind kind) : dataset_(&dataset), kind_(kind) {}
  void add(const UserSplit& user);
  std::span<const ItemId> prefix(UserId u, std::int32_t count) const {
    return dataset_->sequence(u).first(static_cast<std::size_t>(count));
  }
  ItemId at(UserId u, std::int32_t position) const {
    return position < 0 ? -1 : dataset_->sequence(u)[static_cast<std::size_t>(position)];
  }

  const Dataset* dataset_;
  SplitKind kind_;
  std::vector<UserSplit> users_;
  std::vector<std::int32_t> test_begin_;  // where the user's test period starts
  std::vector<UserId> valid_users_;
  std::vector<UserId> test_users_;
  std::int64_t num_train_ = 0;
  std::int32_t train_only_ = 0;
};

}  // namespace galrec::data
