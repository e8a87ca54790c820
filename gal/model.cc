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
typename GalModel<T>::Encoded GalModel<T>::encode(Tape<T>& tape, const HopBatch& batch,
                                                  const layers::DropoutRates& rates) {
  Encoded e;
  e.table = encoder_->table(tape, batch);
  e.cu = tape.keep(batch.cu);
  e.states = encoder_->states(tape, e.table, tape.keep(batch.tokens), e.cu, rates);
  if (batch.hops == HopSet::kRecommendOnly) {
    e.recommend_states = e.states;
    e.recommend_cu = e.cu;
    return e;
  }
  std::vector<std::int32_t> rows, cu{0};
  for (std::int32_t b = 0; b < batch.samples; ++b) {
    const auto s = static_cast<std::size_t>(batch.segment(b, data::Hop::kU2));
    for (auto n = batch.cu[s]; n < batch.cu[s + 1]; ++n) rows.push_back(n);
    cu.push_back(static_cast<std::int32_t>(rows.size()));
  }
  e.recommend_states = embedding(tape, e.states, tape.keep(rows));
  e.recommend_cu = tape.keep(cu);
  return e;
}

template <class T>
Variable<T> GalModel<T>::decode(Tape<T>& tape, const HopBatch& batch, const Encoded& encoded, int steps,
                                const layers::DropoutRates& rates) {
  std::vector<std::int32_t> rows, cu{0};
  for (std::size_t b = 0; b < static_cast<std::size_t>(batch.samples); ++b) {
    rows.push_back(batch.start_row);
    if (steps > 1) rows.push_back(batch.target_row[b]);
    cu.push_back(static_cast<std::int32_t>(rows.size()));
  }
  return decoder_->forward(tape, embedding(tape, encoded.table, tape.keep(rows)), tape.keep(cu),
                           encoded.recommend_states, encoded.recommend_cu, rates);
}

template <class T>
Variable<Acc<T>> GalModel<T>::recommendation_loss(Tape<T>& tape, const HopBatch& batch, const Encoded& encoded,
                                                  const LossOptions& loss, const layers::DropoutRates& rates) {
  for (std::size_t b = 0; b < batch.target.size(); ++b) {
    GALREC_CHECK(batch.target[b] >= 0, "sample {} has no target", b);
  }
  const auto head = tape.weight(store_, head_);
  const std::int64_t first_item = static_cast<std::int64_t>(options_.text_rows) + options_.users;
  if (loss.columns == LossColumns::kItems) {
    return linear_cross_entropy<T>(tape, decode(tape, batch, encoded, 1, rates), head, {},
                                   tape.keep(batch.target), logit_scale_, {first_item, options_.items});
  }
  std::vector<std::int32_t> targets;
  for (const auto t : batch.target) {
    targets.push_back(static_cast<std::int32_t>(first_item) + t);
    targets.push_back(options_.t5.eos_token_id);
  }
  return linear_cross_entropy<T>(tape, decode(tape, batch, encoded, 2, rates), head, {},
                                 tape.keep(targets), logit_scale_);
}

template <class T>
StepResult<T> GalModel<T>::forward(Tape<T>& tape, const HopBatch& batch, const NegativeQueues<T>* queues,
                                   const LossOptions& loss, const layers::DropoutRates& rates,
                                   const Keys<T>* momentum_keys) {
  GALREC_CHECK(batch.samples >= 1, "an empty batch");
  const Encoded encoded = encode(tape, batch, rates);
  StepResult<T> result;
  result.loss = recommendation_loss(tape, batch, encoded, loss, rates);
  result.l0 = result.loss;
  if (batch.hops == HopSet::kRecommendOnly) {
    GALREC_CHECK(!loss.contrastive(), "the contrastive losses need the prompts of all hops");
    return result;
  }
  const Variable<T> pooled = encoder_->pool(tape, encoded.states, encoded.cu, batch.cu);
  result.embeddings = pooled.value();
  if (!loss.contrastive()) return result;
  GALREC_CHECK(queues != nullptr, "the contrastive losses need the queues");
  const auto contrast = contrastive_loss<T>(tape, pooled, *queues, batch.user, batch.item, loss, momentum_keys);
  result.nce = contrast.nce;
  result.rows = contrast.rows;
  result.query_keys = contrast.query_keys;
  result.loss = autograd::weighted_sum<T>(tape, {{result.loss, 1.0}, {contrast.loss, 1.0}});
  return result;
}

template <class T>
Variable<T> GalModel<T>::rank_states(Tape<T>& tape, const HopBatch& batch, const layers::DropoutRates& rates) {
  const Variable<T> states = decode(tape, batch, encode(tape, batch, rates), 1, rates);
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
