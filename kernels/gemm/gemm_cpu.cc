#include "kernels/gemm/gemm.h"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "kernels/common/dtype.h"
#include "kernels/common/parallel.h"
#include "kernels/gemm/register_block_cpu.h"

// oneDNN exports this beside dnnl_sgemm (same arguments, a and b bf16) but has no header for it. Weak: a build of the
// library without it makes the symbol null, and GemmPrecision::kBf16 then runs in full precision.
extern "C" __attribute__((weak)) dnnl_status_t dnnl_gemm_bf16bf16f32(char transa, char transb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                                                     float alpha, const void* a, dnnl_dim_t lda, const void* b,
                                                                     dnnl_dim_t ldb, float beta, float* c, dnnl_dim_t ldc);

namespace galrec {

namespace {

// dnnl_sgemm outside a parallel region takes all of OpenMP's threads and then splits the work by their number. Every
// call here must be a one-thread call, in or out of a region.
class OneThread {
 public:
  OneThread() : previous_(omp_get_max_threads()) {
    if (previous_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (previous_ != 1) omp_set_num_threads(previous_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int previous_;
};

template <class T>
struct Operand {
  const T* data;
  std::int64_t stride;
  bool transposed;
  const T* at(std::int64_t row, std::int64_t col) const {
    return transposed ? data + col * stride + row : data + row * stride + col;
  }
};

template <class T>
Operand<T> operand(const ConstView<T, 2>& x, Transpose t) {
  return {x.data, std::max<std::int64_t>({x.stride[0], x.cols(), 1}), t == Transpose::kYes};
}

template <class T, class In = T>
struct Product {
  std::int64_t m, n, k;
  T* c;
  std::int64_t ldc;
  Operand<In> a, b;
  T alpha;
  bool add;
};

template <class T>
Product<T> checked(View<T, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& o) {
  const bool ta = o.a == Transpose::kYes, tb = o.b == Transpose::kYes;
  const std::int64_t m = ta ? a.cols() : a.rows(), k = ta ? a.rows() : a.cols();
  const std::int64_t kb = tb ? b.cols() : b.rows(), n = tb ? b.rows() : b.cols();
  GALREC_CHECK(c.rows() == m && c.cols() == n && k == kb, "c ({}, {}) = op(a) ({}, {}) op(b) ({}, {})", c.rows(), c.cols(), m, k, kb, n);
  GALREC_CHECK(c.rows() <= 1 || c.stride[0] >= c.cols());
  GALREC_CHECK(a.rows() <= 1 || a.stride[0] >= a.cols());
  GALREC_CHECK(b.rows() <= 1 || b.stride[0] >= b.cols());
  return {m, n, k, c.data, std::max<std::int64_t>({c.stride[0], n, 1}), operand<T>(a, o.a), operand<T>(b, o.b), static_cast<T>(o.alpha),
          o.accumulate == Accumulate::kAdd};
}

// A piece of a product: rows [i, i+m) and columns [j, j+n) of c, summed over [k0, k0+k), written to `c` on its own thread.
template <class T>
struct Piece {
  std::int64_t i, m, j, n, k0, k;
  T* c;
  std::int64_t ldc;
  bool add;
};

template <class T>
char letter(const Operand<T>& x) {
  return x.transposed ? 'T' : 'N';
}

void compute(const Product<float>& p, const Piece<float>& t) {
  const auto status = dnnl_sgemm(letter(p.a), letter(p.b), t.m, t.n, t.k, p.alpha, p.a.at(t.i, t.k0), p.a.stride, p.b.at(t.k0, t.j), p.b.stride,
                                 t.add ? 1.0f : 0.0f, t.c, t.ldc);
  GALREC_CHECK(status == dnnl_success, "dnnl_sgemm returned {}", static_cast<int>(status));
}

void compute(const Product<float, bfloat16>& p, const Piece<float>& t) {
  const auto status = dnnl_gemm_bf16bf16f32(letter(p.a), letter(p.b), t.m, t.n, t.k, p.alpha, p.a.at(t.i, t.k0), p.a.stride, p.b.at(t.k0, t.j),
                                            p.b.stride, t.add ? 1.0f : 0.0f, t.c, t.ldc);
  GALREC_CHECK(status == dnnl_success, "dnnl_gemm_bf16bf16f32 returned {}", static_cast<int>(status));
}

// The oracle: b goes through a small dense panel, c gets one row update per (row, depth).
void compute(const Product<double>& p, const Piece<double>& t) {
  constexpr std::int64_t kCols = 64, kDepth = 64;
  double panel[kDepth][kCols];
  for (std::int64_t i = 0; i < t.m && !t.add; ++i) std::fill_n(t.c + i * t.ldc, t.n, 0.0);
  for (std::int64_t j = 0; j < t.n; j += kCols) {
    const std::int64_t cols = std::min(kCols, t.n - j);
    for (std::int64_t k = 0; k < t.k; k += kDepth) {
      const std::int64_t depth = std::min(kDepth, t.k - k);
      for (std::int64_t d = 0; d < depth; ++d) {
        for (std::int64_t l = 0; l < cols; ++l) panel[d][l] = p.alpha * *p.b.at(t.k0 + k + d, t.j + j + l);
      }
      for (std::int64_t i = 0; i < t.m; ++i) {
        double* __restrict out = t.c + i * t.ldc + j;
        for (std::int64_t d = 0; d < depth; ++d) {
          const double factor = *p.a.at(t.i + i, t.k0 + k + d);
          for (std::int64_t l = 0; l < cols; ++l) out[l] += factor * panel[d][l];
        }
      }
    }
  }
}

template <class T>
bool trivial(const Product<T>& p) {
  if (p.m == 0 || p.n == 0) return true;
  if (p.k != 0) return false;
  for (std::int64_t i = 0; i < p.m && !p.add; ++i) std::fill_n(p.c + i * p.ldc, p.n, T(0));
  return true;
}

// How a product is cut: output tiles, and slabs of K whose partial outputs are added in order. A function of the shape
// only, never of the threads. Small products are one piece (no parallel region). The others take tiles that span all
// columns where those are few (the library packs b once per tile, whatever its width) and as many rows as leave a
// multiple of kFew equal tiles. Where rows do not suffice, tall products (weight gradients: K is the number of tokens)
// split K, the others columns.
struct Cut {
  std::int64_t m, n, k;
};

std::int64_t pieces(std::int64_t extent, std::int64_t size) { return (extent + size - 1) / size; }
// Parts of about equal size, in whole steps; the last may be smaller.
std::int64_t part(std::int64_t extent, std::int64_t parts, std::int64_t step) { return pieces(pieces(extent, parts), step) * step; }

Cut choose_cut(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kSerialProducts = std::int64_t{1} << 20, kFew = 8, kLeastSlab = 512;
  constexpr std::int64_t kMostRows = 256, kLeastRows = 64, kRowStep = 8, kMostColumns = 768, kColumnStep = 16;
  if (m * n * k <= kSerialProducts) return {m, n, k};
  const std::int64_t rows = std::max(part(m, pieces(pieces(m, kMostRows), kFew) * kFew, kRowStep), kLeastRows), tiles_m = pieces(m, rows);
  const std::int64_t tiles_n = pieces(n, kMostColumns), tiles = tiles_m * tiles_n;
  if (tiles >= kFew) return {rows, part(n, tiles_n, kColumnStep), k};
  const std::int64_t slabs = std::min(k / kLeastSlab, pieces(kFew, tiles));
  if (slabs > 1) return {rows, part(n, tiles_n, kColumnStep), pieces(k, slabs)};
  return {rows, std::max(part(n, pieces(kFew, tiles_m), kColumnStep), 4 * kColumnStep), k};
}

template <class T, class In>
void run(CpuContext& ctx, const Product<T, In>& p) {
  const Cut cut = choose_cut(p.m, p.n, p.k);
  const std::int64_t tiles_m = pieces(p.m, cut.m), tiles_n = pieces(p.n, cut.n), slabs = pieces(p.k, cut.k), tiles = tiles_m * tiles_n;
  ScratchScope scope(ctx.scratch());
  T* partial = slabs > 1 ? scope->alloc<T>((slabs - 1) * p.m * p.n) : nullptr;  // slab 0 goes to c itself
  {
    const OneThread guard;
    parallel_for(ctx, tiles * slabs, 1, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t slab = t / tiles, i = t % tiles / tiles_n * cut.m, j = t % tiles_n * cut.n, k0 = slab * cut.k;
        T* c = slab == 0 ? p.c + i * p.ldc + j : partial + (slab - 1) * p.m * p.n + i * p.n + j;
        compute(p, {i, std::min(cut.m, p.m - i), j, std::min(cut.n, p.n - j), k0, std::min(cut.k, p.k - k0), c, slab == 0 ? p.ldc : p.n,
                    slab == 0 && p.add});
      }
    });
  }
  if (slabs == 1) return;
  constexpr std::int64_t kGrainElements = 16384;
  parallel_for(ctx, p.m, kGrainElements / p.n, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      T* __restrict sum = p.c + i * p.ldc;
      for (std::int64_t s = 0; s + 1 < slabs; ++s) {
        const T* __restrict more = partial + (s * p.m + i) * p.n;
        for (std::int64_t j = 0; j < p.n; ++j) sum[j] += more[j];
      }
    }
  });
}

bool has_bf16_products() {
  static const bool available = dnnl_gemm_bf16bf16f32 != nullptr && __builtin_cpu_supports("avx512bf16");
  return available;
}

Operand<bfloat16> rounded(CpuContext& ctx, Arena& scratch, ConstView<float, 2> x, Transpose t) {
  constexpr std::int64_t kGrainElements = 32768;
  View<bfloat16, 2> out = scratch.matrix<bfloat16>(x.rows(), x.cols());
  parallel_for(ctx, x.rows(), kGrainElements / std::max<std::int64_t>(x.cols(), 1), [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* __restrict from = x.row(i);
      bfloat16* __restrict to = out.row(i);
      for (std::int64_t j = 0; j < x.cols(); ++j) to[j] = bfloat16(from[j]);
    }
  });
  return operand<bfloat16>(out, t);
}

// The library packs a transposed b element by element, once per tile. One transposition for all tiles pays from so many rows on.
constexpr std::int64_t kRowsThatPayTransposition = 512;

Operand<float> transposed(CpuContext& ctx, Arena& scratch, ConstView<float, 2> x) {
  constexpr std::int64_t kGrainColumns = 32, kL = simd::kLanes<float>, kPage = 4096 / sizeof(float);
  // Rows a page apart fall into one set of L1 and evict each other while the library packs them: a sixth of its speed.
  const std::int64_t whole = pieces(x.rows(), kL) * kL, ld = whole % kPage == 0 ? whole + kL : whole;
  float* out = scratch.alloc<float>(x.cols() * ld);
  parallel_for(ctx, x.cols(), kGrainColumns, [&](std::int64_t begin, std::int64_t end, int) {
    transpose_padded(out + begin * ld, ld, x.data + begin, x.stride[0], x.rows(), end - begin);
  });
  return {out, ld, false};
}

}  // namespace

template <class T>
void gemm(CpuContext& ctx, View<T, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& options) {
  const auto p = checked<T>(c, a, b, options);
  if (trivial(p)) return;
  if constexpr (std::is_same_v<T, float>) {
    if (ctx.gemm_precision() == GemmPrecision::kBf16 && has_bf16_products()) {
      ScratchScope scope(ctx.scratch());
      const auto ra = rounded(ctx, *scope, a, options.a), rb = rounded(ctx, *scope, b, options.b);
      run(ctx, Product<float, bfloat16>{p.m, p.n, p.k, p.c, p.ldc, ra, rb, p.alpha, p.add});
      return;
    }
    if (options.b == Transpose::kYes && p.m >= kRowsThatPayTransposition) {
      ScratchScope scope(ctx.scratch());
      run(ctx, Product<float>{p.m, p.n, p.k, p.c, p.ldc, p.a, transposed(ctx, *scope, b), p.alpha, p.add});
      return;
    }
  }
  run(ctx, p);
}

template <class T>
void gemm_serial(View<T, 2> c, ConstView<T, 2> a, ConstView<T, 2> b, const GemmOptions& options) {
  const auto p = checked<T>(c, a, b, options);
  if (trivial(p)) return;
  const OneThread guard;
  compute(p, {0, p.m, 0, p.n, 0, p.k, p.c, p.ldc, p.add});
}

template <class T>
void add_bias(CpuContext& ctx, View<T, 2> y, ConstView<T, 1> bias) {
  GALREC_CHECK(bias.extent(0) == y.cols(), "bias ({}) on columns ({})", bias.extent(0), y.cols());
  parallel_for(ctx, y.rows(), 256, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      T* __restrict row = y.row(i);
      const T* __restrict add = bias.data;
      for (std::int64_t j = 0; j < y.cols(); ++j) row[j] += add[j];
    }
  });
}

// Slabs of rows are summed one by one, then the slabs in order: the same additions for any number of threads.
template <class T>
void column_sum(CpuContext& ctx, View<T, 1> out, ConstView<T, 2> x, Accumulate accumulate) {
  const std::int64_t rows = x.rows(), cols = x.cols();
  GALREC_CHECK(out.extent(0) == cols, "out ({}), columns ({})", out.extent(0), cols);
  constexpr std::int64_t kSlab = 256;
  const std::int64_t slabs = (rows + kSlab - 1) / kSlab;
  ScratchScope scope(ctx.scratch());
  View<T, 2> partial = scope->matrix<T>(slabs, cols);
  parallel_for(ctx, rows, kSlab, [&](std::int64_t begin, std::int64_t end, int) {
    T* __restrict sum = partial.row(begin / kSlab);
    std::fill_n(sum, cols, T(0));
    for (std::int64_t i = begin; i < end; ++i) {
      const T* __restrict row = x.row(i);
      for (std::int64_t j = 0; j < cols; ++j) sum[j] += row[j];
    }
  });
  if (accumulate == Accumulate::kOverwrite) std::fill_n(out.data, cols, T(0));
  for (std::int64_t s = 0; s < slabs; ++s) {
    const T* __restrict sum = partial.row(s);
    for (std::int64_t j = 0; j < cols; ++j) out.data[j] += sum[j];
  }
}

#define GALREC_INSTANTIATE(T)                                                                                       \
  template void gemm<T>(CpuContext&, View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, const GemmOptions&);             \
  template void gemm_serial<T>(View<T, 2>, ConstView<T, 2>, ConstView<T, 2>, const GemmOptions&);                   \
  template void add_bias<T>(CpuContext&, View<T, 2>, ConstView<T, 1>);                                              \
  template void column_sum<T>(CpuContext&, View<T, 1>, ConstView<T, 2>, Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(double)
#undef GALREC_INSTANTIATE

bool gemm_has_bf16() { return has_bf16_products(); }

}  // namespace galrec
