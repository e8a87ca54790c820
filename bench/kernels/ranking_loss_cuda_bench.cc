// BPR at LightGCN's batch on a device, forward and backward.
#include "bench/support/device_bench.h"
#include "kernels/ranking_loss/ranking_loss.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t n, c;
  std::string text() const { return "N:" + std::to_string(n) + ",C:" + std::to_string(c); }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = 9 * bench::kSize<T> * static_cast<double>(n * c)};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        x_(m.template in<T>(s.n, s.c)),
        p_(m.template in<T>(s.n, s.c)),
        n_(m.template in<T>(s.n, s.c)),
        dx_(m.template out<T>(s.n, s.c)),
        dp_(m.template out<T>(s.n, s.c)),
        dn_(m.template out<T>(s.n, s.c)),
        dloss_(m.keep(std::vector<Acc<T>>{Acc<T>(1)})),
        loss_(m.template out<Acc<T>>(1)),
        plus_(m.template out<Acc<T>>(s.n)),
        minus_(m.template out<Acc<T>>(s.n)) {}
  void run() {
    ranking_loss_forward<T>(ctx_, loss_, plus_, minus_, x_, p_, n_, RankingLossKind::kBpr);
    ranking_loss_backward<T>(ctx_, dx_, dp_, dn_, dloss_, x_, p_, n_, plus_, minus_, RankingLossKind::kBpr,
                             Accumulate::kOverwrite);
  }

 private:
  Context& ctx_;
  View<T, 2> x_, p_, n_, dx_, dp_, dn_;
  View<Acc<T>, 1> dloss_, loss_, plus_, minus_;
};

const bool registered = [] {
  bench::add_device<Problem, float>("bpr/both", Shape{2048, 64}, Shape{40, 64});
  bench::add_device<Problem, bfloat16>("bpr/both", Shape{12800, 64}, Shape{40, 64});
  return true;
}();

}  // namespace
