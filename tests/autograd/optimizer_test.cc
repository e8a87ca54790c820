// AdamW over a store: against the textbook update, spans, frozen parameters, the momentum average.

#include "autograd/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"

namespace galrec::autograd {
namespace {

struct Stores {
  ParameterStore<double> model, momentum;

  Stores() {
    model.add("a.weight", {3, 5});
    model.add("b.weight", {2, 7});
    model.add("b.bias", {7});
    model.add("frozen", {4, 4}, Trainable::kNo);
    model.add("c.weight", {2, 2});
    momentum.add("b.weight", {2, 7});
    momentum.add("b.bias", {7});
    momentum.add("frozen", {4, 4});
    model.allocate();
    momentum.allocate(Trainable::kNo);
    fill(model, 1);
    fill(momentum, 2);
  }
  static void fill(ParameterStore<double>& store, std::uint64_t seed) {
    for (ParameterId id = 0; id < store.size(); ++id) {
      const auto values = test::random_normal<double>(store.span(id).size, seed + 10 * static_cast<std::uint64_t>(id));
      std::copy(values.begin(), values.end(), store.value(id).data);
    }
  }
  void set_gradients(std::uint64_t seed) {
    model.zero_gradients();
    for (ParameterId id = 0; id < model.size(); ++id) {
      if (model.span(id).trainable == Trainable::kNo || model.span(id).name == "c.weight") continue;
      model.claim_gradient(id);
      const auto values = test::random_normal<double>(model.span(id).size, seed + 10 * static_cast<std::uint64_t>(id));
      std::copy(values.begin(), values.end(), model.gradient(id).data);
    }
  }
  static std::vector<double> copy(const ParameterStore<double>& store, ParameterId id) {
    return {store.value(id).data, store.value(id).data + store.span(id).size};
  }
};

TEST(AdamW, IsTheTextbookUpdate) {
  Stores s;
  CpuContext ctx;
  AdamW<double> optimizer(s.model, {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1});
  optimizer.track_average(s.momentum);
  const double lr = 0.03, mu = 0.9;
  std::vector<std::vector<double>> p, m, v, average;
  for (ParameterId id = 0; id < s.model.size(); ++id) {
    p.push_back(Stores::copy(s.model, id));
    m.emplace_back(p.back().size(), 0.0);
    v.emplace_back(p.back().size(), 0.0);
    const ParameterId other = s.momentum.find(s.model.span(id).name);
    average.push_back(other < 0 ? std::vector<double>() : Stores::copy(s.momentum, other));
  }
  for (int t = 1; t <= 4; ++t) {
    s.set_gradients(100 + static_cast<std::uint64_t>(t));
    const double norm = optimizer.gradient_norm(ctx);
    double squares = 0;
    for (ParameterId id = 0; id < s.model.size(); ++id) {
      for (std::int64_t i = 0; i < s.model.span(id).size; ++i)
        squares += s.model.gradient(id).data[i] * s.model.gradient(id).data[i];
    }
    EXPECT_NEAR(norm, std::sqrt(squares), 1e-12);
    const double clip = clip_scale(norm, 1.0);
    EXPECT_LT(clip, 1);
    for (ParameterId id = 0; id < s.model.size(); ++id) {
      const auto& span = s.model.span(id);
      if (span.trainable == Trainable::kNo) continue;
      const auto k = static_cast<std::size_t>(id);
      const double decay = span.shape.size() > 1 ? 0.1 : 0.0;
      for (std::size_t i = 0; i < p[k].size(); ++i) {
        const double g = clip * s.model.gradient(id).data[i];
        m[k][i] = 0.8 * m[k][i] + 0.2 * g;
        v[k][i] = 0.95 * v[k][i] + 0.05 * g * g;
        p[k][i] *= 1 - lr * decay;
        p[k][i] -= lr * (m[k][i] / (1 - std::pow(0.8, t))) / (std::sqrt(v[k][i] / (1 - std::pow(0.95, t))) + 1e-6);
        if (!average[k].empty()) average[k][i] = mu * average[k][i] + (1 - mu) * p[k][i];
      }
    }
    optimizer.step(ctx, lr, clip, mu);
    EXPECT_EQ(optimizer.steps(), t);
    for (ParameterId id = 0; id < s.model.size(); ++id) {
      const auto k = static_cast<std::size_t>(id);
      for (std::size_t i = 0; i < p[k].size(); ++i)
        EXPECT_NEAR(s.model.value(id).data[i], p[k][i], 1e-13) << s.model.span(id).name;
      const ParameterId other = s.momentum.find(s.model.span(id).name);
      for (std::size_t i = 0; i < average[k].size(); ++i)
        EXPECT_NEAR(s.momentum.value(other).data[i], average[k][i], 1e-13);
    }
  }
}

// Clipping inside the step has the bits of clipping by a factor from the host.
TEST(AdamW, ClipsWithoutTheHost) {
  CpuContext ctx;
  for (const double limit : {1e-3, 1.0, 1e6}) {
    Stores a, b;
    AdamW<double> by_host(a.model, {.weight_decay = 0.1}), by_step(b.model, {.weight_decay = 0.1});
    for (std::uint64_t t = 1; t <= 3; ++t) {
      a.set_gradients(t);
      b.set_gradients(t);
      const double norm = by_host.gradient_norm(ctx);
      by_host.step(ctx, 0.01, clip_scale(norm, limit));
      by_step.step(ctx, {.lr = 0.01, .max_norm = limit});
      EXPECT_EQ(by_step.measured_norm(), norm);
    }
    EXPECT_EQ(by_step.steps(), 3);
    for (ParameterId id = 0; id < a.model.size(); ++id) EXPECT_EQ(Stores::copy(a.model, id), Stores::copy(b.model, id));
  }
}

TEST(AdamW, GradientsThatAreNotFiniteChangeNothing) {
  Stores s;
  CpuContext ctx;
  AdamW<double> optimizer(s.model, {});
  s.set_gradients(1);
  s.model.gradient(0).data[2] = INFINITY;
  const auto before = Stores::copy(s.model, 0);
  EXPECT_THROW(optimizer.step(ctx, {.lr = 0.01, .max_norm = 1}), NumericalError);
  EXPECT_EQ(Stores::copy(s.model, 0), before);
  EXPECT_EQ(optimizer.steps(), 0);
}

TEST(AdamW, NeighboursOfEqualTreatmentAreOneSpan) {
  Stores s;
  AdamW<double> optimizer(s.model, {.weight_decay = 0.1});
  // a and b decay; b.bias does not; c comes after a frozen gap.
  ASSERT_EQ(optimizer.spans().size(), 3u);
  EXPECT_EQ(optimizer.spans()[0].offset, 0);
  EXPECT_EQ(optimizer.spans()[0].size, s.model.span(1).offset + 14);
  EXPECT_TRUE(optimizer.spans()[0].decay);
  EXPECT_FALSE(optimizer.spans()[1].decay);
  optimizer.track_average(s.momentum);
  ASSERT_EQ(optimizer.spans().size(), 4u);  // a and b now differ
  EXPECT_EQ(optimizer.spans()[0].ema_offset, -1);
  EXPECT_EQ(optimizer.spans()[1].ema_offset, 0);
}

TEST(AdamW, RejectsAMomentumStoreThatDoesNotFit) {
  Stores s;
  AdamW<double> optimizer(s.model, {});
  ParameterStore<double> other, strange;
  other.add("b.weight", {7, 2});
  strange.add("x", {3});
  other.allocate(Trainable::kNo);
  strange.allocate(Trainable::kNo);
  EXPECT_THROW(optimizer.track_average(other), CheckError);
  EXPECT_THROW(optimizer.track_average(strange), CheckError);
}

#if defined(GALREC_WITH_CUDA)
// A store in device memory takes the steps of one in host memory, norm and clipping included, and is read by nobody in
// between.
TEST(AdamW, StepsOnTheDeviceAreTheHosts) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, cuda);
  CpuContext cpu;
  const std::vector<float> start = test::random_normal<float>(15, 1), bias = test::random_normal<float>(7, 2);
  struct Side {
    ParameterStore<float> store;
    std::unique_ptr<AdamW<float>> optimizer;
    Side(MemoryResource& memory, const std::vector<float>& weight, const std::vector<float>& vector) {
      store.add("weight", {3, 5});
      store.add("bias", {7});
      store.allocate(Trainable::kYes, memory);
      store.write(0, weight);
      store.write(1, vector);
      optimizer = std::make_unique<AdamW<float>>(store, AdamWSettings{.weight_decay = 0.1});
    }
    void set_gradient(ParameterId id, const std::vector<float>& values) {
      store.claim_gradient(id);
      store.memory().upload(store.gradient(id).data, values.data(), values.size() * sizeof(float));
    }
  };
  Side host(cpu.memory(), start, bias), device(cuda.memory(), start, bias);
  for (std::uint64_t t = 1; t <= 3; ++t) {
    for (auto* side : {&host, &device}) {
      side->store.zero_gradients();
      side->set_gradient(0, test::random_normal<float>(15, 10 * t));
      side->set_gradient(1, test::random_normal<float>(7, 10 * t + 1));
    }
    const AdamWUpdate update{.lr = 0.01, .gradient_scale = 0.5, .max_norm = t == 2 ? 1e6 : 0.7};
    host.optimizer->step(cpu, update);
    device.optimizer->step(cuda, update);
    EXPECT_NEAR(device.optimizer->measured_norm(), host.optimizer->measured_norm(), 1e-12);
    for (ParameterId id = 0; id < 2; ++id) {
      const auto a = device.store.read(id), b = host.store.read(id);
      const std::vector<float> actual(a.view().data, a.view().data + a.view().size()),
          expected(b.view().data, b.view().data + b.view().size());
      test::expect_close(actual, expected, 1e-6, "parameters");
    }
  }
}
#endif

TEST(ClipScale, OnlyShrinks) {
  EXPECT_EQ(clip_scale(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_scale(100, 0), 1.0);
  EXPECT_NEAR(clip_scale(4, 1.0), 0.25, 1e-6);
}

}  // namespace
}  // namespace galrec::autograd
