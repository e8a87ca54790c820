// Caser's filters over time on a device, forward and backward: 16 filters over each of 3 items of 5, d 64.
#include "bench/support/device_bench.h"
#include "kernels/convolution/convolution.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t n, l, c, h, k;
  ConvolutionOptions options() const { return {.image = {l, 1}, .kernel = {h, 1}}; }
  std::int64_t outputs() const { return n * (l - h + 1); }
  std::string text() const {
    return "N:" + std::to_string(n) + ",L:" + std::to_string(l) + ",C:" + std::to_string(c) + ",H:" + std::to_string(h) +
           ",K:" + std::to_string(k);
  }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = bench::kSize<T> * static_cast<double>(3 * n * l * c + 3 * outputs() * k),
            .flops = 6 * static_cast<double>(outputs() * k) * static_cast<double>(h * c),
            .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        options_(s.options()),
        x_(m.template in<T>(s.n * s.l, s.c)),
        w_(m.template in<T>(s.k, s.h * s.c, 0.125)),
        dy_(m.template in<T>(s.outputs(), s.k)),
        y_(m.template out<T>(s.outputs(), s.k)),
        dx_(m.template out<T>(s.n * s.l, s.c)),
        dw_(m.template out<Acc<T>>(s.k, s.h * s.c)) {}
  void run() {
    convolution_forward<T>(ctx_, y_, x_, w_, {}, options_);
    convolution_backward_input<T>(ctx_, dx_, dy_, w_, options_, Accumulate::kOverwrite);
    convolution_backward_weight<T>(ctx_, dw_, dy_, x_, options_, Accumulate::kOverwrite);
  }

 private:
  Context& ctx_;
  ConvolutionOptions options_;
  View<T, 2> x_, w_, dy_, y_, dx_;
  View<Acc<T>, 2> dw_;
};

const bool registered = [] {
  constexpr Shape kFull{32768, 5, 64, 3, 16}, kTiny{9, 5, 64, 3, 16};
  bench::add_device<Problem, bfloat16>("convolution/both", kFull, kTiny);
  bench::add_device<Problem, float>("convolution/both", kFull, kTiny);
  return true;
}();

}  // namespace
