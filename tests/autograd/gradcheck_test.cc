// One line per operation: its gradients against central differences in double.

#include "autograd/gradcheck.h"

#include <gtest/gtest.h>

#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/convolution.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/info_nce.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/pooling.h"
#include "autograd/ops/propagate.h"
#include "autograd/ops/ranking_loss.h"
#include "autograd/ops/rms_norm.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/sums.h"

namespace galrec::autograd {
namespace {

using Inputs = std::span<const Variable<double>>;
using DTape = Tape<double>;
using Leaf = GradcheckLeaf;

void expect_gradients(const GradcheckFunction& f, std::vector<GradcheckLeaf> leaves, double tolerance = 1e-7) {
  const auto result = gradcheck(f, std::move(leaves));
  EXPECT_TRUE(result.error <= tolerance) << result.error << " at " << result.where;
}

Leaf normal(std::int64_t rows, std::int64_t cols, std::uint64_t seed, double deviation = 1.0) {
  return Leaf::normal(rows, cols, seed, deviation);
}

const std::vector<std::int32_t> kCu = {0, 3, 3, 4, 9}, kOtherCu = {0, 2, 5, 6, 10};

TEST(Gradcheck, NoticesAWrongGradient) {
  const auto wrong = [](DTape& t, Inputs x) {
    const auto y = t.output(x[0].rows(), x[0].cols(), {x[0]});
    for (std::int64_t i = 0; i < y.value().size(); ++i) y.value().data[i] = 2 * x[0].value().data[i];
    t.record("wrong", y, [&t, y, in = x[0]] {
      const auto d = t.claim(in);
      for (std::int64_t i = 0; i < y.value().size(); ++i) d.view.data[i] = 1.99 * t.gradient(y).data[i];
    });
    return y;
  };
  EXPECT_GT(gradcheck(wrong, {normal(2, 3, 1)}).error, 1e-3);
}

TEST(Gradcheck, Linear) {
  expect_gradients([](DTape& t, Inputs x) { return linear(t, x[0], x[1]); }, {normal(5, 4, 1), normal(3, 4, 2)});
  expect_gradients([](DTape& t, Inputs x) { return linear(t, x[0], x[1], x[2]); },
                   {normal(5, 4, 1), normal(3, 4, 2), normal(1, 3, 3)});
}

TEST(Gradcheck, LinearConcatApart) {
  expect_gradients(
      [](DTape& t, Inputs x) {
        return linear_concat(t, x[0], {x[1], x[2]}, {x[3], x[4]});
      },
      {normal(5, 4, 1), normal(3, 4, 2), normal(2, 4, 3), normal(1, 3, 4), normal(1, 2, 5)});
}

TEST(Gradcheck, TheSameInputTwice) {
  expect_gradients([](DTape& t, Inputs x) { return add(t, linear(t, x[0], x[1]), linear(t, x[0], x[1])); },
                   {normal(5, 4, 1), normal(4, 4, 2)});
  expect_gradients([](DTape& t, Inputs x) { return add(t, x[0], x[0]); }, {normal(5, 4, 1)});
}

TEST(Gradcheck, RmsNorm) {
  expect_gradients([](DTape& t, Inputs x) { return rms_norm(t, x[0], x[1], 1e-6); },
                   {normal(5, 7, 1), normal(1, 7, 2)});
}

// Both outputs of a fused norm are used, or only one of them: the stream's gradient is handed over, claimed, or absent.
TEST(Gradcheck, RmsNormResidual) {
  const auto scaled = [](DTape& t, Variable<double> v, double a) { return scale(t, v, a); };
  for (const double rate : {0.0, 0.4}) {
    for (const int outputs : {1, 2, 3}) {
      expect_gradients(
          [=](DTape& t, Inputs x) {
            const auto r = rms_norm_residual(t, scaled(t, x[0], 1.5), scaled(t, x[1], 0.5), x[2], 1e-6, rate);
            return outputs == 1 ? r.y : outputs == 2 ? r.sum : add(t, r.y, scale(t, r.sum, 0.7));
          },
          {normal(5, 7, 1), normal(5, 7, 2), normal(1, 7, 3)});
    }
  }
}

TEST(Gradcheck, RmsNormResidualThatIsUsedElsewhereToo) {
  expect_gradients(
      [](DTape& t, Inputs x) {
        const auto residual = scale(t, x[1], 2);
        const auto r = rms_norm_residual(t, scale(t, x[0], 1), residual, x[2], 1e-6, 0.3, NormInput::kReuse);
        return add(t, add(t, r.y, r.sum), residual);
      },
      {normal(5, 7, 1), normal(5, 7, 2), normal(1, 7, 3)});
}

TEST(Gradcheck, LayerNorm) {
  expect_gradients([](DTape& t, Inputs x) { return layer_norm(t, x[0], x[1], x[2], 1e-12); },
                   {normal(5, 7, 1), normal(1, 7, 2), normal(1, 7, 3)});
  for (const double rate : {0.0, 0.4}) {
    expect_gradients(
        [=](DTape& t, Inputs x) {
          const auto r =
              layer_norm_residual(t, scale(t, x[0], 1), scale(t, x[1], 1), x[2], x[3], 1e-12, rate, NormInput::kReuse);
          return add(t, r.y, r.sum);
        },
        {normal(5, 7, 1), normal(5, 7, 2), normal(1, 7, 3), normal(1, 7, 4)});
  }
}

TEST(Gradcheck, Activation) {
  for (const auto kind :
       {ActivationKind::kIdentity, ActivationKind::kRelu, ActivationKind::kGeluTanh, ActivationKind::kGeluErf}) {
    for (const double rate : {0.0, 0.4}) {
      expect_gradients([=](DTape& t, Inputs x) { return activation(t, scale(t, x[0], 1), kind, rate); },
                       {normal(5, 7, 1)});
      expect_gradients([=](DTape& t, Inputs x) { return gated_activation(t, x[0], x[1], kind, rate); },
                       {normal(5, 7, 1), normal(5, 7, 2)});
      expect_gradients([=](DTape& t, Inputs x) { return gated_activation(t, x[0], kind, rate); }, {normal(5, 14, 1)});
    }
  }
}

// On the CPU gradients whose rows are whole pages lie a line further apart (Tape::gradient_stride).
TEST(Gradcheck, RowsOfWholePages) {
  constexpr std::int64_t kCols = 4096 / sizeof(double);
  const auto gate = [](DTape& t, Inputs x) { return gated_activation(t, linear(t, x[0], x[1]), ActivationKind::kGeluTanh, 0.2); };
  expect_gradients(gate, {normal(3, 2, 1), normal(kCols, 2, 2)});
  const auto norms = [](DTape& t, Inputs x) {
    const auto y = rms_norm(t, x[0], x[1], 1e-6);
    return add(t, layer_norm(t, y, x[1], x[2], 1e-5), dropout(t, x[0], 0.3));
  };
  expect_gradients(norms, {normal(2, kCols, 1), normal(1, kCols, 2), normal(1, kCols, 3)}, 1e-6);
  const std::vector<std::int32_t> cu = {0, 1, 4}, ids = {1, 0, 1, 1}, targets = {2, 0}, queue_ids = {0, 1}, own = {4, 5};
  const auto gather = [&](DTape& t, Inputs x) { return l2_normalize(t, segment_mean(t, embedding(t, x[0], view_of(ids)), view_of(cu))); };
  expect_gradients(gather, {normal(2, kCols, 1)}, 1e-6);
  const auto attend = [&](DTape& t, Inputs x) {
    return self_attention(t, concat_rows(t, {x[0], slice_rows(t, x[0], 1, 1)}), view_of(cu), {}, {}, 8, 0.1, AttentionMask::kCausal, 0.2);
  };
  expect_gradients(attend, {normal(3, 3 * kCols, 1)}, 1e-6);
  const auto classify = [&](DTape& t, Inputs x) { return linear_cross_entropy(t, x[0], x[1], {}, view_of(targets), 0.1); };
  expect_gradients(classify, {normal(2, kCols, 1), normal(3, kCols, 2)}, 1e-6);
  const auto queue = normal(2, kCols, 9, 0.1);
  const auto contrast = [&](DTape& t, Inputs x) {
    return info_nce(t, x[0], x[1], ConstView<double, 2>(queue.values.data(), {2, kCols}), view_of(queue_ids), view_of(own), 0.3, PositiveGradient::kFlow).loss;
  };
  expect_gradients(contrast, {normal(2, kCols, 1, 0.1), normal(2, kCols, 2, 0.1)}, 1e-6);

  CpuContext ctx;
  DTape tape{Device(ctx)};
  tape.reset(Recording::kOn);
  std::vector<double> values(2 * kCols, 0.5);
  const auto x = tape.leaf(View<double, 2>(values.data(), {2, kCols}));
  tape.claim(x);
  EXPECT_EQ(tape.gradient(x).stride[0], kCols + 8);
}

TEST(Gradcheck, Dropout) {
  expect_gradients([](DTape& t, Inputs x) { return dropout(t, scale(t, x[0], 1), 0.3); }, {normal(5, 7, 1)});
  expect_gradients([](DTape& t, Inputs x) { return dropout(t, x[0], 0.0); }, {normal(5, 7, 1)});
}

TEST(Gradcheck, Attention) {
  std::vector<std::int32_t> buckets = {0, 1, 2, 3, 4};  // distances -2 to 2
  const RelativeBuckets table{view_of(buckets)};
  for (const double rate : {0.0, 0.3}) {
    expect_gradients(
        [&](DTape& t, Inputs x) {
          return attention(t, x[0], x[1], x[2], view_of(kCu), view_of(kOtherCu), x[3], table, 2, 0.7,
                           AttentionMask::kNone, rate);
        },
        {normal(9, 6, 1), normal(10, 6, 2), normal(10, 6, 3), normal(5, 2, 4)});
    for (const auto mask : {AttentionMask::kNone, AttentionMask::kCausal}) {
      expect_gradients(
          [&](DTape& t, Inputs x) { return self_attention(t, x[0], view_of(kCu), x[1], table, 2, 1.0, mask, rate); },
          {normal(9, 18, 1), normal(5, 2, 2)});
    }
    expect_gradients(
        [&](DTape& t, Inputs x) {
          return cross_attention(t, x[0], x[1], view_of(kCu), view_of(kOtherCu), 3, 0.5, rate);
        },
        {normal(9, 6, 1), normal(10, 12, 2)});
  }
}

TEST(Gradcheck, Embedding) {
  const std::vector<std::int32_t> ids = {2, 0, 2, 3, 2};
  expect_gradients([&](DTape& t, Inputs x) { return embedding(t, x[0], view_of(ids)); }, {normal(5, 3, 1)});
  expect_gradients([&](DTape& t, Inputs x) { return add_embedding(t, scale(t, x[0], 1), x[1], view_of(ids)); },
                   {normal(5, 3, 1), normal(4, 3, 2)});
}

TEST(Gradcheck, Rows) {
  expect_gradients(
      [](DTape& t, Inputs x) {
        return concat_rows(t, {x[0], x[1], x[0]});
      },
      {normal(2, 3, 1), normal(4, 3, 2)});
  expect_gradients([](DTape& t, Inputs x) { return slice_rows(t, x[0], 1, 2); }, {normal(5, 3, 1)});
  expect_gradients([](DTape& t, Inputs x) { return add(t, slice_rows(t, x[0], 1, 2), slice_rows(t, x[0], 3, 2)); },
                   {normal(5, 3, 1)});
}

TEST(Gradcheck, Pooling) {
  expect_gradients([](DTape& t, Inputs x) { return segment_mean(t, x[0], view_of(kCu)); }, {normal(9, 3, 1)});
  expect_gradients([](DTape& t, Inputs x) { return l2_normalize(t, x[0]); }, {normal(4, 5, 1)});
}

TEST(Gradcheck, Convolution) {
  const ConvolutionOptions history{.image = {4, 1}, .kernel = {2, 1}}, vertical{.image = {4, 3}, .kernel = {4, 1}};
  expect_gradients([&](DTape& t, Inputs x) { return convolution<double>(t, x[0], x[1], x[2], history); },
                   {normal(8, 3, 1), normal(5, 6, 2), normal(1, 5, 3)});
  expect_gradients([&](DTape& t, Inputs x) { return convolution<double>(t, x[0], x[1], vertical); },
                   {normal(24, 1, 1), normal(2, 4, 2)});
  // All three have a gradient already when the second use adds its own.
  expect_gradients(
      [&](DTape& t, Inputs x) {
        const auto once = [&] { return convolution<double>(t, x[0], x[1], x[2], history); };
        return add(t, once(), once());
      },
      {normal(8, 3, 1), normal(5, 6, 2), normal(1, 5, 3)});
}

TEST(Gradcheck, LinearCrossEntropy) {
  const std::vector<std::int32_t> targets = {2, 0, 1, 2};
  expect_gradients([&](DTape& t, Inputs x) { return linear_cross_entropy(t, x[0], x[1], {}, view_of(targets), 0.7); },
                   {normal(4, 3, 1), normal(6, 3, 2)});
  expect_gradients([&](DTape& t, Inputs x) { return linear_cross_entropy(t, x[0], x[1], x[2], view_of(targets), 1.0); },
                   {normal(4, 3, 1), normal(6, 3, 2), normal(1, 6, 3)});
  expect_gradients(
      [&](DTape& t, Inputs x) {
        return linear_cross_entropy(t, x[0], x[1], {}, view_of(targets), 1.0, {.first = 2, .count = 3});
      },
      {normal(4, 3, 1), normal(6, 3, 2)});
}

TEST(Gradcheck, InfoNce) {
  const auto queue = normal(7, 4, 9);
  const std::vector<std::int32_t> queue_ids = {0, 1, 2, 3, 0, 1, 2}, own = {1, 5, 3};
  const ConstView<double, 2> keys(queue.values.data(), {7, 4});
  for (const auto stop : {PositiveGradient::kFlow, PositiveGradient::kStop}) {
    std::vector<Leaf> leaves = {normal(3, 4, 1, 0.5)};
    if (stop == PositiveGradient::kFlow) leaves.push_back(normal(3, 4, 2, 0.5));
    auto fixed = normal(3, 4, 2, 0.5);
    expect_gradients(
        [&](DTape& t, Inputs x) {
          const auto positive = x.size() > 1 ? x[1] : t.constant(view_of(fixed.values, 3, 4));
          return info_nce(t, x[0], positive, keys, view_of(queue_ids), view_of(own), 0.3, stop).loss;
        },
        leaves);
  }
}

TEST(InfoNce, StopKeepsThePositiveConstant) {
  CpuContext ctx;
  DTape tape{Device(ctx)};
  tape.reset(Recording::kOn);
  auto a = normal(3, 4, 1), p = normal(3, 4, 2), q = normal(5, 4, 3);
  const std::vector<std::int32_t> ids = {0, 1, 2, 3, 4}, own = {7, 8, 9};
  const auto anchor = tape.leaf(view_of(a.values, 3, 4)), positive = tape.leaf(view_of(p.values, 3, 4));
  const auto r = info_nce(tape, anchor, positive, ConstView<double, 2>(q.values.data(), {5, 4}), view_of(ids),
                          view_of(own), 0.1, PositiveGradient::kStop);
  tape.backward(r.loss);
  EXPECT_TRUE(tape.gradient(anchor));
  EXPECT_FALSE(tape.gradient(positive));
}

TEST(Gradcheck, RankingLoss) {
  for (const auto kind : {RankingLossKind::kBpr, RankingLossKind::kBce}) {
    expect_gradients([=](DTape& t, Inputs x) { return ranking_loss(t, x[0], x[1], x[2], kind); },
                     {normal(4, 3, 1), normal(4, 3, 2), normal(4, 3, 3)});
  }
  // x has a gradient already when the loss adds its own, the others have none.
  expect_gradients(
      [](DTape& t, Inputs x) {
        const auto loss = ranking_loss(t, x[0], x[1], x[2], RankingLossKind::kBpr);
        return weighted_sum<double>(t, {{loss, 0.5}, {half_squared_sum(t, x[0]), 0.1}});
      },
      {normal(4, 3, 1), normal(4, 3, 2), normal(4, 3, 3)});
}

TEST(Gradcheck, Sums) {
  expect_gradients([](DTape& t, Inputs x) { return half_squared_sum(t, x[0]); }, {normal(4, 3, 1)});
  expect_gradients([](DTape& t, Inputs x) { return scale(t, scale(t, x[0], 0.5), -3); }, {normal(4, 3, 1)});
  expect_gradients(
      [](DTape& t, Inputs x) {
        return weighted_sum<double>(t, {{half_squared_sum(t, x[0]), 0.5}, {half_squared_sum(t, x[1]), -2}});
      },
      {normal(4, 3, 1), normal(2, 2, 2)});
}

TEST(Gradcheck, Propagate) {
  // Rows 0..2, columns 0..3, and the transpose.
  const std::vector<std::int32_t> row_ptr = {0, 2, 3, 5}, col = {0, 3, 1, 0, 2};
  const std::vector<std::int32_t> back_ptr = {0, 2, 3, 4, 5}, back_col = {0, 2, 1, 2, 0};
  const auto out_scale = normal(1, 3, 5).values, in_scale = normal(1, 4, 6).values;
  const CsrView graph{view_of(row_ptr), view_of(col)}, transposed{view_of(back_ptr), view_of(back_col)};
  expect_gradients(
      [&](DTape& t, Inputs x) {
        return propagate<double>(t, graph, transposed, view_of(out_scale), view_of(in_scale), x[0]);
      },
      {normal(4, 3, 1)});
}

TEST(Gradcheck, PropagateMean) {
  const std::vector<std::int32_t> row_ptr = {0, 2, 3, 5, 6}, col = {1, 2, 0, 0, 3, 2};  // symmetric
  const std::vector<double> degree_scale = {0.7, 1.0, 0.7, 1.0};
  const CsrView graph{view_of(row_ptr), view_of(col)};
  const std::vector<std::int32_t> nodes = {2, 0, 2};  // repeated, and some never
  for (const int layers : {0, 1, 3}) {
    const auto mean = [&](DTape& t, const Variable<double>& x) {
      return propagate_mean<double>(t, graph, view_of(degree_scale), x, layers, view_of(nodes));
    };
    expect_gradients([&](DTape& t, Inputs x) { return mean(t, x[0]); }, {normal(4, 3, 1)});
    expect_gradients([&](DTape& t, Inputs x) { return concat_rows<double>(t, {x[0], mean(t, x[0]), mean(t, x[0])}); },
                     {normal(4, 3, 1)});
  }
}

}  // namespace
}  // namespace galrec::autograd
