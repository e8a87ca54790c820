// Steps of recurring shapes: eager, captured, replayed. On the CPU the same code runs every step as it is written.

#include "kernels/common/step_graphs.h"

#include <gtest/gtest.h>

#include <any>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/elementwise.h"
#include "kernels/common/host_view.h"
#include "kernels/common/scatter_rows.h"
#include "tests/support/devices.h"

#if defined(GALREC_CUDA_EMULATED)
#include "kernels/simt/graphs.h"
#include "kernels/simt/schedule.h"
#endif

namespace galrec {
namespace {

using Key = StepGraphs::Key;

/// A step that adds, to each of some numbers, a step size that the device reads.
class Step {
 public:
  explicit Step(const Device& device)
      : device_(device), x_(Buffer<float>::zeros(8, memory_of(device))), size_(1, memory_of(device)) {}

  void set_size(float size) { memory_of(device_).upload(size_.data(), &size, sizeof(size)); }
  void work() {
    dispatch<float>(device_, [&](auto& ctx) {
      const View<float, 2> x = x_.view(1, 8);
      ScratchScope scratch(ctx.scratch());
      const auto ones = scratch->template matrix<float>(1, 8);
      fill<float>(ctx, ones, 1);
      add_scaled<float>(ctx, x, ones, View<const float, 1>(size_.data(), {1}), Accumulate::kAdd);
    });
  }
  float value() const { return (*on_host(device_, x_.view()))[7]; }

 private:
  Device device_;
  Buffer<float> x_, size_;
};

class StepGraphsOn : public ::testing::TestWithParam<DeviceKind> {};
INSTANTIATE_TEST_SUITE_P(Devices, StepGraphsOn, ::testing::ValuesIn(test::built_devices()),
                         [](const auto& info) { return test::device_name(info.param); });

TEST_P(StepGraphsOn, TheFirstRunsTheSecondIsCapturedTheThirdReplayed) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  Step step(device);
  StepGraphs graphs(device);
  int calls = 0;
  std::vector<StepRun> how;
  for (const float size : {1.0f, 2.0f, 4.0f, 8.0f}) {
    step.set_size(size);
    how.push_back(graphs.run(Key{1}, [&] {
      ++calls;
      step.work();
    }));
  }
  EXPECT_EQ(step.value(), 15.0f);
  const bool cuda = GetParam() == DeviceKind::kCuda;
  const auto on_cuda = std::vector{StepRun::kEager, StepRun::kCaptured, StepRun::kReplayed, StepRun::kReplayed};
  EXPECT_EQ(how, cuda ? on_cuda : std::vector(4, StepRun::kEager));
  EXPECT_EQ(calls, cuda ? 2 : 4);
  EXPECT_EQ(graphs.counts().replayed, cuda ? 2 : 0);
  EXPECT_EQ(graphs.failure(), "");
}

TEST_P(StepGraphsOn, ScatterWritesTheRowsThatTheDeviceNames) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  MemoryResource& memory = memory_of(device);
  const std::vector<float> rows{1, 2, 3, 4, 5, 6};
  const std::vector<std::int32_t> places{3, -1, 0};
  const Buffer<float> x(std::span<const float>(rows), memory);
  const Buffer<std::int32_t> to(std::span<const std::int32_t>(places), memory);
  const auto y = Buffer<float>::zeros(8, memory);
  dispatch<float>(device, [&](auto& ctx) {
    scatter_rows<float>(ctx, y.view(4, 2), View<const float, 2>(x.view(3, 2)), to.view());
  });
  const auto out = on_host(device, y.view());
  EXPECT_EQ(std::vector<float>(out->data, out->data + 8), (std::vector<float>{5, 6, 0, 0, 0, 0, 1, 2}));
  EXPECT_THROW(dispatch<float>(device,
                               [&](auto& ctx) {
                                 scatter_rows<float>(ctx, y.view(4, 2), View<const float, 2>(x.view(2, 2)), to.view());
                               }),
               CheckError);
}

#if defined(GALREC_WITH_CUDA)

/// One step under any key, with room for the graphs of two.
struct TwoGraphs {
  explicit TwoGraphs(const Device& device) : step(device), graphs(device, 2) { step.set_size(1.0f); }
  StepRun run(std::int64_t key) {
    return graphs.run(Key{key}, [this] { step.work(); });
  }
  Step step;
  StepGraphs graphs;
};

TEST(StepGraphs, EachKeyHasItsOwnGraphAndTheOldestIsForgotten) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  TwoGraphs steps(device);
  StepGraphs& graphs = steps.graphs;
  const auto run = [&](std::int64_t key) { return steps.run(key); };
  run(1), run(2);
  EXPECT_EQ(run(1), StepRun::kCaptured);
  EXPECT_EQ(run(2), StepRun::kCaptured);
  EXPECT_EQ(run(1), StepRun::kReplayed);
  EXPECT_EQ(run(3), StepRun::kEager);  // in place of 2
  EXPECT_EQ(run(1), StepRun::kReplayed);
  EXPECT_EQ(run(2), StepRun::kEager);
  EXPECT_EQ(graphs.size(), 2u);
  EXPECT_EQ(steps.step.value(), 8.0f);
}

TEST(StepGraphs, WhatTheHostRemembersGoesWithTheGraph) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  TwoGraphs steps(device);
  StepGraphs& graphs = steps.graphs;
  const auto run = [&](std::int64_t key) { return steps.run(key); };
  std::weak_ptr<int> kept;
  const auto capture = [&](std::int64_t key) {
    EXPECT_EQ(run(key), StepRun::kCaptured);
    EXPECT_FALSE(graphs.outcome(Key{key}).has_value());
    const auto value = std::make_shared<int>(7);
    graphs.outcome(Key{key}) = value;
    kept = value;
  };
  EXPECT_THROW(graphs.outcome(Key{1}), CheckError);
  run(1);
  EXPECT_THROW(graphs.outcome(Key{1}), CheckError);  // seen, not captured
  capture(1);
  EXPECT_EQ(run(1), StepRun::kReplayed);
  EXPECT_EQ(*std::any_cast<const std::shared_ptr<int>&>(graphs.outcome(Key{1})), 7);
  run(2);
  EXPECT_FALSE(kept.expired());
  run(3);  // in place of 1
  EXPECT_TRUE(kept.expired());
  EXPECT_THROW(graphs.outcome(Key{1}), CheckError);
  capture(3);
  { const Buffer<float> other(4, memory_of(device)); }
  run(2);  // notices that memory was given back
  EXPECT_TRUE(kept.expired());
  capture(3);
}

TEST(StepGraphs, GraphsGoWithTheMemoryThatTheyMayName) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  Step step(device);
  step.set_size(1.0f);
  StepGraphs graphs(device);
  const auto run = [&] { return graphs.run(Key{1}, [&] { step.work(); }); };
  run(), run();
  EXPECT_EQ(run(), StepRun::kReplayed);
  { const Buffer<float> other(4, memory_of(device)); }
  EXPECT_EQ(run(), StepRun::kCaptured);
  EXPECT_EQ(run(), StepRun::kReplayed);
  EXPECT_EQ(step.value(), 5.0f);
}

/// Planted mistakes: the step is done all the same, and the reason is told.
TEST(StepGraphs, WhatCannotBeCapturedRunsEagerly) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  struct Mistake {
    const char* words;
    std::function<void()> make;
  };
  float value = 3.0f;
  const Buffer<float> x(1, memory_of(device));
  const Mistake mistakes[] = {
      {"waits for values of the device", [&] { memory_of(device).download(&value, x.data(), sizeof(value)); }},
      {"copies host values to the device", [&] { memory_of(device).upload(x.data(), &value, sizeof(value)); }},
      {"operation not permitted when stream is capturing", [&] { synchronize<float>(device); }},
      {"allocates memory", [&] { const Buffer<float> other(4, memory_of(device)); }},
  };
  for (const Mistake& mistake : mistakes) {
    Step step(device);
    step.set_size(1.0f);
    StepGraphs graphs(device);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(graphs.run(Key{1},
                           [&] {
                             step.work();
                             mistake.make();
                           }),
                StepRun::kEager);
    }
    EXPECT_NE(graphs.failure().find(mistake.words), std::string::npos) << graphs.failure();
    EXPECT_TRUE(graphs.gave_up());
    EXPECT_EQ(step.value(), 6.0f);  // once each, whatever was tried
  }
}

#endif

#if defined(GALREC_SIMT_CLEARS_PADDING)

/// A host value in the captured work: the replay is wrong, and a second capture shows it.
TEST(StepGraphs, AHostValueInTheWorkShowsInInspection) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  for (const bool baked : {false, true}) {
    Step step(device);
    step.set_size(1.0f);
    const auto y = Buffer<float>::zeros(8, memory_of(device));
    StepGraphs graphs(device);
    std::string difference;
    graphs.inspect_replays([&](const CudaGraph& replayed, const CudaGraph& fresh) {
      difference += simt::first_difference(*replayed.graph(), *fresh.graph());
    });
    for (int i = 0; i < 3; ++i) {
      graphs.run(Key{1}, [&] {
        step.work();
        dispatch<float>(device, [&](auto& ctx) { fill<float>(ctx, y.view(1, 8), baked ? i : 5); });
      });
    }
    EXPECT_EQ((*on_host(device, y.view()))[0], baked ? 1.0f : 5.0f);  // the value of the capture, not of the last step
    EXPECT_EQ(difference.find("kernel") != std::string::npos, baked) << difference;
    EXPECT_EQ(step.value(), 3.0f);
  }
}

#endif

#if defined(GALREC_CUDA_EMULATED)

TEST(StepGraphs, ReplaysKeepTheirOrderOnDeferredStreams) {
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, device);
  const simt::ScheduleScope late({.streams = simt::StreamMode::kDeferred});
  Step step(device);
  StepGraphs graphs(device);
  for (const float size : {1.0f, 2.0f, 4.0f, 8.0f}) {
    step.set_size(size);
    graphs.run(Key{1}, [&] { step.work(); });
  }
  EXPECT_EQ(step.value(), 15.0f);
}

#endif

}  // namespace
}  // namespace galrec
