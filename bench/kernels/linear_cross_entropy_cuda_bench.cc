// The head of the recommendation loss on a device (goal G7): Beauty's 66,564 columns at T5-base's width. FLOP/s counts
// 2 NCV forward and 4 NCV backward; scratch_MB is the workspace.
#include "bench/support/device_bench.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"

namespace {

using namespace galrec;
using bench::Direction;

struct Shape {
  std::int64_t n, c, v;
  Direction direction;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c) + ",V:" + std::to_string(v); }
  template <class T>
  bench::Floor floor() const {
    const double products = direction == Direction::kForward ? 2 : direction == Direction::kBackward ? 4 : 6;
    const double weights =
        static_cast<double>(v * c) * (direction == Direction::kForward ? bench::kSize<T> : bench::kSize<T> + 4);
    return {.bytes = weights,
            .flops = products * static_cast<double>(n * c) * static_cast<double>(v),
            .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        direction_(s.direction),
        x_(m.template in<T>(s.n, s.c)),
        w_(m.template in<T>(s.v, s.c, 0.125)),
        targets_(m.ids(s.n, s.v)),
        dloss_(m.keep(std::vector<Acc<T>>{Acc<T>(1)})),
        loss_(m.template out<Acc<T>>(1)),
        losses_(m.template out<Acc<T>>(s.n)),
        lse_(m.template out<Acc<T>>(s.n)),
        dx_(m.template out<T>(s.n, s.c)),
        dw_(m.template out<Acc<T>>(s.v, s.c)) {
    if (direction_ == Direction::kBackward) forward();
  }
  void run() {
    if (direction_ != Direction::kBackward) forward();
    if (direction_ != Direction::kForward) backward();
  }

 private:
  void forward() { linear_cross_entropy_forward<T>(ctx_, loss_, losses_, lse_, x_, w_, {}, targets_, 1.0); }
  void backward() {
    linear_cross_entropy_backward<T>(ctx_, dx_, dw_, {}, dloss_, x_, w_, {}, targets_, lse_, 1.0,
                                     Accumulate::kOverwrite, Accumulate::kOverwrite);
  }

  Context& ctx_;
  Direction direction_;
  View<T, 2> x_, w_;
  View<std::int32_t, 1> targets_;
  View<Acc<T>, 1> dloss_, loss_, losses_, lse_;
  View<T, 2> dx_;
  View<Acc<T>, 2> dw_;
};

const bool registered = [] {
  for (const Direction d : bench::kDirections) {
    const std::string name = "linear_cross_entropy/" + bench::direction_name(d);
    bench::add_device<Problem, bfloat16>(name, Shape{4096, 768, 66564, d}, Shape{24, 64, 200, d});
    if (!bench::device_is_emulated())
      bench::add_device<Problem, bfloat16>(name, Shape{16384, 768, 66564, d}, Shape{24, 64, 200, d});
  }
  return true;
}();

}  // namespace
