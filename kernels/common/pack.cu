#include <algorithm>

#include "kernels/common/check.h"
#include "kernels/common/device.h"
#include "kernels/common/launch.h"
#include "kernels/common/pack.h"

namespace galrec {

namespace {

constexpr int kPieces = 64;   // of one launch: they travel as a kernel parameter
constexpr int kThreads = 128;

struct Pieces {
  const float* from[kPieces];
  std::int64_t count[kPieces];
  std::int64_t first[kPieces];  // where each lies in the output
};

/// A block a piece.
__global__ void __launch_bounds__(kThreads) pack_pieces(float* out, Pieces pieces) {
  const float* from = pieces.from[blockIdx.x];
  float* to = out + pieces.first[blockIdx.x];
  for (std::int64_t i = threadIdx.x; i < pieces.count[blockIdx.x]; i += kThreads) to[i] = from[i];
}

}  // namespace

template <class T>
void pack(CudaContext& ctx, View<T, 1> out, std::span<const View<const T, 1>> pieces) {
  std::int64_t at = 0;
  for (std::size_t begin = 0; begin < pieces.size(); begin += kPieces) {
    const auto some = pieces.subspan(begin, std::min<std::size_t>(kPieces, pieces.size() - begin));
    Pieces batch{};
    for (std::size_t p = 0; p < some.size(); ++p) {
      batch.from[p] = some[p].data;
      batch.count[p] = some[p].extent(0);
      batch.first[p] = at;
      at += some[p].extent(0);
    }
    GALREC_CHECK(at <= out.extent(0), "pieces of more than {} elements", out.extent(0));
    launch(pack_pieces, static_cast<std::int64_t>(some.size()), kThreads, 0, ctx.stream(), out.data, batch);
  }
  GALREC_CHECK(at == out.extent(0), "pieces of {} elements for {}", at, out.extent(0));
}

template void pack<float>(CudaContext&, View<float, 1>, std::span<const View<const float, 1>>);

}  // namespace galrec
