#include "gal/graph_encoder.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "autograd/ops/activation.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/linear.h"
#include "autograd/ops/pooling.h"
#include "autograd/ops/rows.h"
#include "autograd/ops/sums.h"
#include "kernels/common/check.h"
#include "kernels/common/host_view.h"
#include "kernels/embedding/embedding.h"

namespace galrec::gal {

using autograd::Recording;
using autograd::Tape;
using autograd::Variable;

namespace {

constexpr std::int64_t kMapBlock = 1024;  // rows of h that map_rows() embeds at a time

/// Rows `ids` of the constant table h, then the rows of `extra`, on the tape.
template <class T>
Variable<T> gather_constant(Tape<T>& tape, const Buffer<T>& h, std::int64_t dim, View<const std::int32_t, 1> ids,
                            View<const T, 2> extra) {
  const std::int64_t n = ids.extent(0);
  const auto out = tape.arena().template matrix<T>(n + extra.rows(), dim);
  if (n > 0) {
    dispatch<T>(tape.device(), [&](auto& ctx) {
      const View<const T, 2> table = h.view(h.size() / dim, dim);
      if constexpr (std::is_same_v<T, Acc<T>>)
        embedding_forward<T>(ctx, out.slice_rows(0, n), table, ids, Accumulate::kOverwrite);
      else
        embedding_forward<T, T>(ctx, out.slice_rows(0, n), table, ids, Accumulate::kOverwrite);
    });
  }
  if (extra.rows() > 0) copy_rows<T>(tape.arena().memory(), out.slice_rows(n, extra.rows()), extra);
  return tape.constant(out);
}

}  // namespace

template <class T>
GraphEncoder<T>::GraphEncoder(autograd::ParameterStore<T>& store, const ModelOptions& options,
                              const ExternalTables<T>& external)
    : store_(store),
      options_(options),
      external_(external),
      shared_(store.add("shared.weight", {options.text_rows, options.t5.d_model})),
      encoder_(store, options.t5) {
  g_user_ = register_mapping("g_user", options.user_dim);
  g_item_ = register_mapping("g_item", options.item_dim);
  if (options.mapping.rows == ExternalRows::kTrainable) {
    h_user_ = store.add("h_user", {options.users, options.user_dim});
    h_item_ = store.add("h_item", {options.items, options.item_dim});
  }
}

template <class T>
typename GraphEncoder<T>::MappingIds GraphEncoder<T>::register_mapping(const char* name, std::int64_t dim) {
  const std::string prefix(name);
  const std::int64_t d = options_.t5.d_model;
  MappingIds ids;
  if (options_.mapping.mapping == Mapping::kMlp) {
    ids.hidden_weight = store_.add(prefix + ".hidden.weight", {d, dim});
    ids.hidden_bias = store_.add(prefix + ".hidden.bias", {d});
    dim = d;
  }
  ids.weight = store_.add(prefix + ".weight", {d, dim});
  ids.bias = store_.add(prefix + ".bias", {d});
  return ids;
}

template <class T>
Variable<T> GraphEncoder<T>::map(Tape<T>& tape, Variable<T> h, const MappingIds& g) const {
  if (g.hidden_weight >= 0) {
    h = linear(tape, h, tape.weight(store_, g.hidden_weight), tape.parameter(store_, g.hidden_bias));
    h = activation(tape, h, ActivationKind::kGeluTanh, 0.0);
  }
  return linear(tape, h, tape.weight(store_, g.weight), tape.parameter(store_, g.bias));
}

template <class T>
Variable<Acc<T>> GraphEncoder<T>::table(Tape<T>& tape, const DeviceBatch<T>& batch) const {
  std::vector<Variable<Acc<T>>> parts;
  const auto trainable_rows = [&](autograd::ParameterId h, View<const std::int32_t, 1> ids) {
    return autograd::cast<T>(tape, embedding(tape, tape.parameter(store_, h), ids));
  };
  if (batch.text_ids.extent(0) > 0) parts.push_back(embedding(tape, tape.parameter(store_, shared_), batch.text_ids));
  const bool trainable = h_user_ >= 0;
  const std::int64_t users = batch.user_ids.extent(0), own = batch.own_users.rows();
  if (users + own > 0) {
    Variable<T> h;
    if (trainable && users > 0) {
      h = trainable_rows(h_user_, batch.user_ids);
      if (own > 0)
        h = concat_rows(tape, {h, gather_constant<T>(tape, external_.user, options_.user_dim, {}, batch.own_users)});
    } else {
      h = gather_constant<T>(tape, external_.user, options_.user_dim, batch.user_ids, batch.own_users);
    }
    parts.push_back(autograd::cast<Acc<T>>(tape, map(tape, h, g_user_)));
  }
  if (batch.item_ids.extent(0) > 0) {
    const Variable<T> h = trainable ? trainable_rows(h_item_, batch.item_ids)
                                    : gather_constant<T>(tape, external_.item, options_.item_dim, batch.item_ids, {});
    parts.push_back(autograd::cast<Acc<T>>(tape, map(tape, h, g_item_)));
  }
  return concat_rows(tape, parts);
}

template <class T>
Variable<T> GraphEncoder<T>::states(Tape<T>& tape, Variable<Acc<T>> table, View<const std::int32_t, 1> tokens,
                                    View<const std::int32_t, 1> cu, const layers::DropoutRates& rates) const {
  return encoder_.forward(tape, embedding(tape, table, tokens), cu, rates);
}

template <class T>
Variable<T> GraphEncoder<T>::pool(Tape<T>& tape, Variable<T> states, View<const std::int32_t, 1> cu,
                                  View<const std::int32_t, 1> rows) const {
  return options_.mapping.pooling == Pooling::kMean ? segment_mean(tape, states, cu) : embedding(tape, states, rows);
}

template <class T>
template <class H>
void GraphEncoder<T>::map_rows(const Device& device, View<Acc<T>, 2> out, View<const H, 2> h, const MappingIds& g) const {
  Tape<T> tape(device);
  for (std::int64_t first = 0; first < h.rows(); first += kMapBlock) {
    const std::int64_t n = std::min(kMapBlock, h.rows() - first);
    tape.reset(Recording::kOff);
    const auto rows = autograd::cast<T>(tape, tape.constant(h.slice_rows(first, n)));
    const auto mapped = on_host(device, autograd::cast<Acc<T>>(tape, map(tape, rows, g)).value());
    for (std::int64_t r = 0; r < n; ++r) std::copy_n(mapped->row(r), mapped->cols(), out.row(first + r));
  }
}

template <class T>
void GraphEncoder<T>::map_all(const Device& device, View<Acc<T>, 2> users, View<Acc<T>, 2> items) const {
  if (h_user_ >= 0) {
    map_rows<Acc<T>>(device, users, store_.value(h_user_), g_user_);
    map_rows<Acc<T>>(device, items, store_.value(h_item_), g_item_);
  } else {
    map_rows<T>(device, users, external_.user.view(options_.users, options_.user_dim), g_user_);
    map_rows<T>(device, items, external_.item.view(options_.items, options_.item_dim), g_item_);
  }
}

template class GraphEncoder<float>;
template class GraphEncoder<double>;
template class GraphEncoder<bfloat16>;

}  // namespace galrec::gal
