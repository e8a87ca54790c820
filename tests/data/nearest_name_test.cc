#include "data/nearest_name.h"

#include <gtest/gtest.h>

#include <vector>

namespace galrec::data {
namespace {

const std::vector<std::string> kNames{"train.lr", "train.epochs", "eval.k", "queue.encoder", "queue.size"};

TEST(NearestName, FindsTypingErrors) {
  EXPECT_EQ(nearest_name("train.epoch", kNames), "train.epochs");
  EXPECT_EQ(nearest_name("train.eopchs", kNames), "train.epochs");
  EXPECT_EQ(nearest_name("TRAIN.EPOCHS", kNames), "train.epochs");
  EXPECT_EQ(nearest_name("queue.encodre", kNames), "queue.encoder");
  EXPECT_EQ(nearest_name("queue.sise", kNames), "queue.size");
}

TEST(NearestName, FindsTheLastPartOfADottedName) {
  EXPECT_EQ(nearest_name("lr", kNames), "train.lr");
  EXPECT_EQ(nearest_name("epochs", kNames), "train.epochs");
}

TEST(NearestName, StaysSilentWhenNothingIsNear) {
  EXPECT_EQ(nearest_name("momentum", kNames), std::nullopt);
  EXPECT_EQ(nearest_name("", kNames), std::nullopt);
  EXPECT_EQ(nearest_name(std::string(100000, 'x'), kNames), std::nullopt);
  EXPECT_EQ(did_you_mean("momentum", kNames), "");
  EXPECT_EQ(did_you_mean("train.lt", kNames), "; did you mean 'train.lr'?");
}

TEST(NearestName, ASwapIsOneEdit) {
  const std::vector<std::string> names{"abcd", "abxy"};
  EXPECT_EQ(nearest_name("abdc", names), "abcd");
  const std::vector<std::string> far{"abcdef"};
  EXPECT_EQ(nearest_name("abc", far), std::nullopt);
}

}  // namespace
}  // namespace galrec::data
