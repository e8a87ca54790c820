// What `galrec bench kernels --meter --check` calls worse.

#include <gtest/gtest.h>

#include <algorithm>

#include "apps/galrec/meter/kernel_meter.h"
#include "kernels/common/check.h"

namespace galrec::apps {
namespace {

/// Whether there are as many lines as parts, each with its part.
bool say(const std::vector<std::string>& lines, const std::vector<std::string>& parts) {
  return std::equal(lines.begin(), lines.end(), parts.begin(), parts.end(),
                    [](const auto& line, const auto& part) { return line.find(part) != std::string::npos; });
}

/// Moves 1000 sectors, all it must, and multiplies what it must.
MeteredWorkload good(const std::string& name) {
  MeteredWorkload w;
  w.workload = {.name = name, .shape = "N=1", .load_bytes = 16000, .store_bytes = 16000, .mma_flops = 4096e3};
  w.launches = 1;
  w.load_unique = w.store_unique = w.load_requested = w.store_requested = 16000;
  w.used = 32000;
  w.requests = 63;
  w.matrix_passes = w.matrix_least = w.shared_passes = w.shared_least = 500;
  w.barriers = 200;
  w.mma_flops = 4096e3;
  return w;
}

std::vector<std::string> worse(const MeteredWorkload& now, Extent extent = Extent::kAll) {
  return meter_regressions({now}, meter_json({good("a")}), "meter.json", extent);
}

TEST(KernelMeter, NothingIsWorseThanItself) {
  EXPECT_TRUE(worse(good("a")).empty());
}

TEST(KernelMeter, TwoPercentPass) {
  auto w = good("a");
  w.load_unique *= 1.019;
  w.barriers *= 0.5;
  EXPECT_TRUE(worse(w).empty());
  w.load_unique *= 1.02;
  EXPECT_TRUE(say(worse(w), {"a: loaded rose from 16000 to 16630"}));
}

TEST(KernelMeter, EveryFigureIsCompared) {
  for (const auto member : {&MeteredWorkload::launches, &MeteredWorkload::store_unique,
                            &MeteredWorkload::store_requested, &MeteredWorkload::matrix_passes,
                            &MeteredWorkload::shared_passes, &MeteredWorkload::barriers, &MeteredWorkload::mma_flops}) {
    auto w = good("a");
    w.workload.remark = "must be so";
    w.*member = w.*member * 1.5 + 2;
    EXPECT_TRUE(say(worse(w), {"rose from"}));
  }
}

TEST(KernelMeter, RequirementsHoldUnlessARemarkSaysWhyNot) {
  const auto missed = [](auto change, const char* what) {
    auto w = good("a");
    change(w);
    const auto recorded = meter_json({w});
    EXPECT_TRUE(say(meter_regressions({w}, recorded, "meter.json", Extent::kAll), {what}));
    w.workload.remark = "the algorithm";
    EXPECT_TRUE(meter_regressions({w}, recorded, "meter.json", Extent::kAll).empty());
  };
  missed([](MeteredWorkload& w) { w.load_unique = 22000; }, "traffic 1.188, required is 1.15");
  missed([](MeteredWorkload& w) { w.used = 28000; }, "used 0.875, required is 0.90");
  missed([](MeteredWorkload& w) { w.matrix_passes = 510; }, "ldmatrix ways 1.020, required is 1.00");
  missed([](MeteredWorkload& w) { w.shared_passes = 560; }, "other ways 1.120, required is 1.10");
  missed([](MeteredWorkload& w) { w.mma_flops *= 1.2; }, "mma FLOPs 1.200, required is 1.10");
}

TEST(KernelMeter, WorkloadsThatComeAndGoAreNamed) {
  EXPECT_TRUE(say(worse(good("b")), {"b: not in the file", "a: no longer measured"}));
  EXPECT_TRUE(say(worse(good("b"), Extent::kFiltered), {"b: not in the file"}));
}

TEST(KernelMeter, AFileThatIsNoTableIsADataError) {
  for (const char* text : {"", "[1, 2]", "{\"a\": "}) {
    EXPECT_THROW(meter_regressions({good("a")}, text, "meter.json", Extent::kAll), DataError) << text;
  }
}

}  // namespace
}  // namespace galrec::apps
