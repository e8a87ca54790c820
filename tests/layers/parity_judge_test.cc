// What a recording may be asked for: limits that come from arithmetic, and no more.

#include "layers/parity_judge.h"

#include <gtest/gtest.h>

#include "autograd/ops/sums.h"
#include "data/safetensors_writer.h"
#include "tests/support/temporary_folder.h"

namespace galrec::layers {
namespace {

/// The verdict on a gradient of one element that was recorded as `recorded`, where all gradients together have norm 10.
bool accepts(double recorded, double ours, ParityPrecision precision) {
  test::TemporaryFolder folder;
  const std::vector<float> gradient{static_cast<float>(recorded)}, norm{10};
  data::SafetensorsWriter writer;
  writer.add("grad.w", {1}, std::span<const float>(gradient));
  writer.add("grad_norm", {1}, std::span<const float>(norm));
  writer.write(folder / "expected.safetensors");
  const ParityRun run{.values = {{"grad.w", {ours}}, {"grad_norm", {10}}}, .integers = {}};
  const auto unmoved = [&](const ParityProbe&) { return run; };
  return judge_parity(data::SafetensorsFile::open(folder / "expected.safetensors"), run, unmoved, precision, {}).ok();
}

TEST(ParityJudge, WhatCancelsMayLeaveRoundingOfAllGradients) {
  EXPECT_TRUE(accepts(1e-17, 0, ParityPrecision::kDouble));
  EXPECT_FALSE(accepts(1e-12, 0, ParityPrecision::kDouble));
  EXPECT_TRUE(accepts(1e-9, 1e-7, ParityPrecision::kFloat));
  EXPECT_FALSE(accepts(1e-9, 1e-5, ParityPrecision::kFloat));
  EXPECT_FALSE(accepts(1e-9, 1e-7, ParityPrecision::kBf16)) << "only naive runs excuse in bf16";
  EXPECT_FALSE(accepts(1e-17, NAN, ParityPrecision::kFloat));
}

TEST(ParityJudge, AProbeStoresWhatItSaysBetweenOperations) {
  CpuContext ctx;
  const auto third_of = [&](autograd::Rounding stored) {
    autograd::Tape<double> tape(ctx);
    apply_probe(tape, {.stored = stored, .number = 1});
    tape.reset(autograd::Recording::kOff);
    autograd::ParameterStore<double> store;
    const auto id = store.add("w", {1, 1});
    store.allocate(autograd::Trainable::kYes);
    store.write(id, std::vector<double>{1});
    return autograd::scale(tape, tape.parameter(store, id), 1.0 / 3).value()(0, 0);
  };
  EXPECT_EQ(third_of(autograd::Rounding::kNone), 1.0 / 3);
  EXPECT_EQ(third_of(autograd::Rounding::kFloat), static_cast<double>(1.0f / 3));
  EXPECT_EQ(third_of(autograd::Rounding::kBf16), static_cast<double>(bfloat16(1.0f / 3)));
}

}  // namespace
}  // namespace galrec::layers
