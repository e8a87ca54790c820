// Every rung of the ladder of InfoNCE against the CPU in double, on inputs rounded to bf16 first.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/info_nce/ladder/info_nce_ladder.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec {
namespace {

using test::Staged;

constexpr float kTau = 0.0625f;

std::vector<double> unit_rows(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  auto x = test::random_normal<double>(rows * cols, seed);
  for (std::int64_t r = 0; r < rows; ++r) {
    double square = 0;
    for (std::int64_t c = 0; c < cols; ++c) square += x[r * cols + c] * x[r * cols + c];
    for (std::int64_t c = 0; c < cols; ++c) x[r * cols + c] /= std::sqrt(square);
  }
  return test::quantized<bfloat16>(x);
}

struct Problem {
  std::int64_t n, q, c;
  std::vector<double> anchor, positive, queue;
  std::vector<std::int32_t> queue_ids, own_ids;

  // `ids` different ids: few of them mask many rows, one masks all.
  Problem(std::int64_t anchors, std::int64_t rows, std::int64_t cols, std::int32_t ids)
      : n(anchors),
        q(rows),
        c(cols),
        anchor(unit_rows(anchors, cols, 1)),
        positive(unit_rows(anchors, cols, 2)),
        queue(unit_rows(rows, cols, 3)),
        queue_ids(test::random_ids(rows, ids, 4)),
        own_ids(test::random_ids(anchors, ids, 5)) {}
};

struct Result {
  std::vector<double> losses, lse;
};

Result oracle(const Problem& p) {
  CpuContext ctx(2);
  const auto size = static_cast<std::size_t>(p.n);
  std::vector<double> loss(1), losses(size), lse(size), positive(size), hardest(size);
  info_nce_forward<double>(ctx, view_of(loss), view_of(losses), view_of(lse), view_of(positive), view_of(hardest),
                           view_of(p.anchor, p.n, p.c), view_of(p.positive, p.n, p.c), view_of(p.queue, p.q, p.c),
                           view_of(p.queue_ids), view_of(p.own_ids), static_cast<double>(kTau));
  return {losses, lse};
}

Result run(CudaContext& ctx, const ladder::Rung<ladder::InfoNce>& rung, const Problem& p, std::int64_t gap) {
  Staged<bfloat16> anchor(ctx, p.n, p.c, p.anchor, gap), positive(ctx, p.n, p.c, p.positive, gap),
      queue(ctx, p.q, p.c, p.queue, gap);
  Staged<std::int32_t> queue_ids(ctx, 1, p.q, p.queue_ids), own_ids(ctx, 1, p.n, p.own_ids);
  Staged<float> losses(ctx, 1, p.n), lse(ctx, 1, p.n);
  rung.run(ctx, losses.vector(), lse.vector(), {anchor, positive, queue, queue_ids.vector(), own_ids.vector(), kTau});
  ctx.synchronize();
  return {losses.doubles(), lse.doubles()};
}

class InfoNceLadderCuda : public testing::TestWithParam<ladder::Rung<ladder::InfoNce>> {};

TEST_P(InfoNceLadderCuda, EqualsTheOracleOnHostileExtents) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  for (const Problem& p : {Problem(1, 1, 1, 9), Problem(31, 33, 127, 9), Problem(33, 257, 31, 40), Problem(127, 31, 8, 5),
                           Problem(65, 129, 257, 9), Problem(3, 400, 768, 1000)}) {
    for (const std::int64_t gap : {8, 3}) {
      const Result expected = oracle(p), got = run(ctx, GetParam(), p, gap);
      const std::string what = fmt::format("{} N {} Q {} C {} gap {}", GetParam().name, p.n, p.q, p.c, gap);
      test::expect_close(got.losses, expected.losses, test::Tolerance<float>::kRelative, what + " losses");
      test::expect_close(got.lse, expected.lse, test::Tolerance<float>::kRelative, what + " lse");
    }
  }
}

TEST_P(InfoNceLadderCuda, WithoutNegativesNothingIsLost) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  for (const Problem& p : {Problem(33, 0, 40, 9), Problem(33, 140, 40, 1)}) {
    const Result expected = oracle(p), got = run(ctx, GetParam(), p, 8);
    for (const double loss : got.losses) EXPECT_EQ(loss, 0.0) << p.q << " rows in the queue";
    test::expect_close(got.lse, expected.lse, test::Tolerance<float>::kRelative, "lse");
  }
}

TEST_P(InfoNceLadderCuda, BitsDoNotDependOnTheOrderOfExecution) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  const Problem p(70, 300, 72, 20);
  const Result first = run(ctx, GetParam(), p, 8);
  test::for_each_schedule([&](const std::string& schedule) {
    const Result again = run(ctx, GetParam(), p, 8);
    test::expect_same_bits(again.losses, first.losses, schedule);
    test::expect_same_bits(again.lse, first.lse, schedule);
  });
}

TEST_P(InfoNceLadderCuda, OperandsThatDoNotFitAreNamed) {
  GALREC_REQUIRE_BACKEND(test::CudaBf16, ctx);
  Staged<bfloat16> rows(ctx, 4, 8), narrow(ctx, 4, 7);
  Staged<std::int32_t> ids(ctx, 1, 4);
  Staged<float> out(ctx, 1, 4);
  EXPECT_THROW(GetParam().run(ctx, out.vector(), out.vector(), {rows, rows, narrow, ids.vector(), ids.vector(), kTau}),
               CheckError);
}

INSTANTIATE_TEST_SUITE_P(Rungs, InfoNceLadderCuda, testing::ValuesIn(ladder::kInfoNceRungs),
                         [](const auto& info) { return "rung" + std::to_string(info.index + 1); });

}  // namespace
}  // namespace galrec
