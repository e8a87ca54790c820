#include "kernels/linear_cross_entropy/few_rows_cpu.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"
#include "kernels/common/touch.h"
#include "kernels/common/vec_math.h"
#include "kernels/gemm/register_block_cpu.h"

namespace galrec::few_rows {

namespace {

constexpr std::int64_t kGrain = 1024;  // classes that one thread takes at a time, with sums of their own
constexpr std::int64_t kBlock = 96;    // classes whose logits exist at a time; whole register blocks
constexpr std::int64_t kTileRows = 12;  // rows of dw that are computed in L1 before they are streamed to memory

template <class T>
std::int64_t padded(std::int64_t n) {
  return (n + simd::kLanes<T> - 1) / simd::kLanes<T> * simd::kLanes<T>;
}

std::int64_t grains(std::int64_t classes) {
  return (classes + kGrain - 1) / kGrain;
}

// scale x (N,C) and its transpose, rows padded with zeros to whole vectors.
template <class T>
struct ScaledRows {
  std::int64_t n, c, lanes, depth;  // lanes: padded n; depth: padded c
  T *rows, *columns;                // (n, depth), (c, lanes)

  ScaledRows(Arena& scratch, ConstView<T, 2> x, T scale)
      : n(x.rows()), c(x.cols()), lanes(padded<T>(n)), depth(padded<T>(c)) {
    rows = scratch.alloc<T>(n * depth);
    columns = scratch.alloc<T>(depth * lanes);
    copy_padded(rows, depth, x.data, x.stride[0], n, c);
    for (std::int64_t i = 0; i < n * depth; ++i) rows[i] *= scale;
    transpose_padded(columns, lanes, rows, depth, n, c);
  }
};

// The weights of a block of classes, in whole vectors: w itself, or a padded copy where its rows end in part of one.
template <class T>
class WeightBlock {
 public:
  WeightBlock(ConstView<T, 2> w, T* copy) : w_(w), depth_(padded<T>(w.cols())), copy_(copy) {}
  static bool needs_copy(std::int64_t cols) { return cols % simd::kLanes<T> != 0; }

  void load(std::int64_t first, std::int64_t count) {
    data = w_.row(first);
    stride = w_.stride[0];
    touch(data, (count - 1) * stride + w_.cols());
    if (!needs_copy(w_.cols())) return;
    copy_padded(copy_, depth_, data, stride, count, w_.cols());
    data = copy_;
    stride = depth_;
  }
  const T* data = nullptr;
  std::int64_t stride = 0;

 private:
  ConstView<T, 2> w_;
  std::int64_t depth_;
  T* copy_;
};

// What one thread needs: logits (kBlock, lanes), a tile of dw, and padded copies of a block of w and of dw where rows need
// them.
template <class T>
struct WorkerMemory {
  T *logits, *weights, *gradient;
  std::int64_t stride;

  WorkerMemory(Arena& scratch, std::int64_t threads, const ScaledRows<T>& x) {
    const std::int64_t block = WeightBlock<T>::needs_copy(x.c) ? kBlock * x.depth : 0;
    const std::int64_t tile = std::max(block, kTileRows * x.depth);
    stride = kBlock * x.lanes + block + tile;
    logits = scratch.alloc<T>(threads * stride);
    weights = logits + kBlock * x.lanes;
    gradient = weights + block;
  }
};

// z (count, lanes) = w x^T (+ bias).
template <class T>
void block_logits(T* z, const WeightBlock<T>& w, const ScaledRows<T>& x, const T* bias, std::int64_t count) {
  small_product<T>(z, x.lanes, {w.data, w.stride, 1}, x.columns, x.lanes, count, x.lanes, x.c, Accumulate::kOverwrite);
  if (bias == nullptr) return;
  for (std::int64_t v = 0; v < count; ++v) {
    for (std::int64_t l = 0; l < x.lanes; ++l) z[v * x.lanes + l] += bias[v];
  }
}

// Adds a block to each lane's running maximum and sum of e^(z - maximum).
template <class T>
void add_exponentials(T* __restrict top, T* __restrict sum, const T* __restrict z, std::int64_t lanes,
                      std::int64_t count) {
  for (std::int64_t first = 0; first < lanes; first += simd::kLanes<T>) {
    T most[simd::kLanes<T>], total[simd::kLanes<T>];
    for (int l = 0; l < simd::kLanes<T>; ++l) most[l] = top[first + l];
    for (std::int64_t v = 0; v < count; ++v) {
      const T* row = z + v * lanes + first;
      for (int l = 0; l < simd::kLanes<T>; ++l) most[l] = row[l] > most[l] ? row[l] : most[l];
    }
    // The lowest finite number, not -inf, is where maxima start: -inf - -inf would be NaN.
    for (int l = 0; l < simd::kLanes<T>; ++l) total[l] = sum[first + l] * vec::exp(top[first + l] - most[l]);
    for (std::int64_t v = 0; v < count; ++v) {
      const T* row = z + v * lanes + first;
#pragma omp simd
      for (int l = 0; l < simd::kLanes<T>; ++l) total[l] += vec::exp(row[l] - most[l]);
    }
    for (int l = 0; l < simd::kLanes<T>; ++l) {
      top[first + l] = most[l];
      sum[first + l] = total[l];
    }
  }
}

// z becomes g (e^(z - lse) - [class is the row's target]); lse is +inf on padding, whose gradient so becomes 0.
template <class T>
void block_gradient(T* __restrict z, const T* __restrict lse, T g, const Inputs<T>& in, std::int64_t lanes,
                    std::int64_t first, std::int64_t count) {
  for (std::int64_t v = 0; v < count; ++v) {
    T* row = z + v * lanes;
#pragma omp simd
    for (std::int64_t l = 0; l < lanes; ++l) row[l] = g * vec::exp(row[l] - lse[l]);
  }
  for (std::int64_t n = 0; n < in.targets.extent(0); ++n) {
    const std::int64_t v = in.targets[n] - first;
    if (v >= 0 && v < count) z[v * lanes + n] -= g;
  }
}

// dx (n, depth) (+)= z w. Sixteen rows and one vector at a time: w is read once, and its rows, a power of two apart,
// would evict each other from L1 if they were read in turns.
template <class T, Accumulate mode>
void row_gradient(T* dx, const T* z, const ScaledRows<T>& x, const WeightBlock<T>& w, std::int64_t count) {
  constexpr int kRows = 16;
  std::int64_t r = 0;
  for (; r + kRows <= x.n; r += kRows) {
    for (std::int64_t c = 0; c < x.depth; c += simd::kLanes<T>) {
      detail::register_block<T, kRows, 1, mode>(dx + r * x.depth + c, x.depth, {z + r, 1, x.lanes}, w.data + c, w.stride, count);
    }
  }
  small_product<T>(dx + r * x.depth, x.depth, {z + r, 1, x.lanes}, w.data, w.stride, x.n - r, x.depth, count, mode);
}

template <class T>
void add_row(T* __restrict to, const T* __restrict from, std::int64_t n, T factor) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

// dw rows = z^T x past the caches: dw is as large as w, and nobody reads it before all of it is there.
template <class T>
void stream_weight_gradient(View<T, 2> dw, const T* z, const ScaledRows<T>& x, T* tile, std::int64_t first, std::int64_t count) {
  constexpr std::int64_t kL = simd::kLanes<T>;
  for (std::int64_t v = 0; v < count; v += kTileRows) {
    const std::int64_t rows = std::min(kTileRows, count - v);
    small_product<T>(tile, x.depth, {z + v * x.lanes, x.lanes, 1}, x.rows, x.depth, rows, x.depth, x.n, Accumulate::kOverwrite);
    for (std::int64_t r = 0; r < rows; ++r) {
      T* to = dw.row(first + v + r);
      for (std::int64_t c = 0; c < x.depth; c += kL) {
        simd::Vec<T> value;
        simd::load<T>(value, tile + r * x.depth + c);
        simd::stream<T>(to + c, value);
      }
    }
  }
}

// dw rows (+)= z^T x, by way of a padded block where rows end in part of a vector.
template <class T>
void weight_gradient(View<T, 2> dw, const T* z, const ScaledRows<T>& x, T* tile, std::int64_t first, std::int64_t count, Accumulate mode) {
  const bool whole = !WeightBlock<T>::needs_copy(x.c);
  const bool aligned = whole && reinterpret_cast<std::uintptr_t>(dw.data) % 64 == 0 && dw.stride[0] % simd::kLanes<T> == 0;
  if (aligned && mode == Accumulate::kOverwrite) return stream_weight_gradient(dw, z, x, tile, first, count);
  T* to = whole ? dw.row(first) : tile;
  if (whole) touch(to, (count - 1) * dw.stride[0] + x.c);
  small_product<T>(to, whole ? dw.stride[0] : x.depth, {z, x.lanes, 1}, x.rows, x.depth, count, x.depth, x.n,
                   whole ? mode : Accumulate::kOverwrite);
  for (std::int64_t v = 0; v < count && !whole; ++v) {
    if (mode == Accumulate::kOverwrite) std::fill_n(dw.row(first + v), x.c, T(0));
    add_row(dw.row(first + v), to + v * x.depth, x.c, T(1));
  }
}

}  // namespace

template <class T>
void forward(CpuContext& ctx, View<T, 1> losses, View<T, 1> lse, const Inputs<T>& in) {
  const std::int64_t n = in.x.rows(), v = in.w.rows(), parts = grains(v);
  ScratchScope scratch(ctx.scratch());
  const ScaledRows<T> x(*scratch, in.x, static_cast<T>(in.scale));
  const WorkerMemory<T> memory(*scratch, ctx.threads(), x);
  View<T, 2> tops = scratch->matrix<T>(parts, x.lanes), sums = scratch->matrix<T>(parts, x.lanes);
  View<T, 1> of_target = scratch->vector<T>(n);
  parallel_for(ctx, v, kGrain, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* z = memory.logits + worker * memory.stride;
    WeightBlock<T> w(in.w, memory.weights + worker * memory.stride);
    T *top = tops.row(begin / kGrain), *sum = sums.row(begin / kGrain);
    std::fill_n(top, x.lanes, std::numeric_limits<T>::lowest());
    std::fill_n(sum, x.lanes, T(0));
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t count = std::min(kBlock, end - first);
      w.load(first, count);
      block_logits(z, w, x, in.bias ? in.bias.data + first : nullptr, count);
      add_exponentials(top, sum, z, x.lanes, count);
      for (std::int64_t r = 0; r < n; ++r) {
        const std::int64_t t = in.targets[r] - first;
        if (t >= 0 && t < count) of_target[r] = z[t * x.lanes + r];
      }
    }
  });
  for (std::int64_t r = 0; r < n; ++r) {
    T top = tops(0, r), sum = 0;
    for (std::int64_t p = 1; p < parts; ++p) top = std::max(top, tops(p, r));
    for (std::int64_t p = 0; p < parts; ++p) sum += sums(p, r) * std::exp(tops(p, r) - top);
    lse[r] = top + std::log(sum);
    losses[r] = lse[r] - of_target[r];
  }
}

template <class T>
void backward(CpuContext& ctx, View<T, 2> dx, View<T, 2> dw, View<T, 1> dbias, T g, const Inputs<T>& in,
              ConstView<T, 1> lse, Accumulate dx_accumulate, Accumulate dw_accumulate) {
  const std::int64_t n = in.x.rows(), v = in.w.rows(), parts = grains(v);
  ScratchScope scratch(ctx.scratch());
  const ScaledRows<T> x(*scratch, in.x, static_cast<T>(in.scale));
  const WorkerMemory<T> memory(*scratch, ctx.threads(), x);
  View<T, 2> partial = dx ? scratch->matrix<T>(parts, n * x.depth) : View<T, 2>{};
  T* shift = scratch->alloc<T>(x.lanes);
  std::copy_n(lse.data, n, shift);
  std::fill(shift + n, shift + x.lanes, std::numeric_limits<T>::infinity());
  parallel_for(ctx, v, kGrain, [&](std::int64_t begin, std::int64_t end, int worker) {
    T* z = memory.logits + worker * memory.stride;
    WeightBlock<T> w(in.w, memory.weights + worker * memory.stride);
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t count = std::min(kBlock, end - first);
      w.load(first, count);
      block_logits(z, w, x, in.bias ? in.bias.data + first : nullptr, count);
      block_gradient(z, shift, g, in, x.lanes, first, count);
      if (dx) {
        T* sum = partial.row(begin / kGrain);
        first == begin ? row_gradient<T, Accumulate::kOverwrite>(sum, z, x, w, count) : row_gradient<T, Accumulate::kAdd>(sum, z, x, w, count);
      }
      if (dw) weight_gradient(dw, z, x, memory.gradient + worker * memory.stride, first, count, dw_accumulate);
      for (std::int64_t k = 0; k < count && dbias; ++k) {
        T sum = 0;
        for (std::int64_t r = 0; r < n; ++r) sum += z[k * x.lanes + r];
        dbias[first + k] = dw_accumulate == Accumulate::kAdd ? dbias[first + k] + sum : sum;
      }
    }
    simd::stream_fence();
  });
  if (!dx) return;
  parallel_for(ctx, n, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      if (dx_accumulate == Accumulate::kOverwrite) std::fill_n(dx.row(r), x.c, T(0));
      for (std::int64_t p = 0; p < parts; ++p)
        add_row(dx.row(r), partial.row(p) + r * x.depth, x.c, static_cast<T>(in.scale));
    }
  });
}

#define GALREC_INSTANTIATE(T)                                                                                      \
  template void forward<T>(CpuContext&, View<T, 1>, View<T, 1>, const Inputs<T>&);                                 \
  template void backward<T>(CpuContext&, View<T, 2>, View<T, 2>, View<T, 1>, T, const Inputs<T>&, ConstView<T, 1>, \
                            Accumulate, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

}  // namespace galrec::few_rows
