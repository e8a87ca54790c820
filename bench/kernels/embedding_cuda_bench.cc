// Look-up and gradient of T5's vocabulary at T5-base's width on a device (goal G10). Half of the positions repeat 40
// template words, half are spread evenly; bench/peers/embedding.py draws alike.
#include "bench/support/device_bench.h"
#include "kernels/embedding/embedding.h"

namespace {

using namespace galrec;
using bench::Direction;

struct Shape {
  std::int64_t n, v, c;
  Direction direction;
  std::string text() const { return "N:" + std::to_string(n) + ",V:" + std::to_string(v) + ",C:" + std::to_string(c); }
  template <class T>
  bench::Floor floor() const {
    // Forward: half of the rows are looked up for the first time. Backward: dy once, the dense gradient once.
    const double rows = static_cast<double>(n * c);
    return {.bytes = direction == Direction::kForward ? rows * (bench::kSize<T> + 2)
                                                      : rows * bench::kSize<T> + 4 * static_cast<double>(v * c)};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        direction_(s.direction),
        table_(m.template in<Acc<T>>(s.v, s.c)),
        dy_(m.template in<T>(s.n, s.c)),
        y_(m.template out<T>(s.n, s.c)),
        dtable_(m.template out<Acc<T>>(s.v, s.c)) {
    PhiloxStream stream({.seed = 3});
    std::vector<std::int32_t> ids(static_cast<std::size_t>(s.n));
    for (auto& id : ids)
      id = static_cast<std::int32_t>(stream.below(stream.next_u32() % 2 ? 40 : static_cast<std::uint64_t>(s.v)));
    ids_ = m.keep(ids);
  }
  void run() {
    if (direction_ == Direction::kForward)
      embedding_forward<T>(ctx_, y_, table_, ids_, Accumulate::kOverwrite);
    else
      embedding_backward<T>(ctx_, dtable_, dy_, ids_, Accumulate::kOverwrite);
  }

 private:
  Context& ctx_;
  Direction direction_;
  View<Acc<T>, 2> table_;
  View<T, 2> dy_, y_;
  View<Acc<T>, 2> dtable_;
  View<std::int32_t, 1> ids_;
};

const bool registered = [] {
  for (const Direction d : {Direction::kForward, Direction::kBackward}) {
    bench::add_device<Problem, bfloat16>("embedding/" + bench::direction_name(d), Shape{16384, 32128, 768, d},
                                         Shape{96, 64, 64, d});
  }
  return true;
}();

}  // namespace
