// Mean pooling of packed prompts and normalisation of the pooled rows on a device, forward and backward.
#include "bench/support/device_bench.h"
#include "kernels/pooling/pooling.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t segments, length, c;
  std::string text() const {
    return "S:" + std::to_string(segments) + ",L:" + std::to_string(length) + ",C:" + std::to_string(c);
  }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = bench::kSize<T> * static_cast<double>(segments * c) * static_cast<double>(2 * length + 7)};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        x_(m.template in<T>(s.segments * s.length, s.c)),
        dunit_(m.template in<T>(s.segments, s.c)),
        pooled_(m.template out<T>(s.segments, s.c)),
        unit_(m.template out<T>(s.segments, s.c)),
        dpooled_(m.template out<T>(s.segments, s.c)),
        dx_(m.template out<T>(s.segments * s.length, s.c)),
        norm_(m.template out<Acc<T>>(s.segments)) {
    std::vector<std::int32_t> cu;
    for (std::int64_t i = 0; i <= s.segments; ++i) cu.push_back(static_cast<std::int32_t>(i * s.length));
    cu_ = m.keep(cu);
  }
  void run() {
    segment_mean_forward<T>(ctx_, pooled_, x_, cu_);
    l2_normalize_forward<T>(ctx_, unit_, norm_, pooled_);
    l2_normalize_backward<T>(ctx_, dpooled_, dunit_, unit_, norm_, Accumulate::kOverwrite);
    segment_mean_backward<T>(ctx_, dx_, dpooled_, cu_, Accumulate::kOverwrite);
  }

 private:
  Context& ctx_;
  View<T, 2> x_, dunit_, pooled_, unit_, dpooled_, dx_;
  View<Acc<T>, 1> norm_;
  View<std::int32_t, 1> cu_;
};

const bool registered = [] {
  bench::add_device<Problem, bfloat16>("pool_and_normalize/both", Shape{384, 96, 768}, Shape{5, 9, 64}, 4e-2);
  bench::add_device<Problem, float>("pool_and_normalize/both", Shape{384, 96, 768}, Shape{5, 9, 64});
  return true;
}();

}  // namespace
