// labels: slow
// The larger T5 fixture in bf16, gated feed-forward and optimiser steps, against naive bf16 runs of the oracle.
#include <gtest/gtest.h>

#include "layers/t5/parity.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace galrec::layers {
namespace {

TEST(T5ParityBf16, TheGatedModelIsWithinTwiceTheNaiveError) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  const auto report = run_t5_parity(device, test::golden("flan_tiny"), ParityPrecision::kBf16);
  EXPECT_TRUE(report.ok()) << report.to_text();
}

}  // namespace
}  // namespace galrec::layers
