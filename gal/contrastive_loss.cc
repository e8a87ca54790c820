#include "gal/contrastive_loss.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "autograd/ops/embedding.h"
#include "autograd/ops/info_nce.h"
#include "autograd/ops/pooling.h"
#include "autograd/ops/sums.h"
#include "kernels/common/check.h"
#include "kernels/common/host_view.h"

namespace galrec::gal {

using autograd::Tape;
using autograd::Variable;
using data::Hop;

namespace {

constexpr std::array<Queue, kQueues> kAllQueues{Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2};

constexpr Hop hop_of(Queue q) {
  switch (q) {
    case Queue::kU0:
      return Hop::kU0;
    case Queue::kU2:
      return Hop::kU2;
    case Queue::kI0:
      return Hop::kI0;
    case Queue::kI2:
      return Hop::kI2;
  }
  return Hop::kU0;
}

/// What an anchor is pushed away from.
template <class T>
struct Negatives {
  View<const T, 2> keys;
  View<const std::int32_t, 1> ids;
};

/// The queue and, after it, the batch's own positives as constants: each sample's own is masked by its id.
template <class T>
Negatives<T> with_batch(Tape<T>& tape, const Negatives<T>& queue, View<const T, 2> positives,
                        View<const std::int32_t, 1> ids) {
  const std::int64_t n = queue.keys.rows(), batch = positives.rows(), d = positives.cols();
  const auto keys = tape.arena().template matrix<T>(n + batch, d);
  const auto all_ids = tape.arena().template vector<std::int32_t>(n + batch);
  MemoryResource& memory = tape.arena().memory();
  copy_rows<T>(memory, keys.slice_rows(0, n), queue.keys);
  copy_rows<T>(memory, keys.slice_rows(n, batch), positives);
  memory.copy(all_ids.data, queue.ids.data, static_cast<std::size_t>(n) * sizeof(std::int32_t));
  memory.copy(all_ids.data + n, ids.data, static_cast<std::size_t>(batch) * sizeof(std::int32_t));
  return {keys, all_ids};
}

template <class T>
class Terms {
 public:
  Terms(Tape<T>& tape, Variable<T> rows, const NegativeQueues<T>& queues, const Samples& samples,
        const LossOptions& options, const Keys<T>* momentum_keys)
      : tape_(tape), queues_(queues), samples_(samples), options_(options), momentum_keys_(momentum_keys) {
    for (std::size_t hop = 0; hop < data::kHops; ++hop) views_[hop] = embedding(tape, rows, samples.hop_rows[hop]);
  }

  const Variable<T>& view(Hop hop) const { return views_[static_cast<std::size_t>(hop)]; }

  autograd::InfoNceResult<T> term(const TermViews& t) const {
    const auto ids = is_user_queue(t.queue) ? samples_.user : samples_.item;
    const bool constant = options_.positive == Positive::kMomentum;
    const Variable<T> positive = constant ? tape_.constant((*momentum_keys_)[t.queue]) : view(t.positive);
    Negatives<T> negatives{queues_.keys(t.queue), queues_.ids(t.queue)};
    if (options_.in_batch == InBatch::kOn) negatives = with_batch<T>(tape_, negatives, positive.value(), ids);
    return info_nce<T>(tape_, view(t.anchor), positive, negatives.keys, negatives.ids, ids, options_.tau,
                       constant ? autograd::PositiveGradient::kStop : autograd::PositiveGradient::kFlow);
  }

 private:
  Tape<T>& tape_;
  const NegativeQueues<T>& queues_;
  const Samples& samples_;
  const LossOptions& options_;
  const Keys<T>* momentum_keys_;
  std::array<Variable<T>, data::kHops> views_;
};

double weight_of(Term term, const LossOptions& options) {
  const std::array<double, 3> weights{options.l1, options.l2, options.l3};
  return weights[static_cast<std::size_t>(term) / 2] * (options.reduction == Reduction::kMean ? 0.5 : 1.0);
}

}  // namespace

std::string_view term_name(Term term) {
  constexpr std::array<std::string_view, kTerms> names{"L1u", "L1i", "L2u", "L2i", "L3u", "L3i"};
  return names[static_cast<std::size_t>(term)];
}

TermViews term_views(Term term, L1Anchor l1_anchor) {
  const bool swapped = l1_anchor == L1Anchor::kHop0;
  switch (term) {
    case Term::kL1User:
      return swapped ? TermViews{Hop::kU0, Hop::kU2, Queue::kU2} : TermViews{Hop::kU2, Hop::kU0, Queue::kU0};
    case Term::kL1Item:
      return swapped ? TermViews{Hop::kI0, Hop::kI2, Queue::kI2} : TermViews{Hop::kI2, Hop::kI0, Queue::kI0};
    case Term::kL2User:
      return {Hop::kI1, Hop::kU2, Queue::kU2};
    case Term::kL2Item:
      return {Hop::kU1, Hop::kI2, Queue::kI2};
    case Term::kL3User:
      return {Hop::kI1, Hop::kU0, Queue::kU0};
    case Term::kL3Item:
      return {Hop::kU1, Hop::kI0, Queue::kI0};
  }
  throw CheckError("no such term");
}

template <class T>
ContrastiveResult<T> contrastive_loss(Tape<T>& tape, Variable<T> pooled, const NegativeQueues<T>& queues,
                                      std::span<const std::int32_t> user_ids, std::span<const std::int32_t> item_ids,
                                      const LossOptions& options, const Keys<T>* momentum_keys) {
  Samples samples{tape.keep(user_ids), tape.keep(item_ids), {}};
  for (std::size_t hop = 0; hop < data::kHops; ++hop) {
    std::vector<std::int32_t> rows(user_ids.size());
    for (std::size_t b = 0; b < rows.size(); ++b) rows[b] = static_cast<std::int32_t>(b * data::kHops + hop);
    samples.hop_rows[hop] = tape.keep(rows);
  }
  return contrastive_loss<T>(tape, pooled, queues, samples, options, momentum_keys);
}

template <class T>
ContrastiveResult<T> contrastive_loss(Tape<T>& tape, Variable<T> pooled, const NegativeQueues<T>& queues,
                                      const Samples& samples, const LossOptions& options,
                                      const Keys<T>* momentum_keys) {
  const std::int64_t users = samples.user.extent(0);
  GALREC_CHECK(pooled.rows() >= users * static_cast<std::int64_t>(data::kHops) && samples.item.extent(0) == users,
               "{} pooled rows for {} users and {} items", pooled.rows(), users, samples.item.extent(0));
  GALREC_CHECK(pooled.cols() == queues.dim(), "pooled rows of {}, queues of {}", pooled.cols(), queues.dim());
  GALREC_CHECK(options.positive == Positive::kQuery || momentum_keys != nullptr,
               "loss.positive=momentum needs the momentum keys");

  const Variable<T> rows = options.similarity == Similarity::kCosine ? l2_normalize(tape, pooled) : pooled;
  const Terms<T> terms(tape, rows, queues, samples, options, momentum_keys);
  ContrastiveResult<T> result;
  for (const auto q : kAllQueues) result.query_keys.rows[static_cast<std::size_t>(q)] = terms.view(hop_of(q)).value();

  std::vector<std::pair<Variable<Acc<T>>, double>> sum;
  for (int k = 0; k < kTerms; ++k) {
    const auto term = static_cast<Term>(k);
    const auto i = static_cast<std::size_t>(k);
    const double weight = weight_of(term, options);
    if (weight == 0) continue;
    const bool symmetric = k < 2 && options.l1_anchor == L1Anchor::kSymmetric;
    const auto first = terms.term(term_views(term, options.l1_anchor));
    result.rows[i] = {first.positive_score, first.hardest, first.losses};
    result.nce[i] = first.loss;
    sum.emplace_back(first.loss, symmetric ? weight / 2 : weight);
    if (symmetric) {
      const auto second = terms.term(term_views(term, L1Anchor::kHop0));
      result.nce[i] = autograd::weighted_sum<T>(tape, {{first.loss, 0.5}, {second.loss, 0.5}});
      sum.emplace_back(second.loss, weight / 2);
    }
  }
  if (!sum.empty()) result.loss = autograd::weighted_sum<T>(tape, std::span<const std::pair<Variable<Acc<T>>, double>>(sum));
  return result;
}

#define INSTANTIATE(T)                                                                                            \
  template ContrastiveResult<T> contrastive_loss(Tape<T>&, Variable<T>, const NegativeQueues<T>&, const Samples&, \
                                                 const LossOptions&, const Keys<T>*);                             \
  template ContrastiveResult<T> contrastive_loss(Tape<T>&, Variable<T>, const NegativeQueues<T>&,                 \
                                                 std::span<const std::int32_t>, std::span<const std::int32_t>,    \
                                                 const LossOptions&, const Keys<T>*);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
