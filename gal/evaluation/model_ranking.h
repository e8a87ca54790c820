#pragma once
// The GAL model's full ranking: one decoder step per user, its state against the head's item rows.

#include "autograd/tape.h"
#include "gal/batch_builder.h"
#include "gal/evaluation/full_ranking.h"
#include "gal/model.h"

namespace galrec::gal {

/// Ranks every user's target of `phase` from its recommendation prompt, without dropout and always with the same
/// neighbours, in Acc<T>. `tape` is reset.
template <class T>
RankResult rank_targets(const Device& device, autograd::Tape<T>& tape, GalModel<T>& model, BatchBuilder& builder,
                        const data::Split& split, data::Phase phase, const RankingOptions& options,
                        const RankingProgress& progress = {});

}  // namespace galrec::gal
