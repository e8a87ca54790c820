#include "gal/model.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops/embedding.h"
#include "autograd/ops/linear_cross_entropy.h"
#include "autograd/ops/sums.h"
#include "kernels/common/check.h"
#include "layers/t5/checkpoint.h"

namespace galrec::gal {

using autograd::Tape;
using autograd::Variable;

template <class T>
GalModel<T>::GalModel(ModelOptions options, MemoryResource& memory) : options_(std::move(options)) {
  GALREC_CHECK(options_.text_rows >= 2 && options_.users >= 1 && options_.items >= 1 && options_.user_dim >= 1 &&
                   options_.item_dim >= 1,
               "{} text rows, {} users of {}, {} items of {}", options_.text_rows, options_.users, options_.user_dim,
               options_.items, options_.item_dim);
  GALREC_CHECK(options_.t5.decoder_start_token_id == 0 && options_.t5.eos_token_id == 1,
               "decoder start {} and </s> {}: T5 has 0 and 1", options_.t5.decoder_start_token_id,
               options_.t5.eos_token_id);
  const auto& t5 = options_.t5;
  logit_scale_ = t5.scale_decoder_outputs ? 1.0 / std::sqrt(static_cast<double>(t5.d_model)) : 1.0;
  encoder_ = std::make_unique<GraphEncoder<T>>(store_, options_, external_);
  decoder_ = std::make_unique<layers::T5Decoder<T>>(store_, t5);
  const std::int64_t columns = static_cast<std::int64_t>(options_.text_rows) + options_.users + options_.items;
  head_ = store_.add("lm_head.weight", {columns, t5.d_model});
  store_.allocate(autograd::Trainable::kYes, memory);
  external_.user = Buffer<T>::zeros(static_cast<std::int64_t>(options_.users) * options_.user_dim, memory);
  external_.item = Buffer<T>::zeros(static_cast<std::int64_t>(options_.items) * options_.item_dim, memory);
}

template <class T>
template <class Source>
void GalModel<T>::copy_external(View<const Source, 2> h_user, View<const Source, 2> h_item) {
  GALREC_CHECK(h_user.rows() == options_.users && h_user.cols() == options_.user_dim, "h_user is ({}, {})",
               h_user.rows(), h_user.cols());
  GALREC_CHECK(h_item.rows() == options_.items && h_item.cols() == options_.item_dim, "h_item is ({}, {})",
               h_item.rows(), h_item.cols());
  const bool trainable = options_.mapping.rows == ExternalRows::kTrainable;
  const auto converted = []<class To>(View<const Source, 2> from, To) {
    std::vector<To> values;
    values.reserve(static_cast<std::size_t>(from.size()));
    for (std::int64_t r = 0; r < from.rows(); ++r) {
      for (std::int64_t c = 0; c < from.cols(); ++c) values.push_back(To(static_cast<Acc<To>>(from(r, c))));
    }
    return values;
  };
  const auto copy = [&](View<const Source, 2> from, const char* name, const Buffer<T>& table) {
    if (trainable) {
      store_.write(store_.require(name), converted(from, Acc<T>{}));
    } else {
      const auto values = converted(from, T{});
      table.memory().upload(table.data(), values.data(), values.size() * sizeof(T));
    }
  };
  copy(h_user, "h_user", external_.user);
  copy(h_item, "h_item", external_.item);
}

template <class T>
void GalModel<T>::set_external(View<const float, 2> h_user, View<const float, 2> h_item) {
  copy_external(h_user, h_item);
}

template <class T>
void GalModel<T>::set_external(View<const double, 2> h_user, View<const double, 2> h_item) {
  copy_external(h_user, h_item);
}

template <class T>
DeviceBatch<T> GalModel<T>::place(Tape<T>& tape, const HopBatch& batch) const {
  const BatchLists<T> lists(batch, options_, 0);
  return lists.put(tape.arena().memory(), tape.arena().template alloc<std::byte>(lists.bytes()));
}

template <class T>
typename GalModel<T>::Encoded GalModel<T>::encode(Tape<T>& tape, const DeviceBatch<T>& batch,
                                                  const layers::DropoutRates& rates) {
  Encoded e;
  e.table = encoder_->table(tape, batch);
  e.states = encoder_->states(tape, e.table, batch.tokens, batch.cu, rates);
  const bool all = batch.hops == HopSet::kAll;
  e.recommend_states = all ? embedding(tape, e.states, batch.recommend_rows) : e.states;
  e.recommend_cu = all ? batch.recommend_cu : batch.cu;
  return e;
}

template <class T>
Variable<T> GalModel<T>::decode(Tape<T>& tape, const DeviceBatch<T>& batch, const Encoded& encoded, int steps,
                                const layers::DropoutRates& rates) {
  const auto rows = steps > 1 ? batch.target_rows : batch.start_rows, cu = steps > 1 ? batch.target_cu : batch.start_cu;
  return decoder_->forward(tape, embedding(tape, encoded.table, rows), cu, encoded.recommend_states,
                           encoded.recommend_cu, rates);
}

template <class T>
Variable<Acc<T>> GalModel<T>::recommendation_loss(Tape<T>& tape, const DeviceBatch<T>& batch, const Encoded& encoded,
                                                  const LossOptions& loss, const layers::DropoutRates& rates) {
  GALREC_CHECK(batch.without_target < 0, "sample {} of the batch (user {}) has no target", batch.without_target,
               batch.user_without_target);
  const auto head = tape.weight(store_, head_);
  if (loss.columns == LossColumns::kItems) {
    const std::int64_t first_item = static_cast<std::int64_t>(options_.text_rows) + options_.users;
    return linear_cross_entropy<T>(tape, decode(tape, batch, encoded, 1, rates), head, {}, batch.target_items,
                                   logit_scale_, {first_item, options_.items});
  }
  return linear_cross_entropy<T>(tape, decode(tape, batch, encoded, 2, rates), head, {}, batch.target_columns,
                                 logit_scale_);
}

template <class T>
StepResult<T> GalModel<T>::forward(Tape<T>& tape, const HopBatch& batch, const NegativeQueues<T>* queues,
                                   const LossOptions& loss, const layers::DropoutRates& rates,
                                   const Keys<T>* momentum_keys) {
  return forward(tape, place(tape, batch), queues, loss, rates, momentum_keys);
}

template <class T>
StepResult<T> GalModel<T>::forward(Tape<T>& tape, const DeviceBatch<T>& batch, const NegativeQueues<T>* queues,
                                   const LossOptions& loss, const layers::DropoutRates& rates,
                                   const Keys<T>* momentum_keys) {
  const Encoded encoded = encode(tape, batch, rates);
  StepResult<T> result;
  result.loss = recommendation_loss(tape, batch, encoded, loss, rates);
  result.l0 = result.loss;
  if (batch.hops == HopSet::kRecommendOnly) {
    GALREC_CHECK(!loss.contrastive(), "the contrastive losses need the prompts of all hops");
    return result;
  }
  const Variable<T> pooled = encoder_->pool(tape, encoded.states, batch.cu, batch.pool_rows);
  result.embeddings = pooled.value().slice_rows(0, batch.samples * static_cast<std::int64_t>(data::kHops));
  if (!loss.contrastive()) return result;
  GALREC_CHECK(queues != nullptr, "the contrastive losses need the queues");
  const auto contrast =
      contrastive_loss<T>(tape, pooled, *queues, {batch.user, batch.item, batch.hop_rows}, loss, momentum_keys);
  result.nce = contrast.nce;
  result.rows = contrast.rows;
  result.query_keys = contrast.query_keys;
  result.loss = autograd::weighted_sum<T>(tape, {{result.loss, 1.0}, {contrast.loss, 1.0}});
  return result;
}

template <class T>
Variable<T> GalModel<T>::rank_states(Tape<T>& tape, const HopBatch& batch, const layers::DropoutRates& rates) {
  const DeviceBatch<T> placed = place(tape, batch);
  const Variable<T> states = decode(tape, placed, encode(tape, placed, rates), 1, rates);
  return logit_scale_ == 1.0 ? states : autograd::scale(tape, states, logit_scale_);
}

template <class T>
View<const Acc<T>, 2> GalModel<T>::item_head() const {
  return store_.value(head_).slice_rows(static_cast<std::int64_t>(options_.text_rows) + options_.users, options_.items);
}

template <class T>
void GalModel<T>::embedding_table(const Device& device, View<Acc<T>, 2> out) const {
  const auto shared = store_.read(store_.require("shared.weight"));
  GALREC_CHECK(out.rows() == store_.value(head_).rows() && out.cols() == shared->cols(), "({}, {})", out.rows(),
               out.cols());
  for (std::int64_t r = 0; r < shared->rows(); ++r) std::copy_n(shared->row(r), shared->cols(), out.row(r));
  encoder_->map_all(device, out.slice_rows(options_.text_rows, options_.users),
                    out.slice_rows(static_cast<std::int64_t>(options_.text_rows) + options_.users, options_.items));
}

template class GalModel<float>;
template class GalModel<double>;
template class GalModel<bfloat16>;

}  // namespace galrec::gal
