#include "kernels/common/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <vector>

namespace galrec {
namespace {

TEST(ParallelForTest, VisitsEveryIndexOnceInFixedChunks) {
  for (int threads : {1, 2, 3, 4}) {
    CpuContext ctx(threads);
    for (std::int64_t n : {0, 1, 7, 64, 1000}) {
      for (std::int64_t grain : {-3, 0, 1, 7, 64, 2000}) {
        std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n));
        std::atomic<bool> ok{true};
        parallel_for(ctx, n, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
          const std::int64_t g = std::max<std::int64_t>(grain, 1);
          if (begin % g != 0 || end != std::min(n, begin + g) || worker < 0 || worker >= threads) ok = false;
          for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        EXPECT_TRUE(ok) << n << " by " << grain;
        for (auto& v : visits) ASSERT_EQ(v, 1);
      }
    }
  }
}

// What is summed per chunk and then over chunks has the same bits for any number of threads.
TEST(ParallelForTest, ChunkSumsDoNotDependOnThreads) {
  constexpr std::int64_t kN = 100003, kGrain = 97;
  const auto sum = [&](int threads) {
    CpuContext ctx(threads);
    std::vector<float> partial((kN + kGrain - 1) / kGrain, 0.0f);
    parallel_for(ctx, kN, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) partial[begin / kGrain] += std::sin(static_cast<float>(i));
    });
    float total = 0;
    for (float p : partial) total += p;
    return total;
  };
  const float one = sum(1);
  for (int threads : {2, 3, 4, 7}) EXPECT_EQ(sum(threads), one);
}

TEST(ParallelForTest, ThrowsTheBodysExceptionAfterAllThreadsEnded) {
  for (int threads : {1, 2, 4}) {
    CpuContext ctx(threads);
    std::atomic<int> running{0};
    try {
      parallel_for(ctx, 100, 1, [&](std::int64_t begin, std::int64_t, int) {
        ++running;
        if (begin == 13) {
          --running;
          throw DataError("chunk 13");
        }
        --running;
      });
      FAIL() << "nothing was thrown";
    } catch (const DataError& e) {
      EXPECT_STREQ(e.what(), "chunk 13");
      EXPECT_EQ(e.exit_code(), 3);
    }
    EXPECT_EQ(running, 0);
    // The context is usable afterwards.
    std::atomic<int> count{0};
    parallel_for(ctx, 10, 1, [&](std::int64_t, std::int64_t, int) { ++count; });
    EXPECT_EQ(count, 10);
  }
}

TEST(ParallelForTest, ANestedLoopRunsOnItsOwnThread) {
  CpuContext ctx(4);
  std::atomic<bool> ok{true};
  std::atomic<int> inner{0};
  parallel_for(ctx, 8, 1, [&](std::int64_t, std::int64_t, int) {
    const int me = omp_get_thread_num();
    parallel_for(ctx, 5, 1, [&](std::int64_t, std::int64_t, int worker) {
      if (worker != 0 || omp_get_thread_num() != me) ok = false;
      ++inner;
    });
  });
  EXPECT_TRUE(ok);
  EXPECT_EQ(inner, 40);
}

TEST(CpuContextTest, TakesTheThreadsItIsGiven) {
  EXPECT_EQ(CpuContext(3).threads(), 3);
  EXPECT_EQ(CpuContext(0).threads(), omp_get_max_threads());
  CpuContext ctx(1, GemmPrecision::kBf16);
  EXPECT_EQ(ctx.gemm_precision(), GemmPrecision::kBf16);
  Device device(ctx);
  EXPECT_EQ(dispatch<double>(device, [](CpuContext& c) { return c.threads(); }), 1);
}

}  // namespace
}  // namespace galrec
