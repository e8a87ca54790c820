// Plain products of a T5-base step on a device, and a large square one: the ceiling that other benchmarks are read
// against.
#include "bench/support/device_bench.h"
#include "kernels/gemm/gemm.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t m, n, k;
  std::string text() const { return "M:" + std::to_string(m) + ",N:" + std::to_string(n) + ",K:" + std::to_string(k); }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = static_cast<double>(m * k + n * k + m * n) * bench::kSize<T>,
            .flops = 2 * static_cast<double>(m * n) * static_cast<double>(k),
            .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        a_(m.template in<T>(s.m, s.k)),
        b_(m.template in<T>(s.n, s.k)),
        c_(m.template out<T>(s.m, s.n)) {}
  void run() { gemm<T>(ctx_, c_, a_, b_, {.b = Transpose::kYes}); }

 private:
  Context& ctx_;
  View<T, 2> a_, b_, c_;
};

const bool registered = [] {
  const Shape tiny{48, 72, 64};
  bench::add_device<Problem, bfloat16>("gemm_qkv/forward", Shape{16384, 2304, 768}, tiny);
  bench::add_device<Problem, bfloat16>("gemm_square/forward", Shape{8192, 8192, 8192}, tiny);
  bench::add_device<Problem, float>("gemm_qkv/forward", Shape{16384, 2304, 768}, tiny);
  return true;
}();

}  // namespace
