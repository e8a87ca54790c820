// Residual addition and RMSNorm of a T5-base stack on a device (goal G5).
#include "bench/support/device_bench.h"
#include "kernels/rms_norm/rms_norm.h"

namespace {

using namespace galrec;
using bench::Direction;

struct Shape {
  std::int64_t n, c;
  Direction direction;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c); }
  template <class T>
  bench::Floor floor() const {
    // Forward: x, residual in, y, sum out. Backward: dy, sum, dsum in, dx, dresidual out.
    const double forward = 2 * bench::kSize<T> + 8, backward = 2 * bench::kSize<T> + 12;
    const double each = direction == Direction::kForward    ? forward
                        : direction == Direction::kBackward ? backward
                                                            : forward + backward;
    return {.bytes = each * static_cast<double>(n * c)};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        direction_(s.direction),
        x_(m.template in<T>(s.n, s.c)),
        dy_(m.template in<T>(s.n, s.c)),
        residual_(m.template in<Acc<T>>(s.n, s.c)),
        dsum_(m.template in<Acc<T>>(s.n, s.c)),
        weight_(m.template positive<Acc<T>>(s.c, 0.5)),
        y_(m.template out<T>(s.n, s.c)),
        dx_(m.template out<T>(s.n, s.c)),
        sum_(m.template out<Acc<T>>(s.n, s.c)),
        dresidual_(m.template out<Acc<T>>(s.n, s.c)),
        rstd_(m.template out<Acc<T>>(s.n)),
        dweight_(m.template out<Acc<T>>(s.c)) {
    if (direction_ == Direction::kBackward) forward();
  }
  void run() {
    if (direction_ != Direction::kBackward) forward();
    if (direction_ != Direction::kForward) backward();
  }

 private:
  void forward() { rms_norm_forward<T>(ctx_, y_, sum_, rstd_, x_, residual_, weight_, {}); }
  void backward() {
    constexpr auto kSet = Accumulate::kOverwrite;
    rms_norm_backward<T>(ctx_, dx_, dresidual_, dweight_, dy_, dsum_, sum_, weight_, rstd_, {}, kSet, kSet, kSet);
  }

  Context& ctx_;
  Direction direction_;
  View<T, 2> x_, dy_;
  View<Acc<T>, 2> residual_, dsum_;
  View<Acc<T>, 1> weight_;
  View<T, 2> y_, dx_;
  View<Acc<T>, 2> sum_, dresidual_;
  View<Acc<T>, 1> rstd_, dweight_;
};

const bool registered = [] {
  for (const Direction d : bench::kDirections) {
    const Shape full{32768, 768, d}, tiny{48, 128, d};
    bench::add_device<Problem, bfloat16>("rms_norm_residual/" + bench::direction_name(d), full, tiny);
    bench::add_device<Problem, float>("rms_norm_residual/" + bench::direction_name(d), full, tiny);
  }
  return true;
}();

}  // namespace
