#pragma once
// The losses and statistics of a step on the host. While a step runs nobody waits for the device: the figures of its forward
// passes are collected there and cross in one transfer at the end.

#include <array>
#include <cstdint>
#include <vector>

#include "gal/model.h"
#include "kernels/common/buffer.h"
#include "kernels/common/context.h"

namespace galrec::gal {

/// What one forward pass found.
struct StepFigures {
  double loss = 0;
  double l0 = 0;                            ///< cross-entropy of the recommendation
  std::array<double, kTerms> nce{};         ///< L1u L1i L2u L2i L3u L3i, before their weights; 0 where not computed
  std::array<double, kTerms> accuracy{};    ///< share of anchors whose positive beats the hardest queue row
  std::array<double, kTerms> saturation{};  ///< mean probability of the positive: 1 means nothing is left to learn
};

template <class T>
class StepReport {
 public:
  explicit StepReport(const Device& device) : device_(device) {}

  void clear();
  /// Copies what `result` holds, behind the work that computes it. Its tape may be reset afterwards.
  void add(const StepResult<T>& result) { keep(pack(result)); }

  struct Pass {
    std::int64_t offset = 0;   // of its figures in memory_: loss, l0, then for each term its loss and three rows
    std::int64_t count = 0;    // of figures
    std::int64_t samples = 0;  // of a row
    std::array<bool, kTerms> has_term{};
  };
  /// The halves of add(). pack() is the same work for every pass of a shape, so that it can be captured: figures go to
  /// one place, and stay until the next pass. keep() takes them over, of this pass or of a replay.
  Pass pack(const StepResult<T>& result);
  void keep(Pass pass);
  /// The figures of all passes since clear(), in order. Waits for the device.
  std::vector<StepFigures> read() const;

 private:
  Device device_;
  Buffer<Acc<T>> latest_;  // figures of the last pass
  Buffer<Acc<T>> memory_;
  std::int64_t used_ = 0;
  std::vector<Pass> passes_;
};

/// The figures of one pass, at once. Throws what kernels reported.
template <class T>
StepFigures read_figures(const Device& device, const StepResult<T>& result);

extern template class StepReport<float>;
extern template class StepReport<double>;
extern template class StepReport<bfloat16>;

}  // namespace galrec::gal
