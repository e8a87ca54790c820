#pragma once
// Pieces of attention on the tensor cores: swizzled tiles in shared memory, products of fragments, dropout on
// fragments, whole rows to memory. Lane l = 4 g + t of a warp holds rows g and g + 8 and columns 8 n + 2t, 8 n + 2t + 1
// of a product (mma.h).

#include "kernels/attention/attention_device.h"
#include "kernels/common/mma.h"
#include "kernels/common/rows_device.h"

namespace galrec::attention_cuda {

using Registers4 = std::uint32_t[4];

/// Offset of 16-byte chunk `chunk` of row `row` in a tile of kCols bf16 per row. Eight rows of one chunk, or one
/// transposed, lie in different banks.
template <int kCols>
__device__ __forceinline__ int swizzled(int row, int chunk) {
  constexpr int kChunks = kCols / 8;
  static_assert(kCols % 8 == 0 && (kChunks & (kChunks - 1)) == 0);
  if constexpr (kChunks >= 8) {
    return row * kCols + (chunk ^ (row & 7)) * 8;
  } else {
    return row * kCols + (chunk ^ (row / (8 / kChunks) & (kChunks - 1))) * 8;
  }
}

/// Starts to copy rows [0, count) of a head to a tile of kRows x kDim, zeros beyond `count` and `dim`, by `threads`
/// threads of which this is number `thread`. Aligned rows go by cp.async, others at once.
template <int kRows, int kDim>
__device__ __forceinline__ void copy_tile(bfloat16* to, Rows<const bfloat16> from, std::int64_t first, int column,
                                          int count, const Common& common, int thread, int threads) {
  constexpr int kChunks = kDim / 8;
  const bfloat16* base = from.row(first) + column;
#pragma unroll 1
  for (int piece = thread; piece < kRows * kChunks; piece += threads) {
    const int r = piece / kChunks, d = piece % kChunks * 8;
    bfloat16* at = to + swizzled<kDim>(r, piece % kChunks);
    const bool there = r < count && d < common.dim;
    const bfloat16* p = there ? base + r * from.stride + d : from.data;
    if (common.access == Access::kVector) {
      cp_async16(at, p, there ? 16 : 0);
    } else {
      Pack<bfloat16> pack{};
#pragma unroll
      for (int i = 0; i < 8; ++i)
        if (there && d + i < common.dim) pack[i] = p[i];
      store16(at, pack);
    }
  }
}

__device__ __forceinline__ void mma_pair(float (&d0)[4], float (&d1)[4], const Registers4& a, const Registers4& b) {
  const std::uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
  mma_m16n8k16_bf16(d0, a, first);
  mma_m16n8k16_bf16(d1, a, second);
}

/// acc (16 x 8 kTiles) += left right^T: rows [left_row, left_row + 16) of one tile against rows [row, row + 8 kTiles)
/// of another. Fragments of both are loaded as they are needed: registers are scarcer than bandwidth of shared memory.
template <int kDim, int kTiles>
__device__ __forceinline__ void times_rows(float (&acc)[kTiles][4], const bfloat16* left, int left_row,
                                           const bfloat16* right, int row) {
  const int lane = lane_id();
#pragma unroll
  for (int k = 0; k < kDim / 16; ++k) {
    Registers4 a;
    ldmatrix_x4(a, left + swizzled<kDim>(left_row + lane % 16, 2 * k + lane / 16));
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      Registers4 b;
      ldmatrix_x4(b, right + swizzled<kDim>(row + n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
      mma_pair(acc[n], acc[n + 1], a, b);
    }
  }
}

/// acc (16 x kDim) += a (16 x 16) times rows [row, row + 16) of a tile.
template <int kDim>
__device__ __forceinline__ void times_columns(float (&acc)[kDim / 8][4], const Registers4& a, const bfloat16* tile,
                                              int row) {
  const int lane = lane_id();
#pragma unroll
  for (int n = 0; n < kDim / 8; n += 2) {
    Registers4 b;
    ldmatrix_x4<MatrixOrder::kTransposed>(b, tile + swizzled<kDim>(row + lane % 16, n + lane / 16));
    mma_pair(acc[n], acc[n + 1], a, b);
  }
}

/// Columns [16 k, 16 k + 16) of a product as the left operand of the next.
template <int kTiles>
__device__ __forceinline__ void as_left(Registers4& a, const float (&x)[kTiles][4], int k) {
  a[0] = pack_bf16x2(x[2 * k][0], x[2 * k][1]);
  a[1] = pack_bf16x2(x[2 * k][2], x[2 * k][3]);
  a[2] = pack_bf16x2(x[2 * k + 1][0], x[2 * k + 1][1]);
  a[3] = pack_bf16x2(x[2 * k + 1][2], x[2 * k + 1][3]);
}

/// w[i] of lane t of each four lanes becomes w[t] of lane i.
__device__ __forceinline__ void transpose_quad(Registers4& w) {
  const int lane = lane_id();
  const bool odd = (lane & 1) != 0, upper = (lane & 2) != 0;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const std::uint32_t got = shuffle_xor(odd ? w[i] : w[i + 1], 1);
    w[i] = odd ? got : w[i];
    w[i + 1] = odd ? w[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::uint32_t got = shuffle_xor(upper ? w[i] : w[i + 2], 2);
    w[i] = upper ? got : w[i];
    w[i + 2] = upper ? w[i + 2] : got;
  }
}

/// Writes scale x (+) to rows [first, first + count) of a head, count <= 16: 16 bytes per lane, whole sectors per row.
template <int kDim>
__device__ __forceinline__ void write_rows(Rows<bfloat16> to, std::int64_t first, int column, int count,
                                           const float (&x)[kDim / 8][4], float scale_low, float scale_high,
                                           const Common& common, Accumulate accumulate) {
  const int lane = lane_id(), g = lane / 4, t = lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float scale = half == 0 ? scale_low : scale_high;
    const bool there = g + 8 * half < count;
    bfloat16* row = to.row(first + (there ? g + 8 * half : 0)) + column;
#pragma unroll
    for (int n = 0; n < kDim / 8; n += 4) {
      const int d = (n + t) * 8;
      const bool vector = common.access == Access::kVector && there && d < common.dim;
      float value[8];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        value[2 * i] = x[n + i][2 * half] * scale;
        value[2 * i + 1] = x[n + i][2 * half + 1] * scale;
      }
      if (common.access == Access::kScalar) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int at = (n + i / 2) * 8 + 2 * t + i % 2;
          float one[1] = {value[i]};
          if (there && at < common.dim) update_floats<1>(row + at, one, accumulate);
        }
        continue;
      }
      Registers4 w = {};
      if (accumulate == Accumulate::kAdd) {
        if (vector) {
          const auto before = std::bit_cast<uint4>(load16(row + d));
          w[0] = before.x, w[1] = before.y, w[2] = before.z, w[3] = before.w;
        }
        transpose_quad(w);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const FloatPair pair = unpack_bf16x2(w[i]);
          value[2 * i] += pair.lo;
          value[2 * i + 1] += pair.hi;
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) w[i] = pack_bf16x2(value[2 * i], value[2 * i + 1]);
      transpose_quad(w);
      if (vector) store16(row + d, std::bit_cast<Pack<bfloat16>>(make_uint4(w[0], w[1], w[2], w[3])));
    }
  }
}

/// Bit i: whether element i of a dropout block is kept.
__device__ __forceinline__ std::uint32_t kept_elements(const DropoutMask& mask, std::uint64_t block) {
  const DropoutBits bits = dropout_bits(mask, block);
  std::uint32_t kept = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    kept |= ((bits.word[i] & 0xffffu) < mask.threshold ? 0u : 1u) << (2 * i);
    kept |= (bits.word[i] >> 16 < mask.threshold ? 0u : 1u) << (2 * i + 1);
  }
  return kept;
}

/// Zeros what is dropped of p, whose rows g and g + 8 are queries with mask blocks `low` and `high` at its first
/// column, a multiple of 8 keys. The four lanes of a row share its blocks: each computes a quarter of them.
template <int kTiles>
__device__ __forceinline__ void drop_keys(float (&p)[kTiles][4], const DropoutMask& mask, std::uint64_t low,
                                          std::uint64_t high) {
  constexpr int kBlocks = 2 * kTiles, kMine = kBlocks / 4;  // blocks 0 .. kTiles - 1 of row g, then those of row g + 8
  static_assert(kBlocks % 4 == 0 && kMine <= 4);
  const int lane = lane_id(), t = lane % 4;
  std::uint32_t mine = 0;
#pragma unroll
  for (int i = 0; i < kMine; ++i) {
    const int block = 4 * i + t;
    mine |= kept_elements(mask, (block < kTiles ? low : high) + static_cast<unsigned>(block % kTiles)) << (8 * i);
  }
#pragma unroll
  for (int owner = 0; owner < 4; ++owner) {
    const std::uint32_t kept = __shfl_sync(kFullMask, mine, owner, 4) >> (2 * t);
#pragma unroll
    for (int i = 0; i < kMine; ++i) {
      const int block = 4 * i + owner, n = block % kTiles, half = block / kTiles;
      if ((kept >> (8 * i) & 1u) == 0) p[n][2 * half] = 0.0f;
      if ((kept >> (8 * i + 1) & 1u) == 0) p[n][2 * half + 1] = 0.0f;
    }
  }
}

/// The biases of one head at consecutive distances, twice, the second time moved by one float, so that two neighbours
/// are always an aligned pair in one of them. The copies start 16 banks apart: the even and the odd rows of a fragment
/// read different banks.
class BiasWindow {
 public:
  /// Floats for a window of `distances`.
  static GALREC_HOST_DEVICE int floats(int distances) { return 2 * copy_stride(distances); }
  static GALREC_HOST_DEVICE int copy_stride(int distances) { return (distances + 1 + 31) / 32 * 32 + 16; }

  /// Over distances [lowest, highest], at most `capacity` of them; none is farther than `far`, behind which all are
  /// alike.
  __device__ BiasWindow(float* memory, int capacity, int far, int lowest, int highest)
      : at_(memory),
        stride_(copy_stride(capacity)),
        lowest_(min(max(lowest, -far), far)),
        highest_(min(max(highest, -far), far)) {}
  /// At each distance `factor` times its bias; `direction` -1: times the bias of -distance.
  __device__ void fill(const Bias& bias, int h, float factor, int direction, int thread, int threads) {
    for (int i = thread; i <= highest_ - lowest_; i += threads) {
      const float value = bias.at(direction * (lowest_ + i), h) * factor;
      at_[i] = value;
      if (i > 0) at_[stride_ + i - 1] = value;
    }
  }
  /// At the nearest distance of the window.
  __device__ __forceinline__ float nearest(int distance) const {
    return at_[min(max(distance, lowest_), highest_) - lowest_];
  }
  /// Where the pair (distance, distance + 1) lies; pairs at distance + 2, + 4, … follow.
  __device__ __forceinline__ const float* pair(int distance) const {
    const int i = distance - lowest_;
    return (i & 1) == 0 ? at_ + i : at_ + stride_ + i - 1;
  }

 private:
  float* at_;
  int stride_, lowest_, highest_;
};

/// Scores are products q k plus bias / scale until the exponential, whose argument takes scale log2(e) in the same
/// instruction: the biases are where the products' accumulators start, and cost no arithmetic. The fragment's first row
/// and column are `row` and `column` of the sequence; the window is over column - row, whichever side of the scores the
/// rows are.
template <int kTiles>
__device__ __forceinline__ void start_scores(float (&x)[kTiles][4], const Bias& bias, const BiasWindow& window, int row,
                                             int column) {
  const int lane = lane_id(), lowest = column - (row + 15), highest = column + 8 * kTiles - 1 - row;
  if (!bias.present() || lowest >= bias.reach || highest <= -bias.reach) {  // one bias for all
    const float constant = bias.present() ? window.nearest(lowest >= bias.reach ? lowest : highest) : 0.0f;
#pragma unroll
    for (int n = 0; n < kTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) x[n][e] = constant;
    return;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float* pair = window.pair(column + 2 * (lane % 4) - (row + lane / 4 + 8 * half));
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const float2 two = load_whole(reinterpret_cast<const float2*>(pair + 8 * n));
      x[n][2 * half] = two.x;
      x[n][2 * half + 1] = two.y;
    }
  }
}

/// -inf where query `row` + … does not see key `column` + ….
template <int kTiles>
__device__ __forceinline__ void hide_keys(float (&x)[kTiles][4], const Common& common, int keys, int row, int column) {
  const int lane = lane_id();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int left = common.visible(row + lane / 4 + 8 * half, keys) - column - 2 * (lane % 4);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      if (8 * n >= left) x[n][2 * half] = -INFINITY;
      if (8 * n + 1 >= left) x[n][2 * half + 1] = -INFINITY;
    }
  }
}

/// The same with keys down the rows: -inf where key `row` + … is not seen by query `column` + ….
template <int kTiles>
__device__ __forceinline__ void hide_queries(float (&x)[kTiles][4], const Common& common, int keys, int row,
                                             int column) {
  const int lane = lane_id();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int key = row + lane / 4 + 8 * half;
    const int hidden = key < keys ? common.first_query(key) - column - 2 * (lane % 4) : 8 * kTiles;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      if (8 * n < hidden) x[n][2 * half] = -INFINITY;
      if (8 * n + 1 < hidden) x[n][2 * half + 1] = -INFINITY;
    }
  }
}

}  // namespace galrec::attention_cuda
