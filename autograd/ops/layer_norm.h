#pragma once
// LayerNorm, alone or with the residual addition and dropout before it (kernels/layer_norm).

#include "autograd/ops/norm_input.h"
#include "autograd/tape.h"

namespace galrec::autograd {

/// (N,C), weight and bias (1,C) -> (N,C).
template <class T>
Variable<T> layer_norm(Tape<T>& tape, Variable<T> x, Variable<T> weight, Variable<T> bias, double eps);

/// sum = residual + dropout(x), y = layer_norm(sum). With NormInput::kReuse `sum` is written over x's values.
template <class T>
NormResult<T> layer_norm_residual(Tape<T>& tape, Variable<T> x, Variable<T> residual, Variable<T> weight,
                                  Variable<T> bias, double eps, double dropout_rate,
                                  NormInput input = NormInput::kKeep);

}  // namespace galrec::autograd
