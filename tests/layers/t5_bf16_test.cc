// A T5 encoder in bf16 storage: what its activations take, and that its gradients are those of the double oracle but for rounding.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/pooling.h"
#include "layers/t5/checkpoint.h"
#include "layers/t5/model.h"
#include "tests/support/devices.h"

namespace galrec::layers {
namespace {

constexpr std::int64_t kWidth = 64, kTokens = 96;
constexpr int kBlocks = 2;

T5Config config() {
  T5Config c;
  c.vocab_size = 50;
  c.d_model = kWidth;
  c.d_kv = 32;
  c.num_heads = 2;
  c.d_ff = 2 * kWidth;
  c.num_layers = c.num_decoder_layers = kBlocks;
  c.feed_forward = T5Config::FeedForward::kGatedGelu;
  c.tied_head = false;
  return c;
}

struct Outcome {
  double loss = 0;
  std::size_t bytes = 0;                       // of values and gradients of a step
  std::vector<std::vector<double>> gradients;  // of all parameters
};

/// Encoder, mean of two sequences, cross-entropy.
template <class T>
Outcome run(const Device& device) {
  autograd::ParameterStore<T> store;
  const T5Model<T> model(store, config());
  store.allocate(autograd::Trainable::kYes, memory_of(device));
  init_t5(store, config(), 11);
  std::vector<std::int32_t> ids(kTokens);
  for (std::size_t n = 0; n < ids.size(); ++n) ids[n] = static_cast<std::int32_t>(n * 7 % 50);
  Outcome out;
  autograd::Tape<T> tape(device);
  for (int pass = 0; pass < 2; ++pass) {  // in the second the arena is one chunk, whose use can be read
    tape.reset(autograd::Recording::kOn);
    store.zero_gradients();
    const auto cu = tape.keep(std::vector<std::int32_t>{0, 40, kTokens});
    const auto states = model.encoder().forward(tape, model.embed(tape, tape.keep(ids)), cu, DropoutRates::none());
    out.bytes = tape.arena().mark().used;
    const auto pooled = autograd::segment_mean(tape, states, cu);
    const auto targets = tape.keep(std::vector<std::int32_t>{3, 44});
    const auto loss = autograd::linear_cross_entropy<T>(tape, pooled, model.head(tape), {}, targets, 1.0);
    tape.backward(loss);
    store.finish_gradients();
    out.loss = static_cast<double>((*on_host(device, loss.value()))(0, 0));
  }
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    const auto g = store.read_gradient(id);
    out.gradients.emplace_back(g->data, g->data + g->size());
  }
  synchronize<T>(device);
  return out;
}

TEST(T5InBf16, ActivationsTakeTwoBytesAndTheStreamFour) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  const auto wide = static_cast<double>(run<float>(device).bytes), narrow = static_cast<double>(run<bfloat16>(device).bytes);
  // Everything is halved, but the stream, embedded and after each sub-layer. In fp32 it shares the memory of the branches.
  const double stream = 4.0 * kTokens * kWidth * (1 + 2 * kBlocks);
  EXPECT_LE(narrow, wide / 2 + 1.02 * stream);
  EXPECT_GE(narrow, wide / 2);
}

TEST(T5InBf16, GradientsAreTheOraclesButForRounding) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  CpuContext cpu;
  const auto expected = run<double>(cpu);
  const auto actual = run<bfloat16>(device), again = run<bfloat16>(device);
  EXPECT_NEAR(actual.loss, expected.loss, 0.01 * expected.loss);
  EXPECT_EQ(actual.loss, again.loss);
  EXPECT_EQ(actual.gradients, again.gradients);
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (std::size_t p = 0; p < actual.gradients.size(); ++p) {
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < actual.gradients[p].size(); ++i) {
      error += std::pow(actual.gradients[p][i] - expected.gradients[p][i], 2);
      norm += std::pow(expected.gradients[p][i], 2);
    }
    EXPECT_LE(std::sqrt(error), 0.06 * std::sqrt(norm)) << "parameter " << p;  // a relative 2^-9 per rounding, some dozens deep
  }
}

}  // namespace
}  // namespace galrec::layers
