// Every rung of the ladder of matrix products against the CPU in double, on operands rounded to bf16 first.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/gemm/ladder/gemm_ladder.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

struct Shape {
  std::int64_t m, n, k;
};

std::vector<double> operand(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  return test::quantized<bfloat16>(test::random_normal<double>(rows * cols, seed));
}

std::vector<double> oracle(const Shape& s) {
  CpuContext ctx(2);
  const auto a = operand(s.m, s.k, 1), w = operand(s.n, s.k, 2);
  std::vector<double> c(static_cast<std::size_t>(s.m * s.n));
  gemm<double>(ctx, view_of(c, s.m, s.n), view_of(a, s.m, s.k), view_of(w, s.n, s.k), {.b = Transpose::kYes});
  return c;
}

// Guards of 8 NaN between rows: what is read beyond the depth shows.
std::vector<double> run(CudaContext& ctx, const ladder::Rung<ladder::Gemm>& rung, const Shape& s) {
  Staged<bfloat16> a(ctx, s.m, s.k, operand(s.m, s.k, 1), 8), w(ctx, s.n, s.k, operand(s.n, s.k, 2), 16), c(ctx, s.m, s.n, 3);
  rung.run(ctx, c, a, w);
  ctx.synchronize();
  return c.doubles();
}

class GemmLadderCuda : public testing::TestWithParam<ladder::Rung<ladder::Gemm>> {};

TEST_P(GemmLadderCuda, EqualsTheOracleOnHostileExtents) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  for (const Shape s :
       {Shape{1, 1, 8}, Shape{31, 33, 24}, Shape{33, 31, 72}, Shape{127, 1, 264}, Shape{1, 257, 40}, Shape{129, 127, 776}}) {
    const std::string what = fmt::format("{} {} x {} x {}", GetParam().name, s.m, s.n, s.k);
    test::expect_close(run(ctx, GetParam(), s), oracle(s), test::Tolerance<bfloat16>::kRelative, what);
  }
}

TEST_P(GemmLadderCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const Shape s{67, 70, 72};
  const auto first = run(ctx, GetParam(), s);
  test::for_each_schedule([&](const std::string& schedule) { test::expect_same_bits(run(ctx, GetParam(), s), first, schedule); });
}

TEST_P(GemmLadderCuda, OperandsThatDoNotFitAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  Staged<bfloat16> a(ctx, 4, 16), w(ctx, 4, 8), c(ctx, 4, 4);
  EXPECT_THROW(GetParam().run(ctx, c, a, w), CheckError);
}

INSTANTIATE_TEST_SUITE_P(Rungs, GemmLadderCuda, testing::ValuesIn(ladder::kGemmRungs),
                         [](const auto& info) { return "rung" + std::to_string(info.index + 1); });

}  // namespace
}  // namespace galrec
