#pragma once
// The six alignment losses (paper eqs. 5 to 13, in the form of eq. 14): each pulls two views of a node together and
// pushes the rows of one queue away from the anchor.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "autograd/tape.h"
#include "gal/hop_batch.h"
#include "gal/negative_queue.h"
#include "gal/options.h"

namespace galrec::gal {

enum class Term { kL1User, kL1Item, kL2User, kL2Item, kL3User, kL3Item };
inline constexpr int kTerms = 6;
std::string_view term_name(Term term);  ///< "L1u" ... "L3i"

/// Which views a term compares. The queue holds other nodes' views of the positive's kind.
struct TermViews {
  data::Hop anchor;
  data::Hop positive;
  Queue queue;
};
/// The equations' choice, except that L1Anchor::kHop0 swaps anchor and positive of L1.
TermViews term_views(Term term, L1Anchor l1_anchor);

/// Per-row figures of one term, on the tape (for statistics); empty for a term that was not computed.
template <class T>
struct TermRows {
  View<const Acc<T>, 1> positive_score;  // (B) sim(p,a) / tau
  View<const Acc<T>, 1> hardest;         // (B) largest sim(q,a) / tau, -inf without negatives
  View<const Acc<T>, 1> losses;          // (B)
};

template <class T>
struct ContrastiveResult {
  autograd::Variable<Acc<T>> loss;         ///< weighted sum, (1,1); empty if every weight is 0
  std::array<autograd::Variable<Acc<T>>, kTerms> nce{};  ///< (1,1) each, before their weights; empty where not computed
  std::array<TermRows<T>, kTerms> rows{};  ///< of kSymmetric L1 terms: the equations' direction
  Keys<T> query_keys;                      ///< the query encoder's own u0, u2, i0, i2 rows, as a queue would hold them
};

/// The samples of a batch, on the device.
struct Samples {
  View<const std::int32_t, 1> user, item;                         ///< (B) their own ids in the queues
  std::array<View<const std::int32_t, 1>, data::kHops> hop_rows;  ///< (B) rows of each hop among the pooled
};

/// `pooled` (6 B or more, d) holds the hops of a HopSet::kAll batch, not normalised. `momentum_keys` is needed for
/// Positive::kMomentum (CheckError without). With an empty queue a term is 0.
template <class T>
ContrastiveResult<T> contrastive_loss(autograd::Tape<T>& tape, autograd::Variable<T> pooled,
                                      const NegativeQueues<T>& queues, const Samples& samples,
                                      const LossOptions& options, const Keys<T>* momentum_keys);
/// The same with the ids on the host and the rows in order: sample b's hop h is row 6 b + h.
template <class T>
ContrastiveResult<T> contrastive_loss(autograd::Tape<T>& tape, autograd::Variable<T> pooled,
                                      const NegativeQueues<T>& queues, std::span<const std::int32_t> user_ids,
                                      std::span<const std::int32_t> item_ids, const LossOptions& options,
                                      const Keys<T>* momentum_keys);

}  // namespace galrec::gal
