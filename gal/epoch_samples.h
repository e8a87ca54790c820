#pragma once
// The samples of one epoch, in the order in which the trainer takes them.

#include <cstdint>
#include <vector>

#include "data/split.h"
#include "gal/hop_batch.h"
#include "gal/hop_sampler.h"
#include "gal/options.h"

namespace galrec::gal {

/// Samples of one epoch under options.unit: every prefix, one random cut a user, or each user's last. Users with fewer
/// than two training items have none.
std::int64_t epoch_size(const data::Split& split, SampleUnit unit);

/// The epoch's samples, shuffled: a function of (seed, epoch). With SampleOrder::kNeighbours consecutive runs of
/// `group` samples (a micro-batch) are gathered by walks user - item - user in the training graph from a random start.
std::vector<TrainSample> epoch_samples(const data::Split& split, const HopSampler& graph,
                                       const SamplingOptions& options, std::uint64_t seed, std::uint32_t epoch,
                                       std::int32_t group);

}  // namespace galrec::gal
