// What a CUDA context promises about memory, transfers and reports, with streams that work at once and as late as they
// may.

#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/common/buffer.h"
#include "kernels/common/context.h"

#if defined(GALREC_WITH_CUDA)
#include "tests/support/backends.h"
#endif
#if defined(GALREC_CUDA_EMULATED)
#include "kernels/common/device_status.h"
#include "kernels/simt/schedule.h"
#endif

namespace galrec {
namespace {

#if defined(GALREC_WITH_CUDA)

/// f() with streams that work at once, and, on the executor, with streams that work when somebody waits.
template <class F>
void with_streams(F&& f) {
  f();
#if defined(GALREC_CUDA_EMULATED)
  const simt::ScheduleScope late({.streams = simt::StreamMode::kDeferred});
  f();
#endif
}

std::vector<float> numbers(std::size_t n, float first) {
  std::vector<float> out(n);
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::vector<float> downloaded(CudaContext& ctx, const Buffer<float>& memory) {
  std::vector<float> out(static_cast<std::size_t>(memory.size()));
  ctx.memory().download(out.data(), memory.data(), out.size() * sizeof(float));
  return out;
}

TEST(CudaContextMemory, TheCallersBytesMayChangeAtOnce) {
  with_streams([] {
    GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
    // Each more than half of what is staged, one of several stagings.
    const std::size_t sizes[] = {700'000, 800'000, 2'500'000, 600'000, 10};
    std::vector<Buffer<float>> on_device;
    for (std::size_t i = 0; i < std::size(sizes); ++i) {
      auto values = numbers(sizes[i], static_cast<float>(i));
      on_device.emplace_back(std::span<const float>(values), ctx.memory());
      std::fill(values.begin(), values.end(), -1.0f);
    }
    for (std::size_t i = 0; i < std::size(sizes); ++i)
      EXPECT_EQ(downloaded(ctx, on_device[i]), numbers(sizes[i], static_cast<float>(i))) << i;
  });
}

TEST(CudaContextMemory, CopiesEndBeforeTheirSourceIsGone) {
  with_streams([] {
    GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
    const auto values = numbers(5000, 1);
    const Buffer<float> to(5000, ctx.memory());
    {
      const Buffer<float> from(std::span<const float>(values), ctx.memory());
      ctx.memory().copy(to.data(), from.data(), 5000 * sizeof(float));
    }
    EXPECT_EQ(downloaded(ctx, to), values);
  });
}

TEST(CudaContextMemory, ClearsAllOfIt) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  const auto values = numbers(1000, 1);
  const Buffer<float> memory(std::span<const float>(values), ctx.memory());
  ctx.memory().clear(memory.data(), 999 * sizeof(float));
  auto expected = std::vector<float>(1000, 0.0f);
  expected.back() = 1000;
  EXPECT_EQ(downloaded(ctx, memory), expected);
  ctx.memory().clear(memory.data(), 0);
  ctx.memory().copy(memory.data(), memory.data() + 1, 0);
  ctx.memory().download(nullptr, memory.data(), 0);
  EXPECT_FALSE(ctx.memory().host_accessible());
}

TEST(CudaContextMemory, TooMuchIsBadAlloc) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  EXPECT_THROW(ctx.memory().allocate(std::size_t{1} << 60), std::bad_alloc);
}

TEST(CudaContextErrors, ADeviceThatIsNotThereIsAUsageError) {
  GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
  ctx.synchronize();
  EXPECT_THROW(CudaContext(GemmPrecision::kFull, 1000), UsageError);
}

#if defined(GALREC_CUDA_EMULATED)  // what device_status.h includes is nvcc's on a device

template <class Expected>
std::string message_of(CudaContext& ctx, const DeviceStatus& report) {
  ctx.memory().upload(ctx.status(), &report, sizeof(report));
  try {
    ctx.synchronize();
  } catch (const Expected& error) {
    EXPECT_NO_THROW(ctx.check_status()) << "it was reported before";
    return error.what();
  }
  ADD_FAILURE() << "no error of the expected kind";
  return "";
}

DeviceStatus report(DeviceFault fault, DeviceOperation operation, long long value, long long limit) {
  return {static_cast<int>(fault), static_cast<int>(operation), value, limit};
}

TEST(CudaContextErrors, ReportsOfKernelsAreThrownOnce) {
  with_streams([] {
    GALREC_REQUIRE_BACKEND(test::CudaFloat, ctx);
    EXPECT_NE(message_of<CheckError>(ctx, report(DeviceFault::kIdOutOfRange, DeviceOperation::kEmbedding, 7, 7))
                  .find("embedding: got id 7, expected 0 to 6"),
              std::string::npos);
    EXPECT_NE(message_of<CheckError>(ctx, report(DeviceFault::kOffsetsOutOfOrder, DeviceOperation::kAdamW, 5, 3))
                  .find("adamw: offset 5 is not below 3"),
              std::string::npos);
    EXPECT_NE(message_of<NumericalError>(ctx, report(DeviceFault::kNotANumber, DeviceOperation::kTopK, 4, 0))
                  .find("topk: a value is not a number (row 4)"),
              std::string::npos);
  });
}

#endif

#else

TEST(CudaContextErrors, ABuildWithoutCudaSaysSo) {
  EXPECT_THROW(open_cuda(), UsageError);
}

#endif

}  // namespace
}  // namespace galrec
