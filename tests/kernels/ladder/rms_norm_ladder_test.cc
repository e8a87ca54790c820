// Every rung of the ladder of RMSNorm against the CPU in double, on inputs rounded to their storage first.

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "kernels/rms_norm/ladder/rms_norm_ladder.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

constexpr double kEps = 1e-6;

struct Problem {
  std::int64_t rows, cols;
  std::vector<double> x, residual, weight;

  Problem(std::int64_t n, std::int64_t c)
      : rows(n),
        cols(c),
        x(test::quantized<bfloat16>(test::random_normal<double>(n * c, 1))),
        residual(test::random_normal<double>(n * c, 2)),
        weight(test::random_normal<double>(c, 3)) {}
};

struct Result {
  std::vector<double> y, sum;
};

Result oracle(const Problem& p) {
  CpuContext ctx(2);
  std::vector<double> y(p.x.size()), sum(p.x.size()), rstd(static_cast<std::size_t>(p.rows));
  rms_norm_forward<double>(ctx, view_of(y, p.rows, p.cols), view_of(sum, p.rows, p.cols), view_of(rstd),
                           view_of(p.x, p.rows, p.cols), view_of(p.residual, p.rows, p.cols), view_of(p.weight), {.eps = kEps});
  return {y, sum};
}

Result run(CudaContext& ctx, const ladder::Rung<ladder::RmsNorm>& rung, const Problem& p, std::int64_t gap) {
  Staged<bfloat16> x(ctx, p.rows, p.cols, p.x, gap), y(ctx, p.rows, p.cols, gap);
  Staged<float> residual(ctx, p.rows, p.cols, p.residual, gap), sum(ctx, p.rows, p.cols, gap), weight(ctx, 1, p.cols, p.weight);
  rung.run(ctx, y, sum, x, residual, weight.vector(), static_cast<float>(kEps));
  ctx.synchronize();
  return {y.doubles(), sum.doubles()};
}

class RmsNormLadderCuda : public testing::TestWithParam<ladder::Rung<ladder::RmsNorm>> {};

TEST_P(RmsNormLadderCuda, EqualsTheOracleOnHostileExtents) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  using Extents = std::pair<std::int64_t, std::int64_t>;
  for (const auto& [rows, cols] : {Extents{1, 1}, Extents{31, 33}, Extents{33, 31}, Extents{1, 769}, Extents{127, 8},
                                   Extents{257, 127}, Extents{5, 768}, Extents{3, 1028}}) {
    for (const std::int64_t gap : {8, 3}) {
      const Problem p(rows, cols);
      const Result expected = oracle(p), got = run(ctx, GetParam(), p, gap);
      const std::string what = fmt::format("{} {} x {} gap {}", GetParam().name, rows, cols, gap);
      test::expect_close(got.y, expected.y, test::Tolerance<bfloat16>::kRelative, what + " y");
      test::expect_close(got.sum, expected.sum, test::Tolerance<float>::kRelative, what + " sum");
    }
  }
}

TEST_P(RmsNormLadderCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const Problem p(130, 300);
  const Result first = run(ctx, GetParam(), p, 8);
  test::for_each_schedule([&](const std::string& schedule) {
    const Result again = run(ctx, GetParam(), p, 8);
    test::expect_same_bits(again.y, first.y, schedule);
    test::expect_same_bits(again.sum, first.sum, schedule);
  });
}

TEST_P(RmsNormLadderCuda, OperandsThatDoNotFitAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  Staged<bfloat16> x(ctx, 4, 8), y(ctx, 4, 8);
  Staged<float> residual(ctx, 4, 7), sum(ctx, 4, 8), weight(ctx, 1, 8);
  EXPECT_THROW(GetParam().run(ctx, y, sum, x, residual, weight.vector(), 1e-6f), CheckError);
}

INSTANTIATE_TEST_SUITE_P(Rungs, RmsNormLadderCuda, testing::ValuesIn(ladder::kRmsNormRungs),
                         [](const auto& info) { return "rung" + std::to_string(info.index + 1); });

}  // namespace
}  // namespace galrec
