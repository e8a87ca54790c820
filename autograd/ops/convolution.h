#pragma once
// Filters over images in rows (kernels/convolution).

#include "autograd/tape.h"
#include "kernels/convolution/convolution.h"

namespace galrec::autograd {

/// x (N H W, C), w (K, R S C), bias (1,K) -> (N P Q, K), where (P,Q) = convolution_output(options).
template <class T>
Variable<T> convolution(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias, const ConvolutionOptions& options);
/// The same without bias.
template <class T>
Variable<T> convolution(Tape<T>& tape, Variable<T> x, Weight<T> w, const ConvolutionOptions& options);

}  // namespace galrec::autograd
