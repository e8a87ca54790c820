#include "gal/device_batch.h"

#include <algorithm>
#include <cstring>

#include "gal/graph_encoder.h"
#include "kernels/common/check.h"

namespace galrec::gal {

namespace {

using Ints = std::vector<std::int32_t>;

// Padding lies in segments of at most this many tokens: attention costs their square.
constexpr std::int64_t kPaddingSegment = 64;
// Which hops the queues hold, in their order.
constexpr std::array<data::Hop, 4> kKeyHops{data::Hop::kU0, data::Hop::kU2, data::Hop::kI0, data::Hop::kI2};

std::int64_t rounded_up(std::int64_t n, std::int64_t granule) {
  return granule == 0 ? n : (n + granule - 1) / granule * granule;
}

std::int32_t count_of(const Ints& list) {
  return static_cast<std::int32_t>(list.size());
}

std::int64_t padding_segments(std::int64_t granule) {
  return (granule + kPaddingSegment - 1) / kPaddingSegment;
}

/// Offsets for the tokens between cu.back() and `end`, always as many: the last ones are empty where there are few.
void pad_offsets(Ints& cu, std::int64_t end, std::int64_t granule) {
  for (std::int64_t s = padding_segments(granule); s > 0; --s) {
    cu.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(end, cu.back() + kPaddingSegment)));
  }
  GALREC_CHECK(cu.back() == end, "{} tokens end at {}", end, cu.back());
}

Ints segments_of(const HopBatch& batch, data::Hop hop) {
  Ints segments;
  for (std::int32_t b = 0; b < batch.samples; ++b) segments.push_back(static_cast<std::int32_t>(batch.segment(b, hop)));
  return segments;
}

}  // namespace

template <class T>
template <class V>
typename BatchLists<T>::Place BatchLists<T>::add(std::span<const V> values) {
  const std::size_t at = bytes_.size(), size = values.size_bytes();
  bytes_.resize(at + (size + kAlignment - 1) / kAlignment * kAlignment);
  if (size > 0) std::memcpy(bytes_.data() + at, values.data(), size);
  extents_.push_back(static_cast<std::int64_t>(values.size()));
  return {static_cast<std::int64_t>(at), static_cast<std::int64_t>(values.size())};
}

template <class T>
BatchLists<T>::BatchLists(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket,
                          const StepInputs& inputs)
    : hops_(batch.hops), samples_(batch.samples), user_dim_(model.user_dim) {
  GALREC_CHECK(batch.samples >= 1, "an empty batch");
  GALREC_CHECK(bucket >= 0 && bucket % kPaddingSegment == 0, "buckets of {} tokens are no multiple of {}", bucket,
               kPaddingSegment);
  GALREC_CHECK(static_cast<std::int64_t>(batch.own_user_vectors.size()) == batch.own_users * model.user_dim,
               "{} values for {} own vectors of {}", batch.own_user_vectors.size(), batch.own_users, model.user_dim);
  extents_ = {static_cast<std::int64_t>(batch.hops), batch.samples};
  add_table(batch, model, bucket / 8);
  add_prompts(batch, model, bucket);
  add_decoder(batch, model,
              bucket == 0                        ? 0
              : places_.recommend_rows.count > 0 ? padding_segments(bucket / 4)
                                                 : padding_segments(bucket));
  places_.user = add(batch.user);
  places_.item = add(batch.item);
  if (batch.hops == HopSet::kAll) {
    for (const auto hop : data::kAllHops)
      places_.hop_rows[static_cast<std::size_t>(hop)] = add(segments_of(batch, hop));
    add_keys(batch, model, bucket);
  }
  GALREC_CHECK(inputs.ring_rows.empty() || inputs.ring_rows.size() == batch.user.size(), "{} rows for {} samples",
               inputs.ring_rows.size(), batch.user.size());
  places_.ring_rows = add(inputs.ring_rows);
  places_.draw = add(std::span<const std::uint32_t>(&inputs.draw, 1));
}

template <class T>
void BatchLists<T>::add_table(const HopBatch& batch, const ModelOptions& model, std::int64_t granule) {
  const auto padded = [granule](Ints ids) {
    ids.resize(static_cast<std::size_t>(rounded_up(count_of(ids), granule)), 0);
    return ids;
  };
  const Ints users = padded(batch.user_ids), items = padded(batch.item_ids);
  own_rows_ = rounded_up(batch.own_users, granule);
  first_own_ = count_of(batch.text_ids) + count_of(batch.user_ids);
  first_item_ = first_own_ + batch.own_users;
  own_shift_ = count_of(users) - count_of(batch.user_ids);
  item_shift_ = own_shift_ + static_cast<std::int32_t>(own_rows_) - batch.own_users;
  places_.text_ids = add(batch.text_ids);
  places_.user_ids = add(users);
  places_.item_ids = add(items);
  std::vector<T> own;
  own.reserve(static_cast<std::size_t>(own_rows_ * model.user_dim));
  for (const float v : batch.own_user_vectors) own.push_back(T(v));
  own.resize(static_cast<std::size_t>(own_rows_ * model.user_dim), T(0.0f));
  places_.own_users = add(std::span<const T>(own));
}

/// Where a row of the batch's table lies in the padded one.
template <class T>
std::int32_t BatchLists<T>::row_of(std::int32_t row) const {
  if (row < first_own_) return row;
  return row + (row < first_item_ ? own_shift_ : item_shift_);
}

template <class T>
void BatchLists<T>::add_pool_rows(Place& rows, const std::vector<std::int32_t>& cu, const ModelOptions& model) {
  Ints list;
  if (model.mapping.pooling != Pooling::kMean) {
    for (std::size_t s = 0; s + 1 < cu.size(); ++s) {
      const std::int32_t row = model.mapping.pooling == Pooling::kFirst ? cu[s] : cu[s + 1] - 1;
      list.push_back(std::min(row, cu.back() - 1));  // an empty segment of the padding has none of its own
    }
  }
  rows = add(list);
}

template <class T>
void BatchLists<T>::add_prompts(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket) {
  Ints tokens, cu = batch.cu;
  for (const auto row : batch.tokens) tokens.push_back(row_of(row));
  tokens.resize(static_cast<std::size_t>(rounded_up(count_of(tokens), bucket)), batch.start_row);
  if (bucket > 0) pad_offsets(cu, count_of(tokens), bucket);
  places_.tokens = add(tokens);
  places_.cu = add(cu);
  add_pool_rows(places_.pool_rows, cu, model);
  if (batch.hops == HopSet::kRecommendOnly) return;

  Ints rows, recommend_cu{0};
  for (std::int32_t b = 0; b < batch.samples; ++b) {
    const auto s = static_cast<std::size_t>(batch.segment(b, data::Hop::kU2));
    for (auto n = batch.cu[s]; n < batch.cu[s + 1]; ++n) rows.push_back(n);
    recommend_cu.push_back(count_of(rows));
  }
  // Padding looks at padding, a different token each where there are enough: nobody's gradient waits for a long sum of
  // zeros.
  for (std::int32_t n = batch.cu.back(); count_of(rows) < rounded_up(recommend_cu.back(), bucket / 4); ++n)
    rows.push_back(std::min(n, count_of(tokens) - 1));
  if (bucket > 0) pad_offsets(recommend_cu, count_of(rows), bucket / 4);
  places_.recommend_rows = add(rows);
  places_.recommend_cu = add(recommend_cu);
}

template <class T>
void BatchLists<T>::add_keys(const HopBatch& batch, const ModelOptions& model, std::int64_t bucket) {
  Ints tokens, cu{0};
  for (std::int32_t b = 0; b < batch.samples; ++b) {
    for (const auto hop : kKeyHops) {
      for (const auto row : batch.prompt(b, hop)) tokens.push_back(row_of(row));
      cu.push_back(count_of(tokens));
    }
  }
  tokens.resize(static_cast<std::size_t>(rounded_up(count_of(tokens), bucket)), batch.start_row);
  if (bucket > 0) pad_offsets(cu, count_of(tokens), bucket);
  places_.key_tokens = add(tokens);
  places_.key_cu = add(cu);
  add_pool_rows(places_.key_pool_rows, cu, model);
}

/// The decoder's queries have no padding of their own: against the padding of the encoder's tokens stand segments
/// without a query.
template <class T>
void BatchLists<T>::add_decoder(const HopBatch& batch, const ModelOptions& model, std::int64_t padding_segments) {
  const std::int32_t first_item = model.text_rows + model.users;
  Ints start(static_cast<std::size_t>(batch.samples), batch.start_row), start_cu{0}, rows, cu{0}, columns;
  for (std::int32_t b = 0; b < batch.samples; ++b) start_cu.push_back(b + 1);
  const auto missing = std::find_if(batch.target.begin(), batch.target.end(), [](std::int32_t t) { return t < 0; });
  const bool all_have_targets = missing == batch.target.end();
  if (!all_have_targets) {
    without_target_ = static_cast<std::int32_t>(missing - batch.target.begin());
    user_without_target_ = batch.user[static_cast<std::size_t>(without_target_)];
  } else {
    for (std::size_t b = 0; b < batch.target.size(); ++b) {
      rows.insert(rows.end(), {batch.start_row, row_of(batch.target_row[b])});
      cu.push_back(count_of(rows));
      columns.insert(columns.end(), {first_item + batch.target[b], static_cast<std::int32_t>(model.t5.eos_token_id)});
    }
  }
  for (auto* offsets : {&start_cu, &cu})
    offsets->resize(offsets->size() + static_cast<std::size_t>(padding_segments), offsets->back());
  places_.start_rows = add(start);
  places_.start_cu = add(start_cu);
  places_.target_rows = add(rows);
  places_.target_cu = add(cu);
  places_.target_items = add(all_have_targets ? batch.target : Ints{});
  places_.target_columns = add(columns);
}

template <class T>
DeviceBatch<T> BatchLists<T>::put(MemoryResource& memory, std::byte* at) const {
  memory.upload(at, bytes_.data(), bytes_.size());
  const auto ints = [at](const Place& p) {
    return View<const std::int32_t, 1>(reinterpret_cast<const std::int32_t*>(at + p.offset), {p.count});
  };
  DeviceBatch<T> out;
  out.hops = hops_;
  out.samples = samples_;
  out.without_target = without_target_;
  out.user_without_target = user_without_target_;
  out.text_ids = ints(places_.text_ids);
  out.user_ids = ints(places_.user_ids);
  out.item_ids = ints(places_.item_ids);
  out.own_users = View<const T, 2>(reinterpret_cast<const T*>(at + places_.own_users.offset), {own_rows_, user_dim_});
  out.tokens = ints(places_.tokens);
  out.cu = ints(places_.cu);
  out.pool_rows = ints(places_.pool_rows);
  out.recommend_rows = ints(places_.recommend_rows);
  out.recommend_cu = ints(places_.recommend_cu);
  out.start_rows = ints(places_.start_rows);
  out.start_cu = ints(places_.start_cu);
  out.target_rows = ints(places_.target_rows);
  out.target_cu = ints(places_.target_cu);
  out.target_items = ints(places_.target_items);
  out.target_columns = ints(places_.target_columns);
  out.user = ints(places_.user);
  out.item = ints(places_.item);
  for (std::size_t h = 0; h < data::kHops; ++h) out.hop_rows[h] = ints(places_.hop_rows[h]);
  out.key_tokens = ints(places_.key_tokens);
  out.key_cu = ints(places_.key_cu);
  out.key_pool_rows = ints(places_.key_pool_rows);
  out.ring_rows = ints(places_.ring_rows);
  out.draw = reinterpret_cast<const std::uint32_t*>(at + places_.draw.offset);
  return out;
}

template class BatchLists<float>;
template class BatchLists<double>;
template class BatchLists<bfloat16>;

}  // namespace galrec::gal
