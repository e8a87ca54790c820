#pragma once
// Tiles of attention on the ordinary fp32 units: 64 queries by 64 keys by one head, 256 threads, 4 x 4 scores each.
// Thread (ty, tx) of a 16 x 16 grid holds queries 4 ty .. 4 ty + 3 and keys 4 tx .. 4 tx + 3.

#include "kernels/attention/attention_device.h"
#include "kernels/common/mma.h"
#include "kernels/common/rows_device.h"

namespace galrec::attention_cuda::ffma {

inline constexpr int kTile = 64, kThreads = 256, kScoreRow = kTile + 4;

/// Head sizes are padded with zeros to kDim, of which a thread owns kDim / 16 columns of each product. Rows are 4
/// floats longer: eight consecutive rows then start in different banks.
template <int kDim>
struct Shape {
  static constexpr int kRow = kDim + 4, kCols = kDim / 16;
};

/// Where row j of a tile of keys lies: the rows of the 16 threads of a half-warp become neighbours.
__device__ __forceinline__ int key_slot(int j) {
  return j % 4 * 16 + j / 4;
}

struct InOrder {
  __device__ static int slot(int r) { return r; }
};
struct AsKeys {
  __device__ static int slot(int r) { return key_slot(r); }
};

/// Copies rows [0, count) of the head at `from` to shared memory, zeros beyond `count` and `dim`.
template <int kDim, class Order, class T>
__device__ __forceinline__ void load_tile(float (&to)[kTile][Shape<kDim>::kRow], Rows<const T> from, std::int64_t first,
                                          int column, int count, int dim, Access access) {
  for (int piece = thread_id(); piece < kTile * kDim / 4; piece += kThreads) {
    const int r = piece / (kDim / 4), d = piece % (kDim / 4) * 4;
    float value[4] = {};
    if (r < count && d < dim) {
      const T* p = from.row(first + r) + column + d;
      if (access == Access::kVector) {
        load_floats<4>(p, value);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) value[i] = d + i < dim ? to_float(p[i]) : 0.0f;
      }
    }
    store_floats<4>(&to[Order::slot(r)][d], value);
  }
}

/// acc[r][c] += a[4 ty + r] . b[key 4 tx + c].
template <int kDim>
__device__ __forceinline__ void scores(float (&acc)[4][4], const float (&a)[kTile][Shape<kDim>::kRow],
                                       const float (&b)[kTile][Shape<kDim>::kRow], int ty, int tx) {
#pragma unroll 4
  for (int d = 0; d < kDim; d += 4) {
    float x[4][4], y[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      load_floats<4>(&a[4 * ty + r][d], x[r]);
      load_floats<4>(&b[r * 16 + tx][d], y[r]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) acc[r][c] += x[r][i] * y[c][i];
  }
}

/// The columns that thread tx owns of a row of kDim: pieces of 4 (2 for kDim 32), 16 threads side by side.
template <int kDim>
__device__ __forceinline__ int column_of(int tx, int c) {
  constexpr int kPiece = Shape<kDim>::kCols < 4 ? Shape<kDim>::kCols : 4;
  return c / kPiece * 16 * kPiece + tx * kPiece + c % kPiece;
}

template <int kDim>
__device__ __forceinline__ void load_columns(float (&out)[Shape<kDim>::kCols], const float (&row)[Shape<kDim>::kRow],
                                             int tx) {
  if constexpr (Shape<kDim>::kCols == 2) {
    const float2 v = load_whole(reinterpret_cast<const float2*>(&row[2 * tx]));
    out[0] = v.x;
    out[1] = v.y;
  } else {
#pragma unroll
    for (int c = 0; c < Shape<kDim>::kCols; c += 4) {
      float v[4];
      load_floats<4>(&row[column_of<kDim>(tx, c)], v);
#pragma unroll
      for (int i = 0; i < 4; ++i) out[c + i] = v[i];
    }
  }
}

/// out[r] += sum over keys j of p[4 ty + r][j] x[j], x a tile of keys.
template <int kDim>
__device__ __forceinline__ void weighted_keys(float (&out)[4][Shape<kDim>::kCols], const float (&p)[kTile][kScoreRow],
                                              const float (&x)[kTile][Shape<kDim>::kRow], int ty, int tx) {
#pragma unroll 2
  for (int j = 0; j < kTile; j += 4) {
    float w[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) load_floats<4>(&p[4 * ty + r][j], w[r]);
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      float v[Shape<kDim>::kCols];
      load_columns<kDim>(v, x[u * 16 + j / 4], tx);
#pragma unroll
      for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int c = 0; c < Shape<kDim>::kCols; ++c) out[r][c] += w[r][u] * v[c];
    }
  }
}

/// out[r] += sum over queries i of p[i][4 ty + r] x[i], x a tile of queries.
template <int kDim>
__device__ __forceinline__ void weighted_queries(float (&out)[4][Shape<kDim>::kCols],
                                                 const float (&p)[kTile][kScoreRow],
                                                 const float (&x)[kTile][Shape<kDim>::kRow], int ty, int tx) {
#pragma unroll 4
  for (int i = 0; i < kTile; ++i) {
    float w[4], v[Shape<kDim>::kCols];
    load_floats<4>(&p[i][4 * ty], w);
    load_columns<kDim>(v, x[i], tx);
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
      for (int c = 0; c < Shape<kDim>::kCols; ++c) out[r][c] += w[r] * v[c];
  }
}

/// to = scale x (+), the columns of thread tx below `dim`.
template <int kDim, class T>
__device__ __forceinline__ void write_columns(T* to, const float (&x)[Shape<kDim>::kCols], float scale, int tx, int dim,
                                              Access access, Accumulate accumulate) {
  constexpr int kCols = Shape<kDim>::kCols;
  if (kCols >= 4 && access == Access::kVector) {
#pragma unroll
    for (int c = 0; c + 4 <= kCols; c += 4) {
      float v[4] = {x[c] * scale, x[c + 1] * scale, x[c + 2] * scale, x[c + 3] * scale};
      const int d = column_of<kDim>(tx, c);
      if (d < dim) update_floats<4>(to + d, v, accumulate);
    }
    return;
  }
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
    float v[1] = {x[c] * scale};
    const int d = column_of<kDim>(tx, c);
    if (d < dim) update_floats<1>(to + d, v, accumulate);
  }
}

/// The biases of all distances of one head in units of log 2, clamped at the reach; zeros without a table.
struct BiasLine {
  float at[2 * kMaxReach + 1];
  __device__ void fill(const Bias& bias, int h) {
    for (int i = thread_id(); i < 2 * bias.reach + 1; i += kThreads) at[i] = bias.at(i - bias.reach, h) * kLog2e;
  }
  __device__ __forceinline__ float of(int distance, int reach) const {
    return reach < 0 ? 0.0f : at[min(max(distance, -reach), reach) + reach];
  }
};

/// s = scale s + bias in units of log 2, -inf where query 4 ty + r (first_query on) does not see key 4 tx + c
/// (first_key on).
__device__ __forceinline__ void bias_and_mask(float (&s)[4][4], const Common& common, const Sequence& seq,
                                              const BiasLine& line, int i0, int j0) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int visible = common.visible(i0 + r, seq.keys);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const float biased = fmaf(s[r][c], common.scale * kLog2e, line.of(j0 + c - i0 - r, common.bias.reach));
      s[r][c] = j0 + c < visible ? biased : -INFINITY;
    }
  }
}

}  // namespace galrec::attention_cuda::ffma
