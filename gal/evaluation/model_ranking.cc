#include "gal/evaluation/model_ranking.h"

#include <algorithm>

#include "autograd/ops/sums.h"

namespace galrec::gal {

template <class T>
RankResult rank_targets(const Device& device, autograd::Tape<T>& tape, GalModel<T>& model, BatchBuilder& builder,
                        const data::Split& split, data::Phase phase, const RankingOptions& options,
                        const RankingProgress& progress) {
  HopBatch batch;
  const QueryFn<Acc<T>> query = [&](std::span<const data::UserId> users, data::Phase of, View<Acc<T>, 2> queries) {
    builder.build_eval(batch, users, of);
    tape.reset(autograd::Recording::kOff);
    const auto states = on_host(device, autograd::cast<Acc<T>>(tape, model.rank_states(tape, batch)).value());
    GALREC_CHECK(states->shape == queries.shape, "({}, {})", states->rows(), states->cols());
    for (std::int64_t i = 0; i < states->rows(); ++i) std::copy_n(states->row(i), states->cols(), queries.row(i));
  };
  return full_ranking<Acc<T>>(device, split, phase, query, {.rows = model.item_head()}, options, progress);
}

#define INSTANTIATE(T)                                                                                                 \
  template RankResult rank_targets(const Device&, autograd::Tape<T>&, GalModel<T>&, BatchBuilder&, const data::Split&, \
                                   data::Phase, const RankingOptions&, const RankingProgress&);
INSTANTIATE(float)
INSTANTIATE(bfloat16)
#undef INSTANTIATE

}  // namespace galrec::gal
