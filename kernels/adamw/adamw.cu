#include "kernels/adamw/adamw.h"

#include "kernels/adamw/constants.h"
#include "kernels/common/device_status.h"
#include "kernels/common/ordered_sum.h"
#include "kernels/common/rows_device.h"

namespace galrec {

namespace {

constexpr std::int64_t kSumChunk = 65536;  // elements of a partial sum of squares
constexpr int kSumThreads = 512;
constexpr std::int64_t kBlockElements = 4096;  // elements that a block updates
constexpr int kThreads = 256;
constexpr int kWidth = 4;  // floats in 16 bytes

/// One chunk's sum: thread t adds the groups of four t, t + 512, ... of it, loaded kLoad at a time, then the block's
/// tree.
template <int kLoad>
__global__ void __launch_bounds__(kSumThreads) square_chunks(double* partial, const float* x, std::int64_t n) {
  auto& s = block_shared<BlockScratch<double>>();
  const std::int64_t first = blockIdx.x * kSumChunk, end = min(n, first + kSumChunk),
                     whole = first + (end - first) / kWidth * kWidth;
  double sum = 0;
  const auto add = [&](float value) { sum += static_cast<double>(value) * static_cast<double>(value); };
  for (std::int64_t i = first + thread_id() * kWidth; i < whole; i += kSumThreads * kWidth) {
#pragma unroll
    for (int k = 0; k < kWidth; k += kLoad) {
      float value[kLoad];
      load_floats<kLoad>(x + i + k, value);
#pragma unroll
      for (int l = 0; l < kLoad; ++l) add(value[l]);
    }
  }
  if (whole + thread_id() < end) add(x[whole + thread_id()]);
  sum = block_sum(sum, s);
  if (thread_id() == 0) partial[blockIdx.x] = sum;
}

struct Plan {
  AdamWConstants<float> k;
  int skip;  // the gradients are not finite: nothing may change
};

/// One thread computes what all others need, in double as the CPU does.
__global__ void prepare(Plan* plan, AdamWOptions o, DeviceStatus* status) {
  const double square_sum = o.square_sum ? o.square_sum[0] : 0;
  const double lr = o.lr_and_step ? o.lr_and_step[0] : o.lr;
  const double step = o.lr_and_step ? o.lr_and_step[1] : static_cast<double>(o.step);
  plan->k = adamw_constants<float>(o, lr, step, square_sum);
  plan->skip = std::isfinite(square_sum) ? 0 : 1;
  if (plan->skip != 0) report_fault(status, DeviceFault::kNotANumber, DeviceOperation::kAdamW, 0, 0);
}

struct Arenas {
  float *param, *m, *v, *ema;
  const float* grad;
  bfloat16 *param_shadow, *ema_shadow;  // null: none
};

/// Width elements from e on; `average` is where they lie in ema, or negative.
template <int Width>
__device__ __forceinline__ void update(const Arenas& a, std::int64_t e, std::int64_t average, float decay,
                                       const AdamWConstants<float>& k) {
  float p[Width], g[Width], m[Width], v[Width], ema[Width] = {};
  load_floats<Width>(a.param + e, p);
  load_floats<Width>(a.grad + e, g);
  load_floats<Width>(a.m + e, m);
  load_floats<Width>(a.v + e, v);
  if (average >= 0) load_floats<Width>(a.ema + average, ema);
#pragma unroll
  for (int i = 0; i < Width; ++i) {
    // Every rounding is spelled out: an element has the same bits whether it is updated in a vector or at a span's
    // edge.
    const float gradient = __fmul_rn(g[i], k.scale);
    m[i] = __fmaf_rn(k.beta1, m[i], __fmul_rn(k.one_minus_beta1, gradient));
    v[i] = __fmaf_rn(k.beta2, v[i], __fmul_rn(__fmul_rn(k.one_minus_beta2, gradient), gradient));
    const float denominator = __fmaf_rn(__fsqrt_rn(v[i]), k.inv_sqrt_correction, k.eps);
    p[i] = __fmaf_rn(p[i], decay, -__fdiv_rn(__fmul_rn(k.step_size, m[i]), denominator));
    ema[i] = __fmaf_rn(k.mu, ema[i], __fmul_rn(k.one_minus_mu, p[i]));
  }
  store_floats<Width>(a.param + e, p);
  store_floats<Width>(a.m + e, m);
  store_floats<Width>(a.v + e, v);
  if (a.param_shadow != nullptr) store_floats<Width>(a.param_shadow + e, p);
  if (average < 0) return;
  store_floats<Width>(a.ema + average, ema);
  if (a.ema_shadow != nullptr) store_floats<Width>(a.ema_shadow + average, ema);
}

/// Updates what spans have of the block's elements. Multiples of Width are aligned in every arena.
template <int Width>
__global__ void __launch_bounds__(kThreads)
    step_elements(Arenas a, const Plan* plan, const AdamWSpan* spans, std::int64_t span_count, std::int64_t n) {
  if (plan->skip != 0) return;
  const AdamWConstants<float> k = plan->k;
  const std::int64_t begin = blockIdx.x * kBlockElements, end = min(n, begin + kBlockElements);
  // The first span that does not end before the block.
  std::int64_t low = 0, high = span_count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (spans[middle].offset + spans[middle].size <= begin) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  for (; low < span_count; ++low) {
    const AdamWSpan span = spans[low];
    if (span.offset >= end) break;
    const std::int64_t first = max(begin, span.offset), last = min(end, span.offset + span.size);
    const float decay = span.decay ? k.decay : 1.0f;
    const bool averaged = span.ema_offset >= 0;
    const std::int64_t shift = span.ema_offset - span.offset;
    const auto average_of = [&](std::int64_t e) { return averaged ? e + shift : -1; };
    // Whole vectors, then what is left at both ends of the span; all of it one by one where the average lies across
    // vectors.
    const bool across = averaged && shift % Width != 0;
    const std::int64_t from = across ? last : min(last, (first + Width - 1) / Width * Width),
                       to = max(from, last / Width * Width);
    for (std::int64_t e = from + thread_id() * Width; e < to; e += kThreads * Width)
      update<Width>(a, e, average_of(e), decay, k);
    for (std::int64_t e = first + thread_id(); e < from; e += kThreads) update<1>(a, e, average_of(e), decay, k);
    for (std::int64_t e = to + thread_id(); e < last; e += kThreads) update<1>(a, e, average_of(e), decay, k);
  }
}

}  // namespace

template <class T>
void sum_of_squares(CudaContext& ctx, View<double, 1> out, ConstView<T, 1> x) {
  GALREC_CHECK(out.extent(0) == 1, "out ({})", out.extent(0));
  const std::int64_t n = x.extent(0);
  ScratchScope scratch(ctx.scratch());
  const auto partial = scratch->vector<double>((n + kSumChunk - 1) / kSumChunk);
  if (n > 0) {
    const bool vectors = reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
    launch(vectors ? square_chunks<kWidth> : square_chunks<1>, partial.extent(0), kSumThreads,
           sizeof(BlockScratch<double>), ctx.stream(), partial.data, x.data, n);
  }
  launch_ordered_sum(ctx, out.data, partial, 1.0);
}

template <class T>
void adamw_step(CudaContext& ctx, View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema,
                const AdamWShadows& shadows, ConstView<T, 1> grad, View<const AdamWSpan, 1> spans,
                const AdamWOptions& o) {
  check_adamw_arguments<T>(param, m, v, ema, shadows, grad, o);
  const std::int64_t n = param.extent(0);
  if (n == 0 || spans.extent(0) == 0) return;
  ScratchScope scratch(ctx.scratch());
  Plan* plan = scratch->alloc<Plan>(1);
  launch(prepare, 1, 1, 0, ctx.stream(), plan, o, ctx.status());
  const auto aligned = [](const auto* p) { return reinterpret_cast<std::uintptr_t>(p) % (kWidth * sizeof(*p)) == 0; };
  const bool vectors = aligned(param.data) && aligned(m.data) && aligned(v.data) && aligned(ema.data) &&
                       aligned(grad.data) && aligned(shadows.param.data) && aligned(shadows.ema.data);
  const Arenas arenas{param.data, m.data, v.data, ema.data, grad.data, shadows.param.data, shadows.ema.data};
  launch(vectors ? step_elements<kWidth> : step_elements<1>, (n + kBlockElements - 1) / kBlockElements, kThreads, 0,
         ctx.stream(), arenas, plan, spans.data, spans.extent(0), n);
}

template void sum_of_squares<float>(CudaContext&, View<double, 1>, ConstView<float, 1>);
template void adamw_step<float>(CudaContext&, View<float, 1>, View<float, 1>, View<float, 1>, View<float, 1>,
                                const AdamWShadows&, ConstView<float, 1>, View<const AdamWSpan, 1>,
                                const AdamWOptions&);

}  // namespace galrec
