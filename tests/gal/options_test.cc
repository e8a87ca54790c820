#include "gal/options.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"
#include "tests/support/expect_error.h"

namespace galrec::gal {
namespace {

data::Config config_with(const std::vector<std::string>& overrides) {
  data::ConfigSchema schema;
  add_gal_keys(schema);
  data::Config config(schema);
  for (const auto& o : overrides) config.apply_override(o);
  return config;
}
GalOptions options(const std::vector<std::string>& overrides) {
  return GalOptions::from_config(config_with(overrides));
}

TEST(GalOptions, DefaultsOfTheKeysAreThoseOfTheStructs) {
  const GalOptions read = options({}), built;
  EXPECT_EQ(read.sampling.history, built.sampling.history);
  EXPECT_EQ(read.sampling.users_per_item, built.sampling.users_per_item);
  EXPECT_EQ(read.sampling.item_users, built.sampling.item_users);
  EXPECT_EQ(read.sampling.items_per_user, built.sampling.items_per_user);
  EXPECT_EQ(read.sampling.max_tokens, built.sampling.max_tokens);
  EXPECT_EQ(read.sampling.user_vector, UserVector::kPrefix);
  EXPECT_EQ(read.sampling.unit, SampleUnit::kPrefix);
  EXPECT_EQ(read.sampling.own_user, OwnUser::kExclude);
  EXPECT_EQ(read.sampling.user_drop, built.sampling.user_drop);
  EXPECT_EQ(read.loss.columns, LossColumns::kAll);
  EXPECT_EQ(read.loss.tau, built.loss.tau);
  EXPECT_EQ(read.loss.l1, built.loss.l1);
  EXPECT_EQ(read.loss.positive, Positive::kQuery);
  EXPECT_EQ(read.queue.size, 512);
  EXPECT_EQ(read.queue.momentum, built.queue.momentum);
  EXPECT_EQ(read.queue.encoder, QueueEncoder::kMomentum);
  EXPECT_EQ(read.mapping.pooling, Pooling::kMean);
  EXPECT_EQ(read.mapping.text_rows, 0);
}

TEST(GalOptions, EveryChoiceOfEveryKeyIsUnderstood) {
  data::ConfigSchema schema;
  add_gal_keys(schema);
  int choices = 0;
  for (const auto& key : schema.keys()) {
    for (const auto& choice : key.choices) {
      EXPECT_NO_THROW(options({key.name + "=" + choice})) << key.name << "=" << choice;
      ++choices;
    }
  }
  EXPECT_GE(choices, 40);
  const auto o = options({"l1.anchor=symmetric", "loss.i0=target", "external.user_vector=static_drop",
                          "external.user_drop=0.25", "queue.start=random", "momentum.dropout=on", "head.init=random",
                          "pooling=eos", "sample.order=neighbours", "loss.positive=momentum", "queue.encoder=query"});
  EXPECT_EQ(o.loss.l1_anchor, L1Anchor::kSymmetric);
  EXPECT_EQ(o.sampling.i0, ItemCentre::kTarget);
  EXPECT_EQ(o.sampling.user_vector, UserVector::kStaticDrop);
  EXPECT_EQ(o.sampling.user_drop, 0.25);
  EXPECT_EQ(o.sampling.order, SampleOrder::kNeighbours);
  EXPECT_EQ(o.queue.start, QueueStart::kRandom);
  EXPECT_TRUE(o.queue.momentum_dropout);
  EXPECT_EQ(o.mapping.head_init, HeadInit::kRandom);
  EXPECT_EQ(o.mapping.pooling, Pooling::kEos);
  EXPECT_TRUE(o.needs_momentum_keys());
}

TEST(GalOptions, OneHopHasL3Alone) {
  const auto o = options({"sample.hops=1"});
  EXPECT_EQ(o.loss.l1, 0.0);
  EXPECT_EQ(o.loss.l2, 0.0);
  EXPECT_EQ(o.loss.l3, 0.1);
}

TEST(GalOptions, MomentumKeysOnlyWhereSomethingUsesThem) {
  EXPECT_TRUE(options({}).needs_momentum_keys());
  EXPECT_FALSE(options({"queue.encoder=query"}).needs_momentum_keys());
  EXPECT_FALSE(options({"loss.l1=0", "loss.l2=0", "loss.l3=0"}).needs_momentum_keys());
}

TEST(GalOptions, RejectsWhatIsOutOfRange) {
  test::expect_error<UsageError>([] { options({"loss.tau=0"}); }, {"loss.tau"});
  test::expect_error<UsageError>([] { options({"sample.users_per_item=65"}); }, {"sample.users_per_item", "64"});
  test::expect_error<UsageError>([] { options({"pooling=max"}); }, {"pooling", "mean"});
}

}  // namespace
}  // namespace galrec::gal
