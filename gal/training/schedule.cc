#include "gal/training/schedule.h"

#include <cmath>

#include "kernels/common/check.h"

namespace galrec::gal {

LinearSchedule::LinearSchedule(double peak, std::int64_t total, double warmup)
    : peak_(peak), total_(total), warmup_(static_cast<std::int64_t>(std::ceil(warmup * static_cast<double>(total)))) {
  GALREC_CHECK(total >= 0 && warmup >= 0 && warmup <= 1, "{} steps, warm-up {}", total, warmup);
}

double LinearSchedule::at(std::int64_t step) const {
  GALREC_CHECK(step >= 0, "step {}", step);
  if (step < warmup_) return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_);
  if (step >= total_) return 0;
  return peak_ * static_cast<double>(total_ - step) / static_cast<double>(total_ - warmup_);
}

}  // namespace galrec::gal
