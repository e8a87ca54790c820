// What bf16 storage adds to stores and tapes: operands that follow the values, gradients of two types on one tape.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/sums.h"
#include "autograd/optimizer.h"
#include "kernels/common/elementwise.h"
#include "tests/support/devices.h"
#include "tests/support/random.h"

namespace galrec::autograd {
namespace {

using Store = ParameterStore<bfloat16>;

/// Whether every operand is its value rounded.
void expect_rounded(const Store& store, const char* after) {
  for (ParameterId id = 0; id < store.size(); ++id) {
    const auto values = store.read(id);
    const auto operands = on_host(store.memory(), store.operand(id));
    for (std::int64_t i = 0; i < values->size(); ++i)
      ASSERT_EQ(operands->data[i].bits, bfloat16(values->data[i]).bits) << after << ": " << store.span(id).name << " " << i;
  }
}

struct Stores {
  Store model, momentum;
  explicit Stores(MemoryResource& memory) {
    for (auto* s : {&model, &momentum}) {
      s->add("a.weight", {3, 5});
      s->add("a.bias", {7});
    }
    model.add("frozen", {2, 3}, Trainable::kNo);
    model.allocate(Trainable::kYes, memory);
    momentum.allocate(Trainable::kNo, memory);
    for (ParameterId id = 0; id < model.size(); ++id)
      model.write(id, test::random_normal<float>(model.span(id).size, 3 + static_cast<std::uint64_t>(id)));
    for (ParameterId id = 0; id < momentum.size(); ++id) momentum.copy(id, model, id);
  }
};

void test_host_changes(MemoryResource& memory) {
  Stores s(memory);
  expect_rounded(s.model, "write");
  expect_rounded(s.momentum, "copy");
  s.model.edit(0, [](View<float, 2> v) { v(1, 2) = 1.2345f; });
  expect_rounded(s.model, "edit");
  s.model.write_rows(0, 1, test::random_normal<float>(10, 9));
  expect_rounded(s.model, "write_rows");
  EXPECT_THROW(s.model.write_rows(0, 2, test::random_normal<float>(10, 9)), CheckError);
  EXPECT_THROW(s.model.write_rows(0, 0, test::random_normal<float>(4, 9)), CheckError);
}

TEST(StoreInBf16, OperandsFollowTheValues) {
  test_host_changes(host_memory());
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  test_host_changes(memory_of(device));
}

TEST(StoreInBf16, TheOptimiserWritesOperandsOfModelAndAverage) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  Stores s(memory_of(device));
  AdamW<bfloat16> optimizer(s.model, {.weight_decay = 0.1});
  optimizer.track_average(s.momentum);
  const auto before = (*s.momentum.read(0))(0, 0);
  for (std::uint64_t t = 1; t <= 2; ++t) {
    s.model.zero_gradients();
    for (const ParameterId id : {0, 1}) {
      s.model.claim_gradient(id);
      const auto g = test::random_normal<float>(s.model.span(id).size, 10 * t);
      s.model.memory().upload(s.model.gradient(id).data, g.data(), g.size() * sizeof(float));
    }
    optimizer.step(device, {.lr = 0.05, .max_norm = 1, .momentum = 0.5});
    expect_rounded(s.model, "step");
    expect_rounded(s.momentum, "average");
  }
  synchronize<bfloat16>(device);
  EXPECT_NE((*s.momentum.read(0))(0, 0), before);
}

TEST(TapeInBf16, RefusesTheCpu) {
  CpuContext cpu;
  Tape<bfloat16> tape{Device(cpu)};
  tape.reset(Recording::kOff);
  EXPECT_THROW(cast<bfloat16>(tape, tape.constant(tape.arena().matrix<float>(2, 2))), CheckError);
}

// Rows gathered twice from bf16 activations, whose gradient is summed in fp32; a stream in fp32; a weight that is also a table.
template <class T>
std::vector<double> mixed_gradient(const Device& device) {
  ParameterStore<T> store;
  const auto weight = store.add("weight", {8, 8});
  const auto norm = store.add("norm", {8});
  store.allocate(Trainable::kYes, memory_of(device));
  std::vector<Acc<T>> values, ones(8, Acc<T>(1));
  for (const float v : test::random_normal<float>(64, 5)) values.push_back(static_cast<Acc<T>>(static_cast<float>(bfloat16(v))));
  store.write(weight, values);
  store.write(norm, ones);
  Tape<T> tape(device);
  tape.reset(Recording::kOn);
  const std::vector<std::int32_t> ids{4, 1, 1, 7, 0}, rows{2, 2, 0, 2};
  const auto stream = embedding(tape, tape.parameter(store, weight), tape.keep(ids));
  const auto y = linear(tape, rms_norm<T>(tape, stream, tape.parameter(store, norm), 1e-6), tape.weight(store, weight));
  const auto second = rms_norm_residual<T>(tape, y, stream, tape.parameter(store, norm), 1e-6, 0, NormInput::kReuse);
  const auto gathered = embedding(tape, second.y, tape.keep(rows));
  const auto sum = add(tape, gathered, embedding(tape, second.y, tape.keep(std::vector<std::int32_t>{1, 2, 3, 4})));
  // A loss whose gradient is known: row r of two copies of the sum has 0.25 (r + 1) everywhere.
  const auto wide = concat_rows(tape, {cast<Acc<T>>(tape, sum), cast<Acc<T>>(tape, sum)});
  const auto total = tape.template output<Acc<T>>(1, 1, {wide});
  dispatch<T>(device, [&](auto& ctx) { fill<Acc<T>>(ctx, total.value(), 0); });
  tape.record("total", total, [&tape, wide] {
    const auto d = tape.claim(wide);
    dispatch<T>(tape.device(), [&](auto& ctx) {
      for (std::int64_t r = 0; r < 8; ++r) fill<Acc<T>>(ctx, d.view.slice_rows(r, 1), 0.25 * static_cast<double>(r + 1));
    });
  });
  tape.backward(total);
  store.finish_gradients();
  synchronize<T>(device);
  std::vector<double> out;
  for (const ParameterId id : {weight, norm}) {
    const auto g = store.read_gradient(id);
    out.insert(out.end(), g->data, g->data + g->size());
  }
  return out;
}

TEST(TapeInBf16, GradientsOfBothTypesMeet) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  CpuContext cpu;
  const auto expected = mixed_gradient<double>(cpu), actual = mixed_gradient<bfloat16>(device);
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 0;
  for (const double g : expected) largest = std::max(largest, std::abs(g));
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 0.03 * largest) << i;
}

}  // namespace
}  // namespace galrec::autograd
