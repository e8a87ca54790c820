// labels: threads
#include "gal/evaluation/full_ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "kernels/common/check.h"
#include "tests/support/random.h"

namespace galrec::gal {
namespace {

using data::Phase;

constexpr int kItems = 37, kWidth = 5, kRows = kItems + 2;

// 40 users with 0 to 12 interactions and repeats among them, so that targets are now and then in the history.
data::Dataset make_dataset() {
  data::DatasetParts parts;
  parts.name = "ranking";
  parts.num_items = kItems;
  PhiloxStream stream({.seed = 11, .step = 0, .stream = 2});
  for (int u = 0; u < 40; ++u) {
    const auto length = stream.below(13);
    for (std::uint64_t n = 0; n < length; ++n) parts.items.push_back(static_cast<std::int32_t>(stream.below(u % 2 ? 6 : kItems)));
    parts.offsets.push_back(static_cast<std::int64_t>(parts.items.size()));
  }
  return data::Dataset(std::move(parts));
}

// Scores on a coarse grid: many exact ties, in float and in double.
template <class T>
struct Model {
  std::vector<T> users, items, bias;

  Model() : users(40 * kWidth), items(kRows * kWidth), bias(kRows) {
    PhiloxStream stream({.seed = 3, .step = 0, .stream = 4});
    const auto draw = [&] { return static_cast<T>(static_cast<int>(stream.below(3)) - 1); };
    for (T& x : users) x = draw();
    for (T& x : items) x = draw();
    for (T& x : bias) x = draw();
  }
  QueryFn<T> query() const {
    return [this](std::span<const data::UserId> batch, Phase, View<T, 2> out) {
      for (std::size_t i = 0; i < batch.size(); ++i)
        std::copy_n(users.data() + batch[i] * kWidth, kWidth, out.row(static_cast<std::int64_t>(i)));
    };
  }
  RankedItems<T> ranked(int first, bool biased) const {
    RankedItems<T> r{.rows = View<const T, 2>(items.data(), {kRows, kWidth}), .first_item = first};
    if (biased) r.bias = View<const T, 1>(bias.data(), {kRows});
    return r;
  }
  double score(int user, int row, bool biased) const {
    double s = biased ? bias[row] : 0;
    for (int c = 0; c < kWidth; ++c) s += users[user * kWidth + c] * items[row * kWidth + c];
    return s;
  }
};

// The definition of every mask, written down once more, one user at a time.
template <class T>
std::pair<int, int> brute_force(const Model<T>& model, const data::Split& split, Phase phase, int user, MaskSeen mask, int first, bool biased) {
  const auto history = split.history(user, phase);
  const auto seen = [&](int item) { return std::find(history.begin(), history.end(), item) != history.end(); };
  const int target = split.target(user, phase);
  if (mask == MaskSeen::kAll && seen(target)) return {kItems + 1, 0};
  const auto score = [&](int row) {
    const int item = row - first;
    return mask == MaskSeen::kS3Rec && item >= 0 && item < kItems && seen(item) ? 0.0 : model.score(user, row, biased);
  };
  int rank = 1, ties = 0;
  for (int row = 0; row < kRows; ++row) {
    const int item = row - first;
    const bool real = item >= 0 && item < kItems;
    if (item == target || (!real && mask != MaskSeen::kS3Rec)) continue;
    if (real && seen(item) && (mask == MaskSeen::kAll || mask == MaskSeen::kAllButTarget)) continue;
    rank += score(row) >= score(first + target);
    ties += score(row) == score(first + target);
  }
  return {rank, ties};
}

template <class T>
void compare(MaskSeen mask, bool biased) {
  const auto dataset = make_dataset();
  const auto split = data::Split::leave_one_out(dataset);
  const Model<T> model;
  CpuContext ctx(2);
  int repeated = 0;
  for (const Phase phase : {Phase::kValid, Phase::kTest})
    for (const int first : {0, 1, 2})
      for (const std::int64_t batch : {1, 7, 64}) {
        const auto result = full_ranking<T>(ctx, split, phase, model.query(), model.ranked(first, biased), {.mask_seen = mask, .batch = batch});
        ASSERT_EQ(result.users, split.users_with_target(phase));
        for (std::size_t i = 0; i < result.users.size(); ++i) {
          const auto [rank, ties] = brute_force(model, split, phase, result.users[i], mask, first, biased);
          EXPECT_EQ(result.ranks[i], rank) << mask_seen_name(mask) << " user " << result.users[i] << " first " << first;
          EXPECT_EQ(result.ties[i], ties);
          EXPECT_EQ(result.targets[i], split.target(result.users[i], phase));
        }
        repeated += static_cast<int>(result.masked_targets);
      }
  EXPECT_EQ(repeated > 0, mask == MaskSeen::kAll);  // the data have repeated targets
}

TEST(FullRanking, EqualsTheDefinitionOfEveryMask) {
  for (const MaskSeen mask : {MaskSeen::kNone, MaskSeen::kAll, MaskSeen::kAllButTarget, MaskSeen::kS3Rec})
    for (const bool biased : {false, true}) {
      compare<float>(mask, biased);
      compare<double>(mask, biased);
    }
}

TEST(FullRanking, NanScoreIsANumericalError) {
  const auto dataset = make_dataset();
  const auto split = data::Split::leave_one_out(dataset);
  Model<float> model;
  model.items[7 * kWidth] = std::numeric_limits<float>::quiet_NaN();
  CpuContext ctx(1);
  EXPECT_THROW(full_ranking<float>(ctx, split, Phase::kTest, model.query(), model.ranked(0, false), {.mask_seen = MaskSeen::kNone}),
               NumericalError);
}

TEST(RankFiles, RoundTripAndRejectDamage) {
  const auto dataset = make_dataset();
  const auto split = data::Split::leave_one_out(dataset);
  CpuContext ctx(1);
  const Model<float> model;
  const auto result = full_ranking<float>(ctx, split, Phase::kTest, model.query(), model.ranked(0, false), {});
  const auto path = std::filesystem::temp_directory_path() / "galrec_ranks_test.tsv";
  write_ranks(path, result);
  const auto back = read_ranks(path);
  EXPECT_EQ(back.users, result.users);
  EXPECT_EQ(back.targets, result.targets);
  EXPECT_EQ(back.ranks, result.ranks);
  EXPECT_EQ(back.ties, result.ties);
  EXPECT_EQ(back.num_items, kItems);
  EXPECT_EQ(back.mask_seen, MaskSeen::kAll);
  EXPECT_EQ(back.phase, Phase::kTest);
  EXPECT_EQ(back.masked_targets, result.masked_targets);
  const std::string header = "# phase test\n# mask_seen all\n# items 37\n# user target rank ties\n";
  for (const std::string& bad : {std::string(), std::string("# phase test\n"), std::string("1\t2\t3\t4\n"), header + "1\t2\t3\n",
                                 header + "1\t2\t3\tx\n", header + "1\t38\t3\t0\n", header + "1\t2\t0\t0\n", header + "2\t2\t1\t0\n1\t2\t1\t0\n"}) {
    std::ofstream(path) << bad;
    EXPECT_THROW(read_ranks(path), DataError) << bad;
  }
  std::filesystem::remove(path);
}

TEST(RankingOptions, ComeFromTheConfiguration) {
  data::ConfigSchema schema;
  add_ranking_keys(schema);
  data::Config config(schema);
  EXPECT_EQ(ranking_options(config).mask_seen, MaskSeen::kAll);
  config.apply_override("compat.s3rec_mask=true");
  EXPECT_EQ(ranking_options(config).mask_seen, MaskSeen::kS3Rec);
  config.apply_override("eval.mask_seen=none");
  EXPECT_THROW(ranking_options(config), UsageError);
  EXPECT_THROW(config.apply_override("eval.k=0"), UsageError);
}

}  // namespace
}  // namespace galrec::gal
