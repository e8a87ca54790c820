#pragma once
// Learning rates: linear warm-up, then linear decay to 0 (paper section VI-A).

#include <cstdint>

namespace galrec::gal {

/// `total` optimiser steps of which the first ceil(warmup * total) warm up. Step s (from 0) of w warm-up steps takes
/// peak (s + 1) / w, later ones peak (total - s) / (total - w): no step has a rate of 0. (transformers'
/// get_linear_schedule_with_warmup has s / w in the first part, so that its first step does nothing.)
class LinearSchedule {
 public:
  /// `warmup` is a share in [0, 1].
  LinearSchedule(double peak, std::int64_t total, double warmup);

  double at(std::int64_t step) const;
  std::int64_t total_steps() const { return total_; }
  std::int64_t warmup_steps() const { return warmup_; }

 private:
  double peak_;
  std::int64_t total_;
  std::int64_t warmup_;
};

}  // namespace galrec::gal
