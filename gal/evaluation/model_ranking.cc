#include "gal/evaluation/model_ranking.h"

#include <algorithm>

namespace galrec::gal {

RankResult rank_targets(const Device& device, autograd::Tape<float>& tape, GalModel<float>& model, BatchBuilder& builder,
                        const data::Split& split, data::Phase phase, const RankingOptions& options,
                        const RankingProgress& progress) {
  HopBatch batch;
  const QueryFn<float> query = [&](std::span<const data::UserId> users, data::Phase of, View<float, 2> queries) {
    builder.build_eval(batch, users, of);
    tape.reset(autograd::Recording::kOff);
    const auto states = on_host(device, model.rank_states(tape, batch).value());
    GALREC_CHECK(states->shape == queries.shape, "({}, {})", states->rows(), states->cols());
    for (std::int64_t i = 0; i < states->rows(); ++i) std::copy_n(states->row(i), states->cols(), queries.row(i));
  };
  return full_ranking<float>(device, split, phase, query, {.rows = model.item_head()}, options, progress);
}

}  // namespace galrec::gal
