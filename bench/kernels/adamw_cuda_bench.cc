// One optimiser step of T5-base's size on a device (goal G9): gradient norm, clipping, AdamW, the average, both bf16
// shadows. Floor: 24 bytes an element of p, m, v, 8 of the average, 8 of the gradient (read by the norm too), 4 of
// shadows.
#include "bench/support/device_bench.h"
#include "kernels/adamw/adamw.h"

namespace {

using namespace galrec;

struct Shape {
  std::int64_t parameters;
  std::string text() const { return "P:" + std::to_string(parameters); }
  template <class T>
  bench::Floor floor() const {
    return {.bytes = 44.0 * static_cast<double>(parameters)};
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        p_(m.template in<T>(s.parameters)),
        g_(m.template in<T>(s.parameters)),
        m_(m.template in<T>(s.parameters, 0.5)),
        v_(m.template positive<T>(s.parameters, 0.25)),
        ema_(m.template in<T>(s.parameters)),
        shadows_{m.template out<bfloat16>(s.parameters), m.template out<bfloat16>(s.parameters)},
        sum_(m.template work<double>(1)) {
    for (const auto& view : {p_, m_, v_, ema_}) m.compare(view.data, s.parameters);
    // A transformer's sizes: a matrix, a weight of a norm that does not decay, and so on.
    std::vector<AdamWSpan> spans;
    for (std::int64_t at = 0, i = 0; at < s.parameters; ++i) {
      const std::int64_t size = std::min<std::int64_t>(s.parameters - at, i % 2 == 0 ? 589824 : 768);
      spans.push_back({.offset = at, .size = size, .decay = i % 2 == 0, .ema_offset = at});
      at += size;
    }
    spans_ = m.keep(spans);
  }
  void run() {
    sum_of_squares<T>(ctx_, sum_, g_);
    adamw_step<T>(
        ctx_, p_, m_, v_, ema_, shadows_, g_, spans_,
        {.lr = 1e-3, .weight_decay = 0.01, .max_norm = 1, .ema_momentum = 0.99, .step = 10, .square_sum = sum_});
  }

 private:
  Context& ctx_;
  View<T, 1> p_, g_, m_, v_, ema_;
  AdamWShadows shadows_;
  View<double, 1> sum_;
  View<AdamWSpan, 1> spans_;
};

// A bf16 shadow may round the other way than the oracle's: one unit in the last place.
const bool registered = [] {
  bench::add_device<Problem, float>("adamw_clip_ema/step", Shape{248'000'000}, Shape{6000}, 4e-3);
  return true;
}();

}  // namespace
