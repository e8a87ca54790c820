#pragma once
// A microscope for the contrastive losses: do they still teach anything?

#include <array>
#include <cstdint>

#include "gal/contrastive_loss.h"
#include "gal/hop_batch.h"
#include "gal/hop_sampler.h"
#include "gal/negative_queue.h"

namespace galrec::gal {

struct HopStatistics {
  std::array<double, kTerms> alignment{};  ///< mean cosine of the positive pairs
  std::array<double, data::kHops>
      uniformity{};        ///< log mean exp(-2 |x - y|^2) over pairs of unit vectors (Wang & Isola 2020); 0: collapsed
  double queue_fill = 0;   ///< valid rows / capacity
  double queue_age = 0;    ///< mean number of micro-batches since a row was written
  double own_id_rate = 0;  ///< share of (anchor, user queue row) pairs masked as the anchor's own
  double user_neighbour_rate = 0;  ///< share of unmasked pairs whose users share a training item: false negatives
  double item_neighbour_rate = 0;  ///< share of unmasked pairs whose items share a training user
};

/// Figures of one step; `embeddings` (samples * 6, d) are StepResult's, on the host. Call before the batch's own keys are
/// pushed; costs a walk over two hops per anchor, so not every step.
template <class T>
HopStatistics hop_statistics(View<const T, 2> embeddings, const NegativeQueues<T>& queues, const HopBatch& batch,
                             const HopSampler& graph);

/// log of the mean of exp(-2 |x_a - x_b|^2) over all pairs a < b of normalised rows; 0 for fewer than two rows.
template <class T>
double uniformity(View<const T, 2> rows);

}  // namespace galrec::gal
