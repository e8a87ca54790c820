// Three InfoNCE losses of a GAL step on a device, forward and backward (goal G8): a queue of MoCo's size, and the
// default of 512. FLOP/s counts 2 NQC forward and 4 NQC backward for each loss.
#include "bench/support/device_bench.h"
#include "kernels/info_nce/info_nce.h"

namespace {

using namespace galrec;

constexpr int kLosses = 3;

struct Shape {
  std::int64_t n, c, q;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c) + ",Q:" + std::to_string(q); }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = kLosses * static_cast<double>(q * c) * bench::kSize<T>,
            .flops = kLosses * 6 * static_cast<double>(n * c) * static_cast<double>(q),
            .tensor_cores = sizeof(T) == 2};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()), dloss_(m.keep(std::vector<Acc<T>>{Acc<T>(1)})) {
    // Entries of at most sqrt(3 / C): rows of about unit length.
    const double unit = std::sqrt(3.0 / static_cast<double>(s.c));
    for (Loss& l : losses_) {
      l.anchor = m.template in<T>(s.n, s.c, unit);
      l.positive = m.template in<T>(s.n, s.c, unit);
      l.queue = m.template in<T>(s.q, s.c, unit);
      l.queue_ids = m.ids(s.q, 22363);
      l.own_ids = m.ids(s.n, 22363);
      l.loss = m.template out<Acc<T>>(1);
      l.losses = m.template out<Acc<T>>(s.n);
      l.lse = m.template out<Acc<T>>(s.n);
      l.score = m.template out<Acc<T>>(s.n);
      l.hardest = m.template out<Acc<T>>(s.n);
      l.danchor = m.template out<T>(s.n, s.c);
      l.dpositive = m.template out<T>(s.n, s.c);
    }
  }
  void run() {
    for (const Loss& l : losses_) {
      info_nce_forward<T>(ctx_, l.loss, l.losses, l.lse, l.score, l.hardest, l.anchor, l.positive, l.queue, l.queue_ids,
                          l.own_ids, kTau);
    }
    for (const Loss& l : losses_) {
      info_nce_backward<T>(ctx_, l.danchor, l.dpositive, dloss_, l.anchor, l.positive, l.queue, l.queue_ids, l.own_ids,
                           l.lse, kTau, Accumulate::kOverwrite, Accumulate::kOverwrite);
    }
  }

 private:
  static constexpr double kTau = 0.07;
  struct Loss {
    View<T, 2> anchor, positive, queue, danchor, dpositive;
    View<std::int32_t, 1> queue_ids, own_ids;
    View<Acc<T>, 1> loss, losses, lse, score, hardest;
  };
  Context& ctx_;
  View<Acc<T>, 1> dloss_;
  Loss losses_[kLosses];
};

const bool registered = [] {
  const Shape tiny{16, 64, 96};
  bench::add_device<Problem, bfloat16>("info_nce_3/both", Shape{256, 768, 65536}, tiny);
  if (!bench::device_is_emulated()) bench::add_device<Problem, bfloat16>("info_nce_3/both", Shape{256, 768, 512}, tiny);
  bench::add_device<Problem, float>("info_nce_3/both", Shape{256, 768, 65536}, tiny, 1e-3);
  return true;
}();

}  // namespace
