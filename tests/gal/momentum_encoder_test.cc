#include "gal/momentum_encoder.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/optimizer.h"
#include "tests/gal/tiny_model.h"

namespace galrec::gal {
namespace {

using autograd::Recording;
using test::TinyModel;

TEST(MomentumEncoder, AFreshCopyGivesTheQueryEncodersKeys) {
  TinyModel<double> m;
  MomentumEncoder<double> momentum(m.model);
  const auto query = m.forward({}, Recording::kOff).query_keys;
  m.key_tape.reset(Recording::kOff);
  const auto keys = momentum.encode(m.key_tape, m.batch);
  for (const auto q : {Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2}) {
    ASSERT_EQ(keys[q].rows(), 5);
    for (std::int64_t b = 0; b < 5; ++b) {
      double norm = 0;
      for (std::int64_t c = 0; c < 16; ++c) {
        EXPECT_NEAR(keys[q](b, c), query[q](b, c), 1e-12) << queue_name(q);
        norm += keys[q](b, c) * keys[q](b, c);
      }
      EXPECT_NEAR(norm, 1, 1e-12);
    }
  }
}

TEST(MomentumEncoder, KeepsTheRightParameters) {
  TinyModel<float> frozen, trainable({.rows = ExternalRows::kTrainable});
  const MomentumEncoder<float> a(frozen.model), b(trainable.model);
  EXPECT_GE(a.parameters().find("shared.weight"), 0);
  EXPECT_GE(a.parameters().find("g_user.bias"), 0);
  EXPECT_EQ(a.parameters().find("lm_head.weight"), -1);
  EXPECT_EQ(a.parameters().find("decoder.final_layer_norm.weight"), -1);
  EXPECT_EQ(a.parameters().find("h_item"), -1);
  EXPECT_GE(b.parameters().find("h_item"), 0);
  EXPECT_FALSE(a.parameters().has_gradients());
}

TEST(MomentumEncoder, FollowsTheOptimiser) {
  TinyModel<double> m;
  MomentumEncoder<double> momentum(m.model);
  autograd::AdamW<double> optimizer(m.model.parameters(), {});
  optimizer.track_average(momentum.parameters());
  const auto before = momentum.parameters().value(momentum.parameters().require("g_item.weight"))(1, 2);
  m.model.parameters().zero_gradients();
  m.tape.backward(m.forward({}, Recording::kOn).loss);
  m.model.parameters().finish_gradients();
  optimizer.step(m.ctx, 0.01, 1.0, 0.75);
  const auto query = m.model.parameters().value(m.model.parameters().require("g_item.weight"))(1, 2);
  const auto after = momentum.parameters().value(momentum.parameters().require("g_item.weight"))(1, 2);
  EXPECT_NE(query, before);
  EXPECT_NEAR(after, 0.75 * before + 0.25 * query, 1e-14);
}

TEST(MomentumEncoder, DropsWhereAsked) {
  TinyModel<double> m;
  MomentumEncoder<double> momentum(m.model);
  m.key_tape.reset(Recording::kOff);
  const double quiet = momentum.encode(m.key_tape, m.batch)[Queue::kU2](0, 0);
  const auto noisy = [&](std::uint32_t step) {
    m.key_tape.reset(Recording::kOn, {.seed = 1, .step = step, .stream = 0});
    return momentum.encode(m.key_tape, m.batch, layers::DropoutRates::uniform(0.3))[Queue::kU2](0, 0);
  };
  EXPECT_NE(noisy(1), quiet);
  EXPECT_EQ(noisy(1), noisy(1));
  EXPECT_NE(noisy(1), noisy(2));
}

TEST(MomentumEncoder, DotSimilarityKeepsLengths) {
  TinyModel<double> m;
  MomentumEncoder<double> momentum(m.model);
  m.key_tape.reset(Recording::kOff);
  const auto keys = momentum.encode(m.key_tape, m.batch, layers::DropoutRates::none(), Similarity::kDot);
  const auto query = m.forward({.similarity = Similarity::kDot}, Recording::kOff).query_keys;
  EXPECT_NEAR(keys[Queue::kI2](1, 3), query[Queue::kI2](1, 3), 1e-12);
  EXPECT_NEAR(keys[Queue::kI2](1, 3), m.forward({}, Recording::kOff).embeddings(6 + 5, 3), 1e-12);
}

}  // namespace
}  // namespace galrec::gal
