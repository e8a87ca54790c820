#pragma once
// The residual stream of a pre-norm stack, and the memory it runs in while nothing is recorded.

#include "autograd/ops/rms_norm.h"
#include "autograd/tape.h"
#include "kernels/common/elementwise.h"

namespace galrec::layers {

/// `branch` is a sub-layer's output that the next norm adds to `sum`: the addition, the dropout before it and the norm
/// are one pass over memory.
template <class T>
struct ResidualStream {
  autograd::Variable<Acc<T>> sum;
  autograd::Variable<T> branch;

  /// Adds the pending branch, and normalises.
  autograd::Variable<T> norm(autograd::Tape<T>& tape, autograd::Variable<Acc<T>> weight, double eps, double dropout_rate) {
    if (!branch) return autograd::rms_norm<T>(tape, sum, weight, eps);
    const auto r =
        autograd::rms_norm_residual(tape, branch, sum, weight, eps, dropout_rate, autograd::NormInput::kReuse);
    sum = r.sum;
    branch = {};
    return r.y;
  }
};

/// Runs the blocks of a stack. While the tape records, memory is kept for backward; else every block works in the same
/// memory, and only the stream survives it.
template <class T>
class BlockMemory {
 public:
  BlockMemory(autograd::Tape<T>& tape, std::int64_t rows, std::int64_t cols) : tape_(tape) {
    if (tape.recording()) return;
    sum_ = tape.arena().template matrix<Acc<T>>(rows, cols);
    branch_ = tape.arena().template matrix<T>(rows, cols);
  }

  template <class F>
  void run(ResidualStream<T>& stream, F&& block) {
    if (tape_.recording()) {
      block();
      return;
    }
    ScratchScope scope(tape_.arena());
    block();
    dispatch<T>(tape_.device(), [&](auto& ctx) {
      add_scaled<Acc<T>>(ctx, sum_, stream.sum.value(), 1, Accumulate::kOverwrite);
      add_scaled<T>(ctx, branch_, stream.branch.value(), 1, Accumulate::kOverwrite);
    });
    stream = {tape_.constant(sum_), tape_.constant(branch_)};
  }

 private:
  autograd::Tape<T>& tape_;
  View<Acc<T>, 2> sum_;
  View<T, 2> branch_;
};

}  // namespace galrec::layers
