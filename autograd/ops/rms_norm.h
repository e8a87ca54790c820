#pragma once
// RMSNorm, alone or with the residual addition and dropout before it (kernels/rms_norm).

#include "autograd/ops/norm_input.h"
#include "autograd/tape.h"

namespace galrec::autograd {

/// y = x rsqrt(mean x^2 + eps) weight, x being the residual stream; (N,C), (1,C) -> (N,C).
template <class T>
Variable<T> rms_norm(Tape<T>& tape, Variable<Acc<T>> x, Variable<Acc<T>> weight, double eps);

/// sum = residual + dropout(x), y = rms_norm(sum). With NormInput::kReuse `sum` is written over x's values.
template <class T>
NormResult<T> rms_norm_residual(Tape<T>& tape, Variable<T> x, Variable<Acc<T>> residual, Variable<Acc<T>> weight, double eps,
                                double dropout_rate, NormInput input = NormInput::kKeep);

}  // namespace galrec::autograd
