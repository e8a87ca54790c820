// A first kernel, which docs/executor.md steps through in gdb: the sum of each row of a matrix, a block per row.

#include "kernels/common/warp.h"
#include "tests/simt/device_array.h"

namespace galrec {
namespace {

constexpr int kThreads = 64;

struct RowSum {
  float warp[kThreads / kWarpSize];
};

__global__ void __launch_bounds__(kThreads) row_sum(float* sums, const float* matrix, int columns) {
  auto& shared = block_shared<RowSum>();
  const float* row = matrix + static_cast<std::int64_t>(blockIdx.x) * columns;
  float mine = 0.0f;
  for (int c = thread_id(); c < columns; c += kThreads) mine += row[c];
  const float warp = warp_sum(mine);
  if (lane_id() == 0) shared.warp[warp_id()] = warp;
  __syncthreads();
  if (thread_id() == 0) sums[blockIdx.x] = shared.warp[0] + shared.warp[1];
}

TEST(FirstKernel, SumsEachRow) {
  constexpr int kRows = 3, kColumns = 200;
  std::vector<float> values;
  for (int i = 0; i < kRows * kColumns; ++i) values.push_back(static_cast<float>(i % 10));
  testing::Stream stream;
  const testing::DeviceArray<float> matrix(values), sums(kRows);
  launch(row_sum, kRows, kThreads, sizeof(RowSum), stream, sums.data(), matrix.data(), kColumns);
  EXPECT_EQ(sums.host(), (std::vector<float>{900.0f, 900.0f, 900.0f}));
}

}  // namespace
}  // namespace galrec
