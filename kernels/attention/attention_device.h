#pragma once
// What the CUDA kernels of attention are passed, and the small questions that all of them ask about a sequence.

#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/common/device.h"
#include "kernels/common/dropout_device.h"
#include "kernels/common/warp.h"

namespace galrec::attention_cuda {

inline constexpr std::int64_t kMaskRow =
    4096;  // elements of the dropout mask per (query, head): the most keys of a sequence
inline constexpr int kMaxReach = 512, kMaxDim = 128;
inline constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;

/// Rows of a strided matrix.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t stride = 0;
  __device__ __forceinline__ T* row(std::int64_t i) const { return data + i * stride; }
};
template <class T>
Rows<T> rows_of(View<T, 2> v) {
  return {v.data, v.stride[0]};
}

/// Whether rows and heads start at multiples of 16 bytes.
enum class Access { kScalar, kVector };

struct Sequence {
  int q0, k0, queries, keys;
};

/// The bias table of a call; no table: reach -1.
struct Bias {
  const float* table = nullptr;  // (buckets,H)
  std::int64_t stride = 0;
  const std::int32_t* index = nullptr;  // (2 reach + 1)
  int reach = -1, buckets = 0;

  GALREC_HOST_DEVICE bool present() const { return reach >= 0; }
  /// The bias of distance j - i for head h.
  __device__ __forceinline__ float at(int distance, int h) const {
    return table[index[min(max(distance, -reach), reach) + reach] * stride + h];
  }
};

/// What every kernel of a call needs.
struct Common {
  int heads = 1, dim = 0;
  const std::int32_t *cu_q = nullptr, *cu_k = nullptr;
  AttentionMask mask = AttentionMask::kNone;
  Access access = Access::kScalar;
  float scale = 1.0f;  // of scores
  Bias bias;
  DropoutMask dropout;

  __device__ __forceinline__ Sequence sequence(int b) const {
    const int q0 = cu_q[b], k0 = cu_k[b];
    return {q0, k0, cu_q[b + 1] - q0, cu_k[b + 1] - k0};
  }
  /// Keys that query i sees of n.
  __device__ __forceinline__ int visible(int i, int n) const {
    return mask == AttentionMask::kCausal ? min(i + 1, n) : n;
  }
  /// The first query that sees key j.
  __device__ __forceinline__ int first_query(int j) const { return mask == AttentionMask::kCausal ? j : 0; }
  /// The dropout block of keys 8 n .. 8 n + 7 for packed query `token` is this + n.
  __device__ __forceinline__ std::uint64_t mask_block(std::int64_t token, int h) const {
    return static_cast<std::uint64_t>(token * heads + h) * (kMaskRow / 8);
  }
};

template <class T>
struct ForwardArgs {
  Common common;
  Rows<T> o;
  Rows<float> lse;
  Rows<const T> q, k, v;
};

/// Of one (query, head): lse in units of log 2, and rowsum(do o).
using RowStats = float2;

template <class T>
struct BackwardArgs {
  Common common;
  Rows<T> dq, dk, dv;
  Rows<const T> dout, q, k, v;
  const RowStats* stats = nullptr;  // (H,Tq)
  std::int64_t tq = 0;
  float* partial = nullptr;  // (slots,H,buckets): shares of dtable; null when nobody wants it
  Accumulate accumulate = Accumulate::kOverwrite;

  __device__ __forceinline__ const RowStats* stats_of(int h) const { return stats + h * tq; }
  __device__ __forceinline__ float* partial_of(std::int64_t slot, int h) const {
    return partial + (slot * common.heads + h) * common.bias.buckets;
  }
};

/// Shares of dtable have slots of their own, in the order of sequences and of query tiles: tile `first / kSlotRows` of
/// sequence b goes to slot b + (q0 + first) / kSlotRows, as if each sequence started a tile of its own. Unique, and no
/// scan is needed.
inline constexpr int kSlotRows = 64;
__device__ __forceinline__ std::int64_t slot_of(int b, const Sequence& s, int first) {
  return static_cast<std::int64_t>(b) + s.q0 / kSlotRows + first / kSlotRows;
}
inline std::int64_t slot_count(std::int64_t batch, std::int64_t tq) {
  return batch + tq / kSlotRows;
}

}  // namespace galrec::attention_cuda
