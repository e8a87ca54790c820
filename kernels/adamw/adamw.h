#pragma once
// AdamW with gradient clipping, decoupled decay and an exponential moving average of the weights, one pass over memory.
//
// Math      g' = scale g, scale = gradient_scale min(1, max_norm / (gradient_scale |g| + 1e-6)), the second factor only where max_norm > 0
//           m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
//           p = p (1 - lr wd) - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps);  ema = mu ema + (1-mu) p
// Shapes    param, grad, m, v (P) flat arenas | ema (P_ema) or empty | param_shadow (P), ema_shadow (P_ema) bf16 or empty | square_sum (1)
//           lr_and_step (2) | spans: sorted, disjoint, within [0, P); all of the context's memory
// Backward  -
// Saved and aliasing  all in place; ema is a separate arena. Shadows receive the new values rounded to bf16.
// Numerics and determinism  elementwise; sum_of_squares adds fixed chunks of 65,536 elements, each in a fixed lane order, then the
//           chunks in a fixed order (CPU: one after the other; CUDA: strided sums of threads and their tree), in double.
//           Elements outside all spans are left alone (frozen), in the shadows too. Nothing at all is changed where square_sum is given
//           and is not finite: CPU a NumericalError, CUDA reported (NumericalError at the next synchronize()).
// Launch    CPU: chunks in parallel.  CUDA: sum_of_squares a block a chunk and one that adds; adamw_step one thread that prepares
//           the constants, then a block for each 4,096 elements, 16-byte accesses where span, average and views share their alignment:
//           each byte of p, g, m, v, ema is read once, all but g written once. No host value is waited for; with lr_and_step a step
//           can be captured once and replayed.
// Reference Kingma & Ba 2015; Loshchilov & Hutter 2019; torch.optim.AdamW (decay before the step); torch.nn.utils.clip_grad_norm_;
//           He et al. 2020 (EMA)

#include <span>

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// A run of elements that share their treatment.
struct AdamWSpan {
  std::int64_t offset = 0;
  std::int64_t size = 0;
  bool decay = true;
  std::int64_t ema_offset = -1;  // where the span lies in ema; -1: no average is kept
};

struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  double gradient_scale = 1;  // what gradients are multiplied by first (1 / accumulation, 1 / loss scale)
  double max_norm = 0;        // their norm's limit after that; 0: none. Needs square_sum.
  double ema_momentum = 0;    // mu; used only for spans with an ema_offset
  std::int64_t step = 1;      // t, from 1
  View<const double, 1> square_sum = {};   // (1): sum_of_squares of the gradients as they are; empty: not checked, not clipped
  View<const double, 1> lr_and_step = {};  // (2): replace lr and step, for a step that is replayed; empty: those above
};

/// bf16 copies of the new values, for the products of the next step; each may be empty.
struct AdamWShadows {
  View<bfloat16, 1> param = {};  // (P)
  View<bfloat16, 1> ema = {};    // (P_ema)
};

/// out = sum x^2.
template <class T>
void sum_of_squares(CpuContext& ctx, View<double, 1> out, ConstView<T, 1> x);
template <class T>
void sum_of_squares(CudaContext& ctx, View<double, 1> out, ConstView<T, 1> x);

/// CheckError for spans that are not sorted, overlap, or leave the arenas. The CUDA step cannot see its table: whoever uploads it
/// calls this first.
void check_adamw_spans(std::span<const AdamWSpan> spans, std::int64_t elements, std::int64_t averaged);

template <class T>
void adamw_step(CpuContext& ctx,
                View<T, 1> param,          // (P)
                View<T, 1> m,              // (P)
                View<T, 1> v,              // (P)
                View<T, 1> ema,            // (P_ema) or empty
                const AdamWShadows& shadows,
                ConstView<T, 1> grad,      // (P)
                View<const AdamWSpan, 1> spans,
                const AdamWOptions& options);
/// T is float; spans in device memory.
template <class T>
void adamw_step(CudaContext& ctx, View<T, 1> param, View<T, 1> m, View<T, 1> v, View<T, 1> ema, const AdamWShadows& shadows,
                ConstView<T, 1> grad, View<const AdamWSpan, 1> spans, const AdamWOptions& options);

}  // namespace galrec
