#pragma once
// Full ranking of every user's target against the whole catalogue, streaming: a block of users at a time, never a
// users x items matrix.

#include <functional>
#include <span>

#include "gal/evaluation/ranking.h"
#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec::gal {

/// Fills row i of `queries` (n, C), in host memory, with the state that scores items for users[i] before its target of `phase`.
template <class T>
using QueryFn = std::function<void(std::span<const data::UserId> users, data::Phase phase, View<T, 2> queries)>;

/// The scoring side of a model: score(u, i) = query(u) . rows[first_item + i] (+ bias[first_item + i]). In device memory.
template <class T>
struct RankedItems {
  View<const T, 2> rows;           // (R, C), R >= first_item + num_items
  View<const T, 1> bias = {};      // (R) or empty
  std::int32_t first_item = 0;     // the row of item 0; the others (padding, mask) compete only under kS3Rec
};

/// Called after each block with the number of users done.
using RankingProgress = std::function<void(std::int64_t done)>;

/// Ranks the target of `phase` of every user that has one. NumericalError for a score that is NaN.
template <class T>
RankResult full_ranking(const Device& device, const data::Split& split, data::Phase phase, const QueryFn<T>& query,
                        const RankedItems<T>& items, const RankingOptions& options, const RankingProgress& progress = {});

extern template RankResult full_ranking(const Device&, const data::Split&, data::Phase, const QueryFn<float>&,
                                        const RankedItems<float>&, const RankingOptions&, const RankingProgress&);
extern template RankResult full_ranking(const Device&, const data::Split&, data::Phase, const QueryFn<double>&,
                                        const RankedItems<double>&, const RankingOptions&, const RankingProgress&);

}  // namespace galrec::gal
