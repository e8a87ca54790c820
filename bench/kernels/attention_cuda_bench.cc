// Attention with T5's bias and its gradient on a device: 64 and 256 sequences of one length (goals G1, G3, G4) and
// packed ragged ones (G2). FLOP/s counts the 2 (forward) and 5 (backward) matrix products.
#include "bench/support/device_bench.h"
#include "bench/support/t5_buckets.h"
#include "kernels/attention/attention.h"

namespace {

using namespace galrec;
using bench::Direction;

constexpr std::int64_t kDim = 64;
// Lengths of hop prompts and histories, cut to 32 … 512; bench/peers/attention_packed.py has the same.
const std::vector<std::int32_t> kLengths = {33, 41, 45, 58, 64, 77, 96, 118, 137, 171, 186, 233, 288, 352, 420, 512};

struct Shape {
  std::string extents;
  std::vector<std::int32_t> lengths;
  std::int64_t heads;
  Direction direction;
  std::string text() const { return extents; }
  std::int64_t tokens() const {
    std::int64_t sum = 0;
    for (const auto n : lengths) sum += n;
    return sum;
  }
  template <class T>
  bench::Floor floor() const {
    double pairs = 0;
    for (const auto n : lengths) pairs += static_cast<double>(n) * n;
    const double product = 2 * pairs * static_cast<double>(heads * kDim),
                 matrix = static_cast<double>(tokens() * heads * kDim) * bench::kSize<T>;
    const double lse = static_cast<double>(tokens() * heads) * 4;
    bench::Floor f{.tensor_cores = sizeof(T) == 2};
    if (direction != Direction::kBackward) f.bytes += 4 * matrix + lse, f.flops += 2 * product;  // q k v, o
    if (direction != Direction::kForward) f.bytes += 8 * matrix + lse, f.flops += 5 * product;   // q k v o do, dq dk dv
    return f;
  }
};

template <class Context, class T>
class Problem {
 public:
  Problem(bench::ProblemMemory<Context>& m, const Shape& s)
      : ctx_(m.context()),
        direction_(s.direction),
        width_(s.heads * kDim),
        qkv_(m.template in<T>(s.tokens(), 3 * width_)),
        dout_(m.template in<T>(s.tokens(), width_)),
        table_(m.template in<Acc<T>>(32, s.heads)),
        o_(m.template out<T>(s.tokens(), width_)),
        dqkv_(m.template out<T>(s.tokens(), 3 * width_)),
        lse_(m.template out<Acc<T>>(s.tokens(), s.heads)),
        dtable_(m.template out<Acc<T>>(32, s.heads)),
        index_(m.keep(bench::t5_bucket_index())) {
    std::vector<std::int32_t> offsets{0};
    for (const auto n : s.lengths) offsets.push_back(offsets.back() + n);
    cu_ = m.keep(offsets);
    // 1/8 keeps the softmax of these random rows as flat as a trained model's.
    options_ = {.heads = static_cast<int>(s.heads), .scale = 0.125};
    if (direction_ == Direction::kBackward) forward();
  }
  void run() {
    if (direction_ != Direction::kBackward) forward();
    if (direction_ != Direction::kForward) backward();
  }

 private:
  View<T, 2> part(View<T, 2> x, std::int64_t i) const { return x.slice_cols(i * width_, width_); }
  void forward() {
    attention_forward<T>(ctx_, o_, lse_, part(qkv_, 0), part(qkv_, 1), part(qkv_, 2), cu_, cu_, table_, {index_},
                         options_);
  }
  void backward() {
    attention_backward<T>(ctx_, part(dqkv_, 0), part(dqkv_, 1), part(dqkv_, 2), dtable_, dout_, part(qkv_, 0),
                          part(qkv_, 1), part(qkv_, 2), o_, lse_, cu_, cu_, table_, {index_}, options_,
                          Accumulate::kOverwrite, Accumulate::kOverwrite);
  }

  Context& ctx_;
  Direction direction_;
  std::int64_t width_;
  View<T, 2> qkv_, dout_;
  View<Acc<T>, 2> table_;
  View<T, 2> o_, dqkv_;
  View<Acc<T>, 2> lse_, dtable_;
  View<std::int32_t, 1> index_, cu_;
  AttentionOptions options_;
};

Shape equal(std::int32_t batch, std::int32_t length, std::int64_t heads, Direction d) {
  return {"B:" + std::to_string(batch) + ",S:" + std::to_string(length) + ",H:" + std::to_string(heads),
          std::vector<std::int32_t>(static_cast<std::size_t>(batch), length), heads, d};
}

Shape packed(int repeats, std::int64_t heads, Direction d, std::int32_t divisor) {
  Shape s{"repeats:" + std::to_string(repeats) + ",H:" + std::to_string(heads), {}, heads, d};
  for (int r = 0; r < repeats; ++r)
    for (const auto n : kLengths) s.lengths.push_back(n / divisor);
  return s;
}

const bool registered = [] {
  for (const Direction d : bench::kDirections) {
    const std::string direction = bench::direction_name(d);
    bench::add_device<Problem, bfloat16>("attention_bias/" + direction, equal(64, 512, 12, d), equal(2, 32, 2, d));
    bench::add_device<Problem, bfloat16>("attention_bias_short/" + direction, equal(256, 128, 12, d),
                                         equal(2, 16, 2, d));
    bench::add_device<Problem, bfloat16>("attention_packed/" + direction, packed(12, 12, d, 1), packed(1, 2, d, 16));
  }
  bench::add_device<Problem, float>("attention_bias/both", equal(64, 512, 12, Direction::kBoth),
                                    equal(2, 32, 2, Direction::kBoth));
  return true;
}();

}  // namespace
