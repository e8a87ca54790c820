#pragma once
// AdamW with gradient clipping, decoupled decay and an exponential moving average of the weights, one pass over memory.
//
// Math      g' = clip g;  m = b1 m + (1-b1) g';  v = b2 v + (1-b2) g'^2
//           p = p (1 - lr wd) - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps);  ema = mu ema + (1-mu) p
// Shapes    param, grad, m, v (P) flat arenas | ema (P_ema) or empty | spans: sorted, disjoint, within [0, P)
// Backward  -
// Saved and aliasing  all in place; ema is a separate arena
// Numerics and determinism  elementwise; sum_of_squares adds fixed chunks of 65,536 elements, each in a fixed lane order, then the
//           chunks in order, in double. Elements outside all spans are left alone (frozen).
// Launch    CPU: chunks in parallel
// Reference Kingma & Ba 2015; Loshchilov & Hutter 2019; torch.optim.AdamW (decay before the step); He et al. 2020 (EMA)

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
  double clip_scale = 1;   // what gradients are multiplied by first (loss scale and clipping)
  double ema_momentum = 0; // mu; used only for spans with an ema_offset
  std::int64_t step = 1;   // t, from 1
};

/// sum x^2 in double.
template <class T>
double sum_of_squares(CpuContext& ctx, View<T, 1> x);

template <class T>
void adamw_step(CpuContext& ctx,
                View<T, 1> param,          // (P)
                View<T, 1> m,              // (P)
                View<T, 1> v,              // (P)
                View<T, 1> ema,            // (P_ema) or empty
                ConstView<T, 1> grad,      // (P)
                std::span<const AdamWSpan> spans,
                const AdamWOptions& options);

}  // namespace galrec
