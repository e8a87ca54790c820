// T5 as a trainable thing: memory, threads, dropout, packing, the one-step decoder.

#include "layers/t5/model.h"

#include <gtest/gtest.h>

#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/sums.h"
#include "autograd/optimizer.h"
#include "layers/t5/checkpoint.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"

namespace galrec::layers {
namespace {

using autograd::Recording;

T5Config small_config(T5Config::FeedForward kind = T5Config::FeedForward::kGatedGelu) {
  T5Config c;
  c.vocab_size = 90;
  c.d_model = 40;
  c.d_kv = 12;
  c.num_heads = 3;
  c.d_ff = 56;
  c.num_layers = 2;
  c.num_decoder_layers = 2;
  c.feed_forward = kind;
  c.tied_head = c.scale_decoder_outputs = false;
  return c;
}

/// A model that trains on one fixed ragged batch.
template <class T>
struct Trainer {
  explicit Trainer(int threads, const T5Config& config = small_config())
      : ctx(threads), model(store, config), tape(Device(ctx)) {
    store.allocate();
    init_t5(store, config, 5);
    for (const int n : {37, 1, 150, 64}) {
      const auto row = test::random_ids(n, 90, static_cast<std::uint64_t>(n));
      ids.insert(ids.end(), row.begin(), row.end());
      cu.push_back(static_cast<std::int32_t>(ids.size()));
    }
    decoder_ids = test::random_ids(8, 90, 77);
    targets = test::random_ids(8, 90, 78);
    decoder_cu = {0, 2, 4, 6, 8};
    optimizer = std::make_unique<autograd::AdamW<T>>(store, autograd::AdamWSettings{.weight_decay = 0.01});
  }

  double step(std::uint32_t number, double rate) {
    tape.reset(Recording::kOn, {.seed = 42, .step = number, .stream = 0});
    store.zero_gradients();
    const auto rates = DropoutRates::uniform(rate);
    const auto states = model.encoder().forward(tape, model.embed(tape, view_of(ids)), view_of(cu), rates);
    const auto decoded = model.decoder().forward(tape, model.embed(tape, view_of(decoder_ids)), view_of(decoder_cu),
                                                 states, view_of(cu), rates);
    const auto loss =
        autograd::linear_cross_entropy(tape, decoded, model.head(tape), {}, view_of(targets), model.logit_scale());
    tape.backward(loss);
    const double norm = optimizer->gradient_norm(ctx);
    optimizer->step(ctx, 1e-3, autograd::clip_scale(norm, 1.0));
    return autograd::scalar(tape, loss);
  }

  CpuContext ctx;
  autograd::ParameterStore<T> store;
  T5Model<T> model;
  autograd::Tape<T> tape;
  std::vector<std::int32_t> ids, cu = {0}, decoder_ids, decoder_cu, targets;
  std::unique_ptr<autograd::AdamW<T>> optimizer;
};

TEST(T5Model, AllocatesNothingAfterTheFirstStep) {
  Trainer<float> t(2);
  t.step(0, 0.1);
  t.tape.reset(Recording::kOn);  // merges what the first step allocated in pieces
  const auto tape_count = t.tape.arena().system_allocations();
  const auto scratch_count = t.ctx.scratch().system_allocations();
  for (std::uint32_t s = 1; s < 5; ++s) t.step(s, 0.1);
  EXPECT_EQ(t.tape.arena().system_allocations(), tape_count);
  EXPECT_EQ(t.ctx.scratch().system_allocations(), scratch_count);
}

TEST(T5Model, BitsDoNotDependOnTheNumberOfThreads) {
  for (const auto kind : {T5Config::FeedForward::kGatedGelu, T5Config::FeedForward::kRelu}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 4}) {
      Trainer<float> t(threads, small_config(kind));
      for (std::uint32_t s = 0; s < 3; ++s) t.step(s, 0.2);
      const auto values = t.store.values();
      const std::vector<float> now(values.data, values.data + values.extent(0));
      if (first.empty()) first = now;
      test::expect_same_bits(now, first, "parameters with " + std::to_string(threads) + " threads");
    }
  }
}

TEST(T5Model, LearnsTheBatchAndDropoutChangesTheLoss) {
  Trainer<float> t(2), dropped(2);
  const double first = t.step(0, 0.0);
  EXPECT_NE(first, dropped.step(0, 0.3));
  double last = first;
  for (std::uint32_t s = 1; s < 60; ++s) last = t.step(s, 0.0);
  EXPECT_LT(last, 0.5 * first);
}

TEST(T5Model, DropoutGradientsAreThoseOfTheMaskedFunction) {
  // Central differences through a whole model with all five kinds of dropout on: the masks are a function of the key.
  Trainer<double> t(2);
  const auto objective = [&](Recording recording) {
    t.tape.reset(recording, {.seed = 1, .step = 2, .stream = 0});
    const auto rates =
        DropoutRates{.embedding = 0.1, .attention = 0.2, .hidden = 0.15, .feed_forward = 0.25, .output = 0.05};
    const auto states = t.model.encoder().forward(t.tape, t.model.embed(t.tape, view_of(t.ids)), view_of(t.cu), rates);
    const auto decoded = t.model.decoder().forward(t.tape, t.model.embed(t.tape, view_of(t.decoder_ids)),
                                                   view_of(t.decoder_cu), states, view_of(t.cu), rates);
    return autograd::linear_cross_entropy(t.tape, decoded, t.model.head(t.tape), {}, view_of(t.targets), 1.0);
  };
  t.store.zero_gradients();
  t.tape.backward(objective(Recording::kOn));
  t.store.finish_gradients();
  for (autograd::ParameterId id = 0; id < t.store.size(); ++id) {
    const auto gradient = t.store.gradient(id);
    std::int64_t best = 0;
    for (std::int64_t i = 0; i < gradient.size(); ++i) {
      if (std::abs(gradient.data[i]) > std::abs(gradient.data[best])) best = i;
    }
    double& x = t.store.value(id).data[best];
    const double kept = x, h = 1e-5;
    x = kept + h;
    const double up = autograd::scalar(t.tape, objective(Recording::kOn));
    x = kept - h;
    const double down = autograd::scalar(t.tape, objective(Recording::kOn));
    x = kept;
    const double expected = gradient.data[best];
    EXPECT_TRUE(std::abs((up - down) / (2 * h) - expected) <= 1e-6 * std::max(1e-2, std::abs(expected)))
        << t.store.span(id).name << ": " << (up - down) / (2 * h) << " and " << expected;
  }
}

TEST(T5Model, WithoutRecordingTheStatesAreTheSameBitsInLessMemory) {
  Trainer<float> t(2);
  const auto run = [&](autograd::Tape<float>& tape, Recording recording) {
    tape.reset(recording);
    const auto rates = DropoutRates::none();
    const auto states = t.model.encoder().forward(tape, t.model.embed(tape, view_of(t.ids)), view_of(t.cu), rates);
    const auto decoded = t.model.decoder().forward(tape, t.model.embed(tape, view_of(t.decoder_ids)),
                                                   view_of(t.decoder_cu), states, view_of(t.cu), rates);
    std::vector<float> out(states.value().data, states.value().data + states.value().size());
    out.insert(out.end(), decoded.value().data, decoded.value().data + decoded.value().size());
    return out;
  };
  autograd::Tape<float> on{Device(t.ctx)}, off{Device(t.ctx)};
  test::expect_same_bits(run(off, Recording::kOff), run(on, Recording::kOn), "states");
  EXPECT_LT(off.arena().peak_bytes(), on.arena().peak_bytes());
}

TEST(T5Model, RecordingOffDropsNothing) {
  Trainer<float> t(1);
  std::vector<std::vector<float>> states;
  for (const double rate : {0.0, 0.5}) {
    t.tape.reset(Recording::kOff, {.seed = 3, .step = 1, .stream = 0});
    const auto s =
        t.model.encoder()
            .forward(t.tape, t.model.embed(t.tape, view_of(t.ids)), view_of(t.cu), DropoutRates::uniform(rate))
            .value();
    states.emplace_back(s.data, s.data + s.size());
  }
  test::expect_same_bits(states[0], states[1], "states");
}

TEST(T5Model, RowsOfTableAndHeadMayDiffer) {
  autograd::ParameterStore<float> store;
  const T5Model<float> model(store, small_config(), {.shared = 61, .head = 77});
  EXPECT_EQ(store.span(model.shared_id()).rows(), 61);
  EXPECT_EQ(store.span(model.head_id()).rows(), 77);
}

TEST(T5Init, DependsOnSeedAndNameOnly) {
  const auto config = small_config();
  autograd::ParameterStore<float> one, two, three;
  two.add("g_user.weight", {3, 3});
  const T5Model<float> a(one, config), b(two, config), c(three, config);
  one.allocate();
  two.allocate();
  three.allocate();
  init_t5(one, config, 5);
  init_t5(two, config, 5);
  init_t5(three, config, 6);
  for (autograd::ParameterId id = 0; id < one.size(); ++id) {
    const auto& span = one.span(id);
    const auto x = one.value(id), y = two.value(two.require(span.name)), z = three.value(id);
    EXPECT_EQ(0, std::memcmp(x.data, y.data, static_cast<std::size_t>(span.size) * sizeof(float))) << span.name;
    double squares = 0;
    for (std::int64_t i = 0; i < span.size; ++i) squares += static_cast<double>(x.data[i]) * x.data[i];
    const double deviation = std::sqrt(squares / static_cast<double>(span.size));
    if (span.name.ends_with("layer_norm.weight")) {
      EXPECT_EQ(deviation, 1.0);
    } else {
      EXPECT_NE(x.data[0], z.data[0]) << span.name;
    }
    if (span.name == "shared.weight") {
      EXPECT_NEAR(deviation, 1.0, 0.05);
    }
    if (span.name.ends_with("SelfAttention.q.weight")) {
      EXPECT_NEAR(deviation, 1 / std::sqrt(40.0 * 12), 0.003);
    }
    if (span.name.ends_with("wo.weight")) {
      EXPECT_NEAR(deviation, 1 / std::sqrt(56.0), 0.01);
    }
  }
}

}  // namespace
}  // namespace galrec::layers
