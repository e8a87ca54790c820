#include "kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/compare.h"
#include "tests/support/finite_difference.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"

namespace galrec {
namespace {

using Lengths = std::vector<std::int64_t>;

struct Case {
  std::string name;
  Lengths queries, keys;
  std::int64_t heads, dim;
  AttentionMask mask = AttentionMask::kNone;
  bool bias = true;
  double dropout = 0;
  double scale = 1.0;
  std::int64_t reach = 40, buckets = 7;  // distances clamp at `reach`
};

std::vector<std::int32_t> offsets(const Lengths& lengths) {
  std::vector<std::int32_t> cu = {0};
  for (auto n : lengths) cu.push_back(cu.back() + static_cast<std::int32_t>(n));
  return cu;
}

// Everything one case needs, in T, from the same numbers for every T. q, k, v are columns of one wide matrix.
template <class T>
struct Problem {
  Case c;
  std::vector<std::int32_t> cu_q, cu_k, index;
  std::int64_t tq, tk, width, gap = 3;
  std::vector<T> q, k, v, table, dout;  // q, k, v with `gap` more elements per row

  explicit Problem(const Case& from, std::uint64_t seed = 1) : c(from), cu_q(offsets(from.queries)), cu_k(offsets(from.keys)) {
    tq = cu_q.back();
    tk = cu_k.back();
    width = c.heads * c.dim;
    const double unit = 1.0 / std::sqrt(std::sqrt(static_cast<double>(c.dim)));  // scores of order one
    q = test::random_normal<T>(tq * (width + gap), seed, unit);
    k = test::random_normal<T>(tk * (width + gap), seed + 1, unit);
    v = test::random_normal<T>(tk * (width + gap), seed + 2);
    dout = test::random_normal<T>(tq * width, seed + 3);
    if (!c.bias) return;
    table = test::random_normal<T>(c.buckets * c.heads, seed + 4);
    for (std::int64_t d = -c.reach; d <= c.reach; ++d) index.push_back(static_cast<std::int32_t>((d + 2 * c.reach) * 5 % c.buckets));
  }
  View<const T, 2> rows(const std::vector<T>& x, std::int64_t n) const { return View<const T, 2>(x.data(), {n, width}, {width + gap, 1}); }
  View<const T, 2> table_view() const {
    return c.bias ? View<const T, 2>(table.data(), {c.buckets, c.heads}) : View<const T, 2>();
  }
  RelativeBuckets buckets() const { return {View<const std::int32_t, 1>(index.data(), {static_cast<std::int64_t>(index.size())})}; }
  AttentionOptions options() const {
    return {.heads = static_cast<int>(c.heads), .scale = c.scale, .mask = c.mask, .dropout = {.rate = c.dropout, .key = {.seed = 77, .step = 5, .stream = 9}}};
  }
  View<const std::int32_t, 1> q_offsets() const { return view_of(cu_q); }
  View<const std::int32_t, 1> k_offsets() const { return view_of(cu_k); }
};

template <class T>
struct Output {
  std::vector<T> o, lse;
};
template <class T>
struct Gradients {
  std::vector<T> dq, dk, dv, dtable;
};

template <class T>
Output<T> forward(const Problem<T>& p, int threads = 2) {
  CpuContext ctx(threads);
  test::Guarded<T> o(p.tq * p.width), lse(p.tq * p.c.heads);
  attention_forward<T>(ctx, o.matrix(p.tq, p.width), lse.matrix(p.tq, p.c.heads), p.rows(p.q, p.tq), p.rows(p.k, p.tk), p.rows(p.v, p.tk),
                       p.q_offsets(), p.k_offsets(), p.table_view(), p.buckets(), p.options());
  return {o.values(), lse.values()};
}

template <class T>
Gradients<T> backward(const Problem<T>& p, const Output<T>& saved, int threads = 2, const Gradients<T>* start = nullptr) {
  CpuContext ctx(threads);
  const std::vector<T> poison(static_cast<std::size_t>(std::max(p.tq, p.tk) * p.width + 999), std::numeric_limits<T>::quiet_NaN());
  const auto first = [&](std::int64_t n) { return std::vector<T>(poison.begin(), poison.begin() + n); };
  test::Guarded<T> dq(start ? start->dq : first(p.tq * p.width)), dk(start ? start->dk : first(p.tk * p.width)),
      dv(start ? start->dv : first(p.tk * p.width)), dtable(start ? start->dtable : first(static_cast<std::int64_t>(p.table.size())));
  const auto accumulate = start ? Accumulate::kAdd : Accumulate::kOverwrite;
  const auto dense = [&](const std::vector<T>& x, std::int64_t rows, std::int64_t cols) { return View<const T, 2>(x.data(), {rows, cols}); };
  attention_backward<T>(ctx, dq.matrix(p.tq, p.width), dk.matrix(p.tk, p.width), dv.matrix(p.tk, p.width),
                        p.c.bias ? dtable.matrix(p.c.buckets, p.c.heads) : View<T, 2>(), dense(p.dout, p.tq, p.width), p.rows(p.q, p.tq),
                        p.rows(p.k, p.tk), p.rows(p.v, p.tk), dense(saved.o, p.tq, p.width), dense(saved.lse, p.tq, p.c.heads), p.q_offsets(),
                        p.k_offsets(), p.table_view(), p.buckets(), p.options(), accumulate, accumulate);
  return {dq.values(), dk.values(), dv.values(), dtable.values()};
}

// Keep or drop by the definition: 16 bits of Philox, element by element.
double multiplier(const Dropout& dropout, std::uint64_t element) {
  if (!dropout.active()) return 1.0;
  const auto words = philox(dropout.key, element / 8);
  const std::uint32_t bits = words[element % 8 / 2] >> (16 * (element % 2)) & 0xffffu;
  return bits < dropout.threshold() ? 0.0 : dropout.scale();
}

// The definition in plain loops: output, lse and all gradients, one (sequence, head, query) at a time.
struct Naive {
  Output<double> output;
  Gradients<double> gradients;

  explicit Naive(const Problem<double>& p) {
    const auto& c = p.c;
    const auto options = p.options();
    output.o.assign(p.tq * p.width, 0);
    output.lse.assign(p.tq * c.heads, -INFINITY);
    gradients.dq.assign(p.tq * p.width, 0);
    gradients.dk.assign(p.tk * p.width, 0);
    gradients.dv.assign(p.tk * p.width, 0);
    gradients.dtable.assign(p.table.size(), 0);
    const std::int64_t ld = p.width + p.gap;
    for (std::size_t b = 0; b < c.queries.size(); ++b) {
      for (std::int64_t h = 0; h < c.heads; ++h) {
        for (std::int64_t i = 0; i < c.queries[b]; ++i) {
          const std::int64_t token = p.cu_q[b] + i;
          const std::int64_t n = c.mask == AttentionMask::kCausal ? std::min(i + 1, c.keys[b]) : c.keys[b];
          if (n == 0) continue;
          std::vector<double> s(n), m(n);
          std::vector<std::int64_t> slot(n, -1);
          double sum = 0;
          for (std::int64_t j = 0; j < n; ++j) {
            for (std::int64_t d = 0; d < c.dim; ++d) s[j] += p.q[token * ld + h * c.dim + d] * p.k[(p.cu_k[b] + j) * ld + h * c.dim + d];
            s[j] *= c.scale;
            if (c.bias) {
              slot[j] = p.index[std::clamp(j - i, -c.reach, c.reach) + c.reach] * c.heads + h;
              s[j] += p.table[slot[j]];
            }
            m[j] = multiplier(options.dropout, static_cast<std::uint64_t>((token * c.heads + h) * 4096 + j));
            sum += std::exp(s[j]);
          }
          output.lse[token * c.heads + h] = std::log(sum);
          double mean = 0;
          std::vector<double> prob(n), dprob(n);
          for (std::int64_t j = 0; j < n; ++j) {
            prob[j] = std::exp(s[j]) / sum;
            for (std::int64_t d = 0; d < c.dim; ++d) {
              const double value = p.v[(p.cu_k[b] + j) * ld + h * c.dim + d], grad = p.dout[token * p.width + h * c.dim + d];
              output.o[token * p.width + h * c.dim + d] += prob[j] * m[j] * value;
              gradients.dv[(p.cu_k[b] + j) * p.width + h * c.dim + d] += prob[j] * m[j] * grad;
              dprob[j] += m[j] * value * grad;
            }
            mean += prob[j] * dprob[j];
          }
          for (std::int64_t j = 0; j < n; ++j) {
            const double ds = prob[j] * (dprob[j] - mean);
            if (c.bias) gradients.dtable[slot[j]] += ds;
            for (std::int64_t d = 0; d < c.dim; ++d) {
              gradients.dq[token * p.width + h * c.dim + d] += c.scale * ds * p.k[(p.cu_k[b] + j) * ld + h * c.dim + d];
              gradients.dk[(p.cu_k[b] + j) * p.width + h * c.dim + d] += c.scale * ds * p.q[token * ld + h * c.dim + d];
            }
          }
        }
      }
    }
  }
};

std::vector<Case> cases() {
  const auto causal = AttentionMask::kCausal;
  std::vector<Case> out = {
      {"self ragged", {0, 1, 31, 33, 127, 3, 3, 3}, {0, 1, 31, 33, 127, 3, 3, 3}, 4, 32},
      {"self dropout", {5, 64, 0, 127, 1}, {5, 64, 0, 127, 1}, 2, 64, AttentionMask::kNone, true, 0.2},
      {"self long", {257, 40}, {257, 40}, 2, 64, AttentionMask::kNone, true, 0.1},
      {"strips", {600}, {600}, 1, 32, AttentionMask::kNone, true, 0.1, 1.0, 128, 32},
      {"causal", {50, 1, 33, 0, 130}, {50, 1, 33, 0, 130}, 2, 32, causal, true},
      {"causal strips dropout", {560}, {560}, 1, 31, causal, true, 0.3},
      {"causal uneven", {40, 3, 20}, {9, 40, 20}, 2, 8, causal, false},
      {"cross", {1, 1, 2, 0, 7}, {40, 0, 127, 5, 33}, 4, 64, AttentionMask::kNone, false, 0.1},
      {"cross one query many keys", {1}, {2100}, 1, 32, AttentionMask::kNone, false},
      {"many queries few keys", {700}, {2}, 2, 32, AttentionMask::kNone, true},
      {"scaled", {33, 70}, {33, 70}, 2, 32, AttentionMask::kNone, false, 0, 0.176},
      {"no keys at all", {3, 2}, {0, 0}, 2, 8, AttentionMask::kNone, true},
      {"no queries at all", {0, 0}, {4, 2}, 2, 8, AttentionMask::kNone, true},
      {"empty batch", {}, {}, 2, 8, AttentionMask::kNone, false},
  };
  for (std::int64_t dim : {1, 8, 31, 64, 128}) out.push_back({fmt::format("dim {}", dim), {33, 2, 65}, {33, 2, 65}, 3, dim, AttentionMask::kNone, true, 0.25});
  return out;
}

// lse may be -inf (no keys): compared exactly there.
template <class T>
void expect_lse(const std::vector<T>& actual, const std::vector<double>& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isinf(expected[i])) {
      EXPECT_EQ(static_cast<double>(actual[i]), expected[i]) << what << " " << i;
    } else {
      EXPECT_TRUE(std::abs(static_cast<double>(actual[i]) - expected[i]) <= tolerance * (1 + std::abs(expected[i]))) << what << " " << i << ": " << actual[i];
    }
  }
}

template <class T>
void expect_equals(const Case& c, const Output<double>& output, const Gradients<double>& gradients, double tolerance) {
  const Problem<T> p(c);
  const auto mine = forward(p);
  test::expect_close(mine.o, output.o, tolerance, c.name + ": o");
  expect_lse(mine.lse, output.lse, tolerance, c.name + ": lse");
  const auto grad = backward(p, mine);
  test::expect_close(grad.dq, gradients.dq, tolerance, c.name + ": dq");
  test::expect_close(grad.dk, gradients.dk, tolerance, c.name + ": dk");
  test::expect_close(grad.dv, gradients.dv, tolerance, c.name + ": dv");
  test::expect_close(grad.dtable, gradients.dtable, tolerance, c.name + ": dtable");
}

TEST(AttentionTest, DoubleEqualsTheDefinition) {
  for (const auto& c : cases()) {
    const Naive naive{Problem<double>(c)};
    expect_equals<double>(c, naive.output, naive.gradients, test::Tolerance<double>::kRelative);
  }
}

TEST(AttentionTest, FloatEqualsDouble) {
  for (const auto& c : cases()) {
    const Problem<double> p(c);
    const auto output = forward(p);
    expect_equals<float>(c, output, backward(p, output), test::Tolerance<float>::kRelative);
  }
}

TEST(AttentionTest, GradientsAreCentralDifferences) {
  for (double dropout : {0.0, 0.3}) {
    for (auto mask : {AttentionMask::kNone, AttentionMask::kCausal}) {
      Problem<double> p({"fd", {3, 0, 17, 6}, {3, 4, 17, 0}, 2, 8, mask, true, dropout, 0.7, 5, 4});
      const auto gradients = backward(p, forward(p));
      const auto objective = [&] {
        const auto o = forward(p).o;
        double sum = 0;
        for (std::size_t i = 0; i < o.size(); ++i) sum += o[i] * p.dout[i];
        return sum;
      };
      // The gradients are dense, the inputs have gaps: the gap's derivative is zero.
      const auto with_gaps = [&](const std::vector<double>& g) {
        std::vector<double> out;
        for (std::size_t i = 0; i < g.size(); ++i) {
          out.push_back(g[i]);
          if (static_cast<std::int64_t>(i) % p.width == p.width - 1) out.insert(out.end(), p.gap, 0.0);
        }
        return out;
      };
      test::expect_gradient(objective, p.q, with_gaps(gradients.dq), "dq");
      test::expect_gradient(objective, p.k, with_gaps(gradients.dk), "dk");
      test::expect_gradient(objective, p.v, with_gaps(gradients.dv), "dv");
      test::expect_gradient(objective, p.table, gradients.dtable, "dtable");
    }
  }
}

template <class T>
class AttentionTypedTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(AttentionTypedTest, Types);

TYPED_TEST(AttentionTypedTest, AccumulateAddsToWhatIsThere) {
  using T = TypeParam;
  for (const auto& c : cases()) {
    const Problem<T> p(c);
    const auto saved = forward(p);
    const auto fresh = backward(p, saved);
    const Gradients<T> start{test::random_normal<T>(p.tq * p.width, 21), test::random_normal<T>(p.tk * p.width, 22),
                             test::random_normal<T>(p.tk * p.width, 23), test::random_normal<T>(static_cast<std::int64_t>(p.table.size()), 24)};
    const auto added = backward(p, saved, 2, &start);
    const auto expect_sum = [&](const std::vector<T>& sum, const std::vector<T>& a, const std::vector<T>& b, const char* what) {
      std::vector<double> expected(a.size());
      for (std::size_t i = 0; i < a.size(); ++i) expected[i] = static_cast<double>(a[i]) + b[i];
      test::expect_close(sum, expected, sizeof(T) == 4 ? 1e-6 : 1e-14, c.name + ": " + what);
    };
    expect_sum(added.dq, start.dq, fresh.dq, "dq");
    expect_sum(added.dk, start.dk, fresh.dk, "dk");
    expect_sum(added.dv, start.dv, fresh.dv, "dv");
    expect_sum(added.dtable, start.dtable, fresh.dtable, "dtable");
  }
}

TYPED_TEST(AttentionTypedTest, BitsDoNotDependOnThreads) {
  using T = TypeParam;
  for (const auto& c : cases()) {
    const Problem<T> p(c);
    const auto first = forward(p, 1);
    const auto first_gradients = backward(p, first, 1);
    for (int threads : {2, 3, 4}) {
      const auto again = forward(p, threads);
      test::expect_same_bits(again.o, first.o, c.name + ": o");
      test::expect_same_bits(again.lse, first.lse, c.name + ": lse");
      const auto gradients = backward(p, again, threads);
      test::expect_same_bits(gradients.dq, first_gradients.dq, c.name + ": dq");
      test::expect_same_bits(gradients.dk, first_gradients.dk, c.name + ": dk");
      test::expect_same_bits(gradients.dv, first_gradients.dv, c.name + ": dv");
      test::expect_same_bits(gradients.dtable, first_gradients.dtable, c.name + ": dtable");
    }
  }
}

// A sequence's result does not depend on what else is in the batch: packing changes no bit (without dropout, whose
// elements count packed tokens).
TYPED_TEST(AttentionTypedTest, SequencesDoNotSeeEachOther) {
  using T = TypeParam;
  const Problem<T> p({"packed", {33, 3, 70}, {33, 3, 70}, 2, 32});
  const auto together = forward(p);
  for (std::size_t b = 0; b < 3; ++b) {
    Problem<T> alone({"alone", {p.c.queries[b]}, {p.c.keys[b]}, 2, 32});
    const std::int64_t ld = p.width + p.gap, first = p.cu_q[b], n = p.c.queries[b];
    alone.q.assign(p.q.begin() + first * ld, p.q.begin() + (first + n) * ld);
    alone.k.assign(p.k.begin() + first * ld, p.k.begin() + (first + n) * ld);
    alone.v.assign(p.v.begin() + first * ld, p.v.begin() + (first + n) * ld);
    alone.table = p.table;
    const auto o = forward(alone).o;
    test::expect_same_bits(o, std::vector<T>(together.o.begin() + first * p.width, together.o.begin() + (first + n) * p.width), "packed");
  }
}

// Scores far beyond e^88: the row maximum is exact, so nothing overflows and the largest key wins.
TYPED_TEST(AttentionTypedTest, HugeScoresDoNotOverflow) {
  using T = TypeParam;
  Problem<T> p({"huge", {20}, {20}, 1, 8, AttentionMask::kNone, false});
  for (auto& x : p.q) x *= T(200);
  for (auto& x : p.k) x *= T(200);
  const auto out = forward(p);
  const auto gradients = backward(p, out);
  for (const auto* x : {&out.o, &out.lse, &gradients.dq, &gradients.dk, &gradients.dv}) {
    for (T value : *x) ASSERT_TRUE(std::isfinite(value));
  }
}

TYPED_TEST(AttentionTypedTest, NaNReachesTheOutputOfItsSequenceOnly) {
  using T = TypeParam;
  Problem<T> p({"nan", {5, 20, 4}, {5, 20, 4}, 1, 8});
  p.k[(5 + 7) * (p.width + p.gap)] = std::numeric_limits<T>::quiet_NaN();
  const auto o = forward(p).o;
  for (std::int64_t t = 0; t < p.tq; ++t) EXPECT_EQ(std::isnan(o[t * p.width]), t >= 5 && t < 25) << t;
}

TYPED_TEST(AttentionTypedTest, RejectsWrongShapes) {
  using T = TypeParam;
  const Case good{"good", {4, 5}, {4, 5}, 2, 8};
  EXPECT_NO_THROW(forward(Problem<T>(good)));
  Problem<T> p(good);
  p.c.heads = 3;
  EXPECT_THROW(forward(p), CheckError);
  p = Problem<T>(good);
  p.cu_q[1] = 11;
  EXPECT_THROW(forward(p), CheckError);
  p = Problem<T>(good);
  p.cu_k.back() = 8;
  EXPECT_THROW(forward(p), CheckError);
  p = Problem<T>(good);
  p.cu_q[0] = 1;
  EXPECT_THROW(forward(p), CheckError);
  p = Problem<T>(good);
  p.index[3] = static_cast<std::int32_t>(p.c.buckets);
  EXPECT_THROW(forward(p), CheckError);
  EXPECT_THROW(forward(Problem<T>({"too long", {1}, {4097}, 1, 1})), CheckError);
  EXPECT_NO_THROW(forward(Problem<T>({"longest", {1}, {4096}, 1, 1})));
}

}  // namespace
}  // namespace galrec
