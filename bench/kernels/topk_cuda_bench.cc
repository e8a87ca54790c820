// Full ranking of all of Beauty's users on a device (goal G12): 22,363 queries, 34,464 candidates, the best 20, nine
// seen items a user.
#include "bench/support/device_bench.h"
#include "kernels/topk/topk.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t n, v, c, k;
  std::string text() const {
    return "N:" + std::to_string(n) + ",V:" + std::to_string(v) + ",C:" + std::to_string(c) + ",K:" + std::to_string(k);
  }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = static_cast<double>((n + v) * c) * bench::kSize<T> + static_cast<double>(n * k) * 8,
            .flops = 2 * static_cast<double>(n * c) * static_cast<double>(v),
            .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        queries_(m.template in<T>(s.n, s.c)),
        items_(m.template in<T>(s.v, s.c)),
        scores_(m.template out<Acc<T>>(s.n, s.k)),
        indices_(m.template work<std::int32_t>(s.n, s.k)),
        seen_(m.ids(s.n * kSeen, s.v)) {
    std::vector<std::int32_t> row_ptr;
    for (std::int64_t i = 0; i <= s.n; ++i) row_ptr.push_back(static_cast<std::int32_t>(kSeen * i));
    row_ptr_ = m.keep(row_ptr);
  }
  void run() { top_k<T>(ctx_, indices_, scores_, queries_, items_, {}, {row_ptr_, seen_}); }

 private:
  static constexpr std::int64_t kSeen = 9;
  Context& ctx_;
  View<T, 2> queries_, items_;
  View<Acc<T>, 2> scores_;
  View<std::int32_t, 2> indices_;
  View<std::int32_t, 1> seen_, row_ptr_;
};

const bool registered = [] {
  bench::add_device<Problem, bfloat16>("top_k/forward", Shape{22363, 34464, 768, 20}, Shape{48, 300, 64, 5}, 1e-3);
  bench::add_device<Problem, float>("top_k/forward", Shape{22363, 34464, 64, 20}, Shape{48, 300, 64, 5});
  return true;
}();

}  // namespace
