// The gated activation of T5-base on a device, and the whole feed-forward around it (goal G6): wi_0 and wi_1 as one
// product, the gate, wo.
#include "bench/support/device_bench.h"
#include "kernels/activation/activation.h"
#include "kernels/gemm/gemm.h"

namespace {

using namespace galrec;
using bench::Direction;

struct Shape {
  std::int64_t n, c, f;
  Direction direction;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c) + ",F:" + std::to_string(f); }
  template <class T>
  bench::Floor floor() const {
    const double times = direction == Direction::kForward ? 1 : direction == Direction::kBackward ? 2 : 3;
    return {.flops = times * 6 * static_cast<double>(n * c * f), .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class FeedForward {
 public:
  FeedForward(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        s_(s),
        x_(m.template in<T>(s.n, s.c)),
        dy_(m.template in<T>(s.n, s.c)),
        wi_(m.template in<T>(2 * s.f, s.c, 0.0625)),
        wo_(m.template in<T>(s.c, s.f, 0.0625)),
        y_(m.template out<T>(s.n, s.c)),
        dx_(m.template out<T>(s.n, s.c)),
        ab_(m.template work<T>(s.n, 2 * s.f)),
        dab_(m.template work<T>(s.n, 2 * s.f)),
        g_(m.template work<T>(s.n, s.f)),
        dg_(m.template work<T>(s.n, s.f)),
        dwi_(m.template out<Acc<T>>(2 * s.f, s.c)),
        dwo_(m.template out<Acc<T>>(s.c, s.f)) {
    if (s.direction == Direction::kBackward) forward();
  }
  void run() {
    if (s_.direction != Direction::kBackward) forward();
    if (s_.direction != Direction::kForward) backward();
  }

 private:
  static View<T, 2> half(View<T, 2> x, std::int64_t i) { return x.slice_cols(i * x.cols() / 2, x.cols() / 2); }
  void forward() {
    gemm<T>(ctx_, ab_, x_, wi_, {.b = Transpose::kYes});
    gated_activation_forward<T>(ctx_, g_, half(ab_, 0), half(ab_, 1), ActivationKind::kGeluTanh, {});
    gemm<T>(ctx_, y_, g_, wo_, {.b = Transpose::kYes});
  }
  void backward() {
    gemm<T>(ctx_, dg_, dy_, wo_, {});
    gemm<T>(ctx_, dwo_, dy_, g_, {.a = Transpose::kYes});
    gated_activation_backward<T>(ctx_, half(dab_, 0), half(dab_, 1), dg_, half(ab_, 0), half(ab_, 1),
                                 ActivationKind::kGeluTanh, {}, Accumulate::kOverwrite);
    gemm<T>(ctx_, dx_, dab_, wi_, {});
    gemm<T>(ctx_, dwi_, dab_, x_, {.a = Transpose::kYes});
  }

  Context& ctx_;
  Shape s_;
  View<T, 2> x_, dy_, wi_, wo_, y_, dx_, ab_, dab_, g_, dg_;
  View<Acc<T>, 2> dwi_, dwo_;
};

struct GateShape {
  std::int64_t n, f;
  Direction direction;
  std::string text() const { return "N:" + std::to_string(n) + ",F:" + std::to_string(f); }
  template <class T>
  bench::Floor floor() const {
    const double matrices = direction == Direction::kForward ? 3 : direction == Direction::kBackward ? 5 : 8;
    return {.bytes = matrices * static_cast<double>(n * f) * bench::kSize<T>};
  }
};

template <class Context, class T>
class Gate {
 public:
  Gate(bench::ProblemMemory<Context>& m, const GateShape& s)
      : ctx_(m.context()),
        s_(s),
        ab_(m.template in<T>(s.n, 2 * s.f)),
        dy_(m.template in<T>(s.n, s.f)),
        y_(m.template out<T>(s.n, s.f)),
        dab_(m.template out<T>(s.n, 2 * s.f)) {}
  void run() {
    const View<T, 2> a = ab_.slice_cols(0, s_.f), b = ab_.slice_cols(s_.f, s_.f);
    if (s_.direction != Direction::kBackward)
      gated_activation_forward<T>(ctx_, y_, a, b, ActivationKind::kGeluTanh, {});
    if (s_.direction == Direction::kForward) return;
    gated_activation_backward<T>(ctx_, dab_.slice_cols(0, s_.f), dab_.slice_cols(s_.f, s_.f), dy_, a, b,
                                 ActivationKind::kGeluTanh, {}, Accumulate::kOverwrite);
  }

 private:
  Context& ctx_;
  GateShape s_;
  View<T, 2> ab_, dy_, y_, dab_;
};

const bool registered = [] {
  for (const Direction d : bench::kDirections) {
    const std::string direction = bench::direction_name(d);
    bench::add_device<FeedForward, bfloat16>("feed_forward/" + direction, Shape{16384, 768, 2048, d},
                                             Shape{48, 64, 96, d}, 4e-2);
    bench::add_device<Gate, bfloat16>("gated_gelu/" + direction, GateShape{16384, 2048, d}, GateShape{48, 96, d});
  }
  return true;
}();

}  // namespace
