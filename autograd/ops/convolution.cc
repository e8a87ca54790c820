#include "autograd/ops/convolution.h"

#include <optional>

#include "autograd/ops/support.h"
#include "kernels/gemm/gemm.h"

namespace galrec::autograd {

namespace {

template <class T>
Variable<T> filtered(Tape<T>& tape, Variable<T> x, Weight<T> w, std::optional<Variable<Acc<T>>> bias,
                     const ConvolutionOptions& options) {
  const Extent2 out = convolution_output(options);
  const std::int64_t rows = x.rows() / (options.image.h * options.image.w) * out.h * out.w;
  const auto y = bias ? tape.output(rows, w.rows(), {x, w, *bias}) : tape.output(rows, w.rows(), {x, w});
  dispatch<T>(tape.device(), [&](auto& ctx) {
    convolution_forward<T>(ctx, y.value(), x.value(), w.value(), bias ? as_vector(bias->value()) : View<Acc<T>, 1>{}, options);
  });
  tape.record("convolution", y, [&tape, x, w, bias, y, options] {
    dispatch<T>(tape.device(), [&](auto& ctx) {
      const auto dy = tape.gradient(y);
      if (const auto dw = tape.claim(w)) convolution_backward_weight<T>(ctx, dw.view, dy, x.value(), options, dw.accumulate);
      if (bias) {
        if (const auto db = tape.claim(*bias)) column_sum<T>(ctx, as_vector(db.view), dy, db.accumulate);
      }
      if (const auto dx = tape.claim(x)) convolution_backward_input<T>(ctx, dx.view, dy, w.value(), options, dx.accumulate);
    });
  });
  return y;
}

}  // namespace

template <class T>
Variable<T> convolution(Tape<T>& tape, Variable<T> x, Weight<T> w, Variable<Acc<T>> bias, const ConvolutionOptions& options) {
  return filtered<T>(tape, x, w, bias, options);
}

template <class T>
Variable<T> convolution(Tape<T>& tape, Variable<T> x, Weight<T> w, const ConvolutionOptions& options) {
  return filtered<T>(tape, x, w, std::nullopt, options);
}

#define INSTANTIATE(T)                                                                                             \
  template Variable<T> convolution(Tape<T>&, Variable<T>, Weight<T>, Variable<Acc<T>>, const ConvolutionOptions&); \
  template Variable<T> convolution(Tape<T>&, Variable<T>, Weight<T>, const ConvolutionOptions&);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::autograd
