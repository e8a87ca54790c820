#pragma once
// The CUDA tests of RMSNorm and LayerNorm are the same but for the calls: this is what they share. `Norm` has the options' type and
// static forward/backward<T>(ctx, …) that take the arguments of LayerNorm; RMSNorm leaves mean and bias aside.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/common/context.h"
#include "kernels/common/dropout.h"
#include "tests/support/backends.h"
#include "tests/support/compare.h"
#include "tests/support/matrix.h"
#include "tests/support/random.h"
#include "tests/support/schedules.h"
#include "tests/support/staged.h"

namespace galrec::test {

enum class NormForm { kBoth, kBranchAlone, kStreamAlone };  // x on a residual, x alone, the residual alone

struct NormShape {
  std::int64_t rows, cols;
  std::int64_t gap = 0;  // between rows: a multiple of 8 keeps vector accesses possible
  std::string name() const { return std::to_string(rows) + "x" + std::to_string(cols) + "+" + std::to_string(gap); }
};

/// Held in registers (whole and partial vectors), walked in vectors, walked by element.
inline std::vector<NormShape> norm_shapes() {
  return {{1, 1},     {31, 31, 3},   {33, 33, 8},  {257, 127, 1},  {70, 257}, {5, 769, 8},  {257, 4},    {129, 64, 8},
          {131, 132}, {65, 256, 24}, {33, 384, 8}, {200, 512, 16}, {65, 640}, {67, 768},    {130, 1020}, {64, 1024, 8},
          {70, 1028}, {33, 2056, 8}, {3, 1025},    {66, 512, 3},   {2100, 8}, {4099, 36, 4}};
}

struct NormModes {
  Accumulate dx = Accumulate::kOverwrite, dresidual = Accumulate::kOverwrite, dweight = Accumulate::kOverwrite;
  bool with_dsum = true;
  bool alias = false;  // dresidual is dsum
};

/// Inputs as a kernel of T sees them, and what the double oracle makes of them.
template <class Norm, class T>
struct NormProblem {
  NormShape shape;
  NormForm form;
  typename Norm::Options options;
  std::vector<double> x, residual, weight, bias, dy, dsum;
  std::vector<double> y, sum, mean, rstd;

  NormProblem(NormShape s, NormForm f, double rate) : shape(s), form(f) {
    options.dropout = {.rate = rate, .key = {.seed = 11, .step = 3, .stream = 5}};
    options.eps = 0.01;  // large enough to be seen
    const std::int64_t n = s.rows * s.cols;
    x = quantized<T>(random_normal<double>(n, 1));
    residual = random_normal<double>(n, 2);
    weight = random_normal<double>(s.cols, 3);
    bias = random_normal<double>(s.cols, 6);
    dy = quantized<T>(random_normal<double>(n, 4));
    dsum = random_normal<double>(n, 5);

    CpuContext cpu(1);
    const std::int64_t rows = s.rows, cols = s.cols;
    Matrix<double> mx(rows, cols, form == NormForm::kStreamAlone ? residual : x), mr(rows, cols, residual), w(1, cols, weight),
        b(1, cols, bias), my(rows, cols), ms(rows, cols), mm(1, rows), mrs(1, rows);
    const bool both = form == NormForm::kBoth;
    Norm::template forward<double>(cpu, my, both ? ms.view() : View<double, 2>{}, mm, mrs, mx, both ? mr.view() : View<double, 2>{},
                                   w, b, options);
    y = my.values();
    sum = quantized<float>(both ? ms.values() : mx.values());
    mean = quantized<float>(mm.values());
    rstd = quantized<float>(mrs.values());
  }
  std::string name() const { return shape.name() + " form " + std::to_string(static_cast<int>(form)); }
};

template <class Norm, class T>
struct NormForward {
  std::vector<double> y, sum, mean, rstd;

  NormForward(CudaContext& ctx, const NormProblem<Norm, T>& p) {
    const auto [rows, cols, gap] = p.shape;
    Staged<T> x(ctx, rows, cols, p.x, gap), out(ctx, rows, cols, gap);
    Staged<float> residual(ctx, rows, cols, p.residual, gap), weight(ctx, 1, cols, p.weight), bias(ctx, 1, cols, p.bias);
    Staged<float> s(ctx, rows, cols, gap), m(ctx, 1, rows), r(ctx, 1, rows);
    const bool both = p.form == NormForm::kBoth;
    Norm::template forward<T>(ctx, out, both ? s.view() : View<float, 2>{}, m, r,
                              p.form == NormForm::kStreamAlone ? View<T, 2>{} : x.view(),
                              p.form == NormForm::kBranchAlone ? View<float, 2>{} : residual.view(), weight, bias, p.options);
    y = out.doubles();
    if (both) sum = s.doubles();
    mean = m.doubles();
    rstd = r.doubles();
  }
};

template <class Norm, class T>
void expect_norm_forward(CudaContext& ctx) {
  for (const auto& shape : norm_shapes()) {
    for (const auto form : {NormForm::kBoth, NormForm::kBranchAlone, NormForm::kStreamAlone}) {
      for (const double rate : {0.0, 0.3}) {
        if (rate > 0 && form != NormForm::kBoth) continue;
        const NormProblem<Norm, T> p(shape, form, rate);
        const NormForward<Norm, T> got(ctx, p);
        expect_close(got.y, p.y, Tolerance<T>::kRelative, p.name() + " y");
        if (form == NormForm::kBoth) expect_close(got.sum, p.sum, 1e-6, p.name() + " sum");
        expect_close(got.rstd, p.rstd, Tolerance<float>::kRelative, p.name() + " rstd");
        if (Norm::kHasMean) expect_close(got.mean, p.mean, Tolerance<float>::kRelative, p.name() + " mean");
      }
    }
  }
}

template <class Norm, class T>
struct NormBackward {
  std::vector<double> dx, dresidual, dweight, dbias;

  /// What is added to starts from 0.5.
  NormBackward(CudaContext& ctx, const NormProblem<Norm, T>& p, const NormModes& modes) {
    const auto [rows, cols, gap] = p.shape;
    Staged<T> dy(ctx, rows, cols, p.dy, gap);
    Staged<float> dsum(ctx, rows, cols, p.dsum, gap), sum(ctx, rows, cols, p.sum, gap), weight(ctx, 1, cols, p.weight),
        mean(ctx, 1, rows, p.mean), rstd(ctx, 1, rows, p.rstd);
    const auto start = [](Accumulate a, std::int64_t n) {
      return std::vector<double>(static_cast<std::size_t>(n), a == Accumulate::kAdd ? 0.5 : std::nan(""));
    };
    Staged<T> to_x(ctx, rows, cols, start(modes.dx, rows * cols), gap);
    Staged<float> to_residual(ctx, rows, cols, start(modes.dresidual, rows * cols), gap),
        dw(ctx, 1, cols, start(modes.dweight, cols)), db(ctx, 1, cols, start(modes.dweight, cols));
    const View<float, 2> residual_view = modes.alias ? dsum.view() : to_residual.view();
    Norm::template backward<T>(ctx, p.form == NormForm::kStreamAlone ? View<T, 2>{} : to_x.view(),
                               p.form == NormForm::kBranchAlone ? View<float, 2>{} : residual_view, dw, db, dy,
                               modes.with_dsum ? dsum.view() : View<float, 2>{}, sum, weight, mean, rstd, p.options, modes.dx,
                               modes.dresidual, modes.dweight);
    if (p.form != NormForm::kStreamAlone) dx = to_x.doubles();
    if (p.form != NormForm::kBranchAlone) dresidual = modes.alias ? dsum.doubles() : to_residual.doubles();
    dweight = dw.doubles();
    if (Norm::kHasMean) dbias = db.doubles();
  }

  /// The oracle's. Without a residual both ways are the same gradient.
  NormBackward(const NormProblem<Norm, T>& p, const NormModes& modes) {
    const auto [rows, cols, gap] = p.shape;
    CpuContext cpu(1);
    Matrix<double> dy(rows, cols, p.dy), dsum(rows, cols, p.dsum), sum(rows, cols, p.sum), weight(1, cols, p.weight),
        mean(1, rows, p.mean), rstd(1, rows, p.rstd), to_x(rows, cols), to_residual(rows, cols), dw(1, cols), db(1, cols);
    Norm::template backward<double>(cpu, to_x, to_residual, dw, db, dy, modes.with_dsum ? dsum.view() : View<double, 2>{}, sum,
                                    weight, mean, rstd, p.options, Accumulate::kOverwrite, Accumulate::kOverwrite,
                                    Accumulate::kOverwrite);
    const auto started = [](std::vector<double> v, Accumulate a) {
      if (a == Accumulate::kAdd)
        for (auto& e : v) e += 0.5;
      return v;
    };
    if (p.form != NormForm::kStreamAlone) dx = started(to_x.values(), modes.dx);
    if (p.form != NormForm::kBranchAlone) dresidual = started(to_residual.values(), modes.dresidual);
    dweight = started(dw.values(), modes.dweight);
    if (Norm::kHasMean) dbias = started(db.values(), modes.dweight);
  }

  void expect_close_to(const NormBackward& expected, const std::string& what) const {
    const double cancelled = dweight.size() == 1 ? 10 : 1;  // of a single column nothing remains but rounding
    expect_close(dx, expected.dx, cancelled * Tolerance<T>::kRelative, what + " dx");
    expect_close(dresidual, expected.dresidual, cancelled * Tolerance<float>::kRelative, what + " dresidual");
    expect_close(dweight, expected.dweight, Tolerance<float>::kRelative, what + " dweight");
    expect_close(dbias, expected.dbias, Tolerance<float>::kRelative, what + " dbias");
  }
  void expect_same(const NormBackward& expected, const std::string& what) const {
    expect_same_bits(dx, expected.dx, what + " dx");
    expect_same_bits(dresidual, expected.dresidual, what + " dresidual");
    expect_same_bits(dweight, expected.dweight, what + " dweight");
    expect_same_bits(dbias, expected.dbias, what + " dbias");
  }
};

template <class Norm, class T>
void expect_norm_backward(CudaContext& ctx) {
  for (const auto& shape : norm_shapes()) {
    for (const auto form : {NormForm::kBoth, NormForm::kBranchAlone, NormForm::kStreamAlone}) {
      const NormProblem<Norm, T> p(shape, form, form == NormForm::kBoth ? 0.3 : 0.0);
      for (const bool with_dsum : {false, true}) {
        const NormModes modes{.with_dsum = with_dsum};
        NormBackward<Norm, T>(ctx, p, modes).expect_close_to({p, modes}, p.name());
      }
    }
  }
}

template <class Norm, class T>
void expect_norm_backward_modes(CudaContext& ctx) {
  for (const NormShape shape : {NormShape{130, 136, 8}, NormShape{70, 65, 1}, NormShape{66, 1032}}) {
    const NormProblem<Norm, T> p(shape, NormForm::kBoth, 0.3);
    for (int bits = 0; bits < 8; ++bits) {
      const auto mode = [bits](int b) { return bits >> b & 1 ? Accumulate::kAdd : Accumulate::kOverwrite; };
      const NormModes modes{.dx = mode(0), .dresidual = mode(1), .dweight = mode(2)};
      NormBackward<Norm, T>(ctx, p, modes).expect_close_to({p, modes}, p.name() + " modes " + std::to_string(bits));
    }
    NormBackward<Norm, T>(ctx, p, {.alias = true}).expect_same({ctx, p, {}}, p.name() + " alias");
  }
}

template <class Norm, class T>
void expect_norm_bits(CudaContext& ctx) {
  for (const NormShape shape : {NormShape{200, 260, 4}, NormShape{133, 33, 1}, NormShape{129, 1032}}) {
    const NormProblem<Norm, T> p(shape, NormForm::kBoth, 0.1);
    const NormForward<Norm, T> forward(ctx, p);
    const NormBackward<Norm, T> backward(ctx, p, {});
    for_each_schedule([&](const std::string& order) {
      const NormForward<Norm, T> f(ctx, p);
      expect_same_bits(f.y, forward.y, p.name() + " y, " + order);
      expect_same_bits(f.sum, forward.sum, p.name() + " sum, " + order);
      expect_same_bits(f.rstd, forward.rstd, p.name() + " rstd, " + order);
      NormBackward<Norm, T>(ctx, p, {}).expect_same(backward, p.name() + ", " + order);
    });
  }
}

/// No rows: nothing is read, and the weight gradients are those of an empty sum.
template <class Norm, class T>
void expect_norm_of_nothing(CudaContext& ctx) {
  Staged<float> weight(ctx, 1, 8, std::vector<float>(8, 1.0f)), dw(ctx, 1, 8), db(ctx, 1, 8, std::vector<float>(8, 0.25f));
  const View<T, 2> none(nullptr, {0, 8});
  const View<float, 2> no_sum(nullptr, {0, 8});
  const View<float, 1> no_rows(nullptr, {0});
  Norm::template forward<T>(ctx, none, {}, no_rows, no_rows, none, {}, weight, weight, {});
  Norm::template backward<T>(ctx, {}, {}, dw, {}, none, {}, no_sum, weight, no_rows, no_rows, {}, Accumulate::kOverwrite,
                             Accumulate::kOverwrite, Accumulate::kOverwrite);
  EXPECT_EQ(dw.values(), std::vector<float>(8, 0.0f));
  if (!Norm::kHasMean) return;
  Norm::template backward<T>(ctx, {}, {}, {}, db, none, {}, no_sum, weight, no_rows, no_rows, {}, Accumulate::kOverwrite,
                             Accumulate::kOverwrite, Accumulate::kAdd);
  EXPECT_EQ(db.values(), std::vector<float>(8, 0.25f));
}

/// Each gradient alone has the bits that it has in company.
template <class Norm, class T>
void expect_norm_gradients_alone(CudaContext& ctx) {
  for (const NormShape shape : {NormShape{70, 40, 8}, NormShape{70, 41}}) {
    const NormProblem<Norm, T> p(shape, NormForm::kBoth, 0.3);
    const auto [rows, cols, gap] = shape;
    const NormBackward<Norm, T> all(ctx, p, {});
    Staged<T> dy(ctx, rows, cols, p.dy, gap), dx(ctx, rows, cols, gap);
    Staged<float> dsum(ctx, rows, cols, p.dsum, gap), sum(ctx, rows, cols, p.sum, gap), weight(ctx, 1, cols, p.weight),
        mean(ctx, 1, rows, p.mean), rstd(ctx, 1, rows, p.rstd), dresidual(ctx, rows, cols, gap), dw(ctx, 1, cols);
    constexpr auto kSet = Accumulate::kOverwrite;
    Norm::template backward<T>(ctx, dx, {}, {}, {}, dy, dsum, sum, weight, mean, rstd, p.options, kSet, kSet, kSet);
    Norm::template backward<T>(ctx, {}, dresidual, {}, {}, dy, dsum, sum, weight, mean, rstd, p.options, kSet, kSet, kSet);
    Norm::template backward<T>(ctx, {}, {}, dw, {}, dy, dsum, sum, weight, mean, rstd, p.options, kSet, kSet, kSet);
    expect_same_bits(dx.doubles(), all.dx, "dx");
    expect_same_bits(dresidual.doubles(), all.dresidual, "dresidual");
    expect_same_bits(dw.doubles(), all.dweight, "dweight");
  }
}

}  // namespace galrec::test
