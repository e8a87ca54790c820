// Residual addition and LayerNorm of SASRec on a device, forward and backward.
#include "bench/support/device_bench.h"
#include "kernels/layer_norm/layer_norm.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t n, c;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c); }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = (4 * bench::kSize<T> + 20) * static_cast<double>(n * c)};  // as RMSNorm
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        x_(m.template in<T>(s.n, s.c)),
        dy_(m.template in<T>(s.n, s.c)),
        y_(m.template out<T>(s.n, s.c)),
        dx_(m.template out<T>(s.n, s.c)),
        residual_(m.template in<Acc<T>>(s.n, s.c)),
        dsum_(m.template in<Acc<T>>(s.n, s.c)),
        sum_(m.template out<Acc<T>>(s.n, s.c)),
        dresidual_(m.template out<Acc<T>>(s.n, s.c)),
        weight_(m.template positive<Acc<T>>(s.c, 0.5)),
        bias_(m.template in<Acc<T>>(s.c)),
        mean_(m.template out<Acc<T>>(s.n)),
        rstd_(m.template out<Acc<T>>(s.n)),
        dweight_(m.template out<Acc<T>>(s.c)),
        dbias_(m.template out<Acc<T>>(s.c)) {}
  void run() {
    constexpr auto kSet = Accumulate::kOverwrite;
    layer_norm_forward<T>(ctx_, y_, sum_, mean_, rstd_, x_, residual_, weight_, bias_, {});
    layer_norm_backward<T>(ctx_, dx_, dresidual_, dweight_, dbias_, dy_, dsum_, sum_, weight_, mean_, rstd_, {}, kSet,
                           kSet, kSet);
  }

 private:
  Context& ctx_;
  View<T, 2> x_, dy_, y_, dx_;
  View<Acc<T>, 2> residual_, dsum_, sum_, dresidual_;
  View<Acc<T>, 1> weight_, bias_, mean_, rstd_, dweight_, dbias_;
};

const bool registered = [] {
  bench::add_device<Problem, bfloat16>("layer_norm_residual/both", Shape{131072, 64}, Shape{48, 64});
  bench::add_device<Problem, float>("layer_norm_residual/both", Shape{131072, 64}, Shape{48, 64});
  return true;
}();

}  // namespace
