#include "gal/hop_batch.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"
#include "tests/support/expect_error.h"

namespace galrec::gal {
namespace {

using Ids = std::vector<std::int32_t>;

struct Recorded {
  Ids tokens{2, 11, 1, 3, 14, 1, 11, 15, 12, 1, 4, 1, 14, 13, 1, 5, 1};  // 10 text, 4 users (10..13), 3 items (14..16)
  Ids lengths{3, 3, 4, 2, 3, 2};
  Ids user{1}, item{0}, target{16};
  HopBatch batch() const {
    return batch_from_joint_tokens(tokens, lengths, user, item, target, data::IdTokens(10, 4, 3), "fixture");
  }
};

TEST(HopBatch, JointTokensSurviveTheTable) {
  const Recorded r;
  const auto b = r.batch();
  EXPECT_EQ(joint_tokens(b, data::IdTokens(10, 4, 3)), r.tokens);
  EXPECT_EQ(b.samples, 1);
  EXPECT_EQ(b.target, (Ids{2}));
  EXPECT_EQ(b.user_ids, (Ids{1, 2, 3}));
  EXPECT_EQ(b.item_ids, (Ids{0, 1, 2})) << "the target has a row although no prompt names it";
  EXPECT_EQ(b.text_ids[static_cast<std::size_t>(b.start_row)], 0);
  EXPECT_EQ(b.target_row[0], static_cast<std::int32_t>(b.text_ids.size() + b.user_ids.size()) + 2);
  EXPECT_EQ(b.table_rows(), static_cast<std::int64_t>(b.text_ids.size()) + 6);
  EXPECT_EQ(b.prompt(0, data::Hop::kU2).size(), 4u);
}

TEST(HopBatch, OwnVectorsBecomeTheirUsersTokens) {
  HopBatch b;
  b.clear();
  b.text_ids = {0, 1};
  b.user_ids = {3};
  b.own_users = 2;
  b.own_user_ids = {1, -1};
  b.item_ids = {2};
  b.tokens = {0, 2, 3, 4, 5};
  EXPECT_EQ(joint_tokens(b, data::IdTokens(10, 4, 3)), (Ids{0, 13, 11, -1, 16}));
}

TEST(HopBatch, RejectsRecordsThatDoNotFit) {
  Recorded r;
  r.tokens[1] = 17;
  test::expect_error<DataError>([&] { r.batch(); }, {"fixture", "17", "0 to 16"});
  r = {};
  r.tokens.pop_back();
  test::expect_error<DataError>([&] { r.batch(); }, {"fixture", "16 tokens", "17"});
  r = {};
  r.target = {3};
  test::expect_error<DataError>([&] { r.batch(); }, {"fixture", "sample 0"});
  r = {};
  r.lengths[0] = 0;
  test::expect_error<DataError>([&] { r.batch(); }, {"lengths"});
  r = {};
  r.item.push_back(0);
  test::expect_error<DataError>([&] { r.batch(); }, {"2 items"});
}

}  // namespace
}  // namespace galrec::gal
