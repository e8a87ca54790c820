#include "layers/transformer/sasrec_encoder.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/ops/activation.h"
#include "autograd/ops/attention.h"
#include "autograd/ops/embedding.h"
#include "autograd/ops/layer_norm.h"
#include "autograd/ops/linear.h"
#include "layers/init.h"
#include "layers/json_fields.h"

namespace galrec::layers {

using autograd::ParameterId;
using autograd::ParameterStore;
using autograd::Tape;
using autograd::Variable;

SasRecConfig SasRecConfig::from_json_text(std::string_view text, const std::string& display_name) {
  const JsonFields fields(text, display_name);
  const auto fail = [&](const char* key, const std::string& got, const std::string& expected) {
    throw DataError(fmt::format("{}: key {}: got {}, expected {}", display_name, key, got, expected));
  };
  SasRecConfig c;
  const auto read = [&](const char* key, std::int64_t& value) {
    value = fields.integer(key, value);
    if (value < 1 || value > std::int64_t{1} << 30) fail(key, std::to_string(value), "a positive integer");
  };
  read("item_size", c.item_size);
  read("hidden_size", c.hidden_size);
  read("num_hidden_layers", c.num_hidden_layers);
  read("num_attention_heads", c.num_attention_heads);
  c.intermediate_size = 4 * c.hidden_size;
  read("intermediate_size", c.intermediate_size);
  read("max_seq_length", c.max_seq_length);
  c.layer_norm_eps = fields.number("layer_norm_eps", c.layer_norm_eps);
  const std::string act = fields.text("hidden_act", "gelu");
  if (act != "gelu") fail("hidden_act", '"' + act + '"', "\"gelu\"");
  if (!(c.layer_norm_eps > 0)) fail("layer_norm_eps", std::to_string(c.layer_norm_eps), "a positive number");
  if (c.hidden_size % c.num_attention_heads != 0) {
    fail("num_attention_heads", std::to_string(c.num_attention_heads), fmt::format("a divisor of {}", c.hidden_size));
  }
  return c;
}

std::string SasRecConfig::to_json_text() const {
  const nlohmann::ordered_json json = {
      {"model", "sasrec"},
      {"hidden_size", hidden_size},
      {"num_hidden_layers", num_hidden_layers},
      {"num_attention_heads", num_attention_heads},
      {"intermediate_size", intermediate_size},
      {"hidden_act", "gelu"},
      {"layer_norm_eps", layer_norm_eps},
      {"max_seq_length", max_seq_length},
      {"item_size", item_size},
  };
  return json.dump(1) + "\n";
}

std::vector<std::int32_t> left_padded_positions(View<const std::int32_t, 1> cu, std::int64_t max_seq_length) {
  std::vector<std::int32_t> positions;
  positions.reserve(static_cast<std::size_t>(cu[cu.extent(0) - 1]));
  for (std::int64_t b = 0; b + 1 < cu.extent(0); ++b) {
    const std::int64_t n = cu[b + 1] - cu[b];
    GALREC_CHECK(n <= max_seq_length, "a sequence of {} items, at most {}", n, max_seq_length);
    for (std::int64_t t = 0; t < n; ++t) positions.push_back(static_cast<std::int32_t>(max_seq_length - n + t));
  }
  return positions;
}

template <class T>
typename SasRecEncoder<T>::Norm SasRecEncoder<T>::add_norm(const std::string& prefix) {
  const auto weight = store_->add(prefix + "LayerNorm.weight", {config_.hidden_size});
  return {weight, store_->add(prefix + "LayerNorm.bias", {config_.hidden_size})};
}

template <class T>
typename SasRecEncoder<T>::Linear SasRecEncoder<T>::add_linear(const std::string& prefix, std::int64_t out,
                                                               std::int64_t in) {
  const auto weight = store_->add(prefix + ".weight", {out, in});
  return {weight, store_->add(prefix + ".bias", {out})};
}

template <class T>
SasRecEncoder<T>::SasRecEncoder(ParameterStore<T>& store, const SasRecConfig& config)
    : store_(&store), config_(config) {
  const std::int64_t d = config.hidden_size;
  GALREC_CHECK(config.item_size > 0 && d % config.num_attention_heads == 0);
  items_ = store.add("item_embeddings.weight", {config.item_size, d});
  positions_ = store.add("position_embeddings.weight", {config.max_seq_length, d});
  norm_ = add_norm("");
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string prefix = fmt::format("item_encoder.layer.{}.", i);
    Layer l{};
    // All three weights, then all three biases: next to each other, q, k and v are one product.
    l.query.weight = store.add(prefix + "attention.query.weight", {d, d});
    l.key.weight = store.add(prefix + "attention.key.weight", {d, d});
    l.value.weight = store.add(prefix + "attention.value.weight", {d, d});
    l.query.bias = store.add(prefix + "attention.query.bias", {d});
    l.key.bias = store.add(prefix + "attention.key.bias", {d});
    l.value.bias = store.add(prefix + "attention.value.bias", {d});
    l.dense = add_linear(prefix + "attention.dense", d, d);
    l.attention_norm = add_norm(prefix + "attention.");
    l.dense_1 = add_linear(prefix + "intermediate.dense_1", config.intermediate_size, d);
    l.dense_2 = add_linear(prefix + "intermediate.dense_2", d, config.intermediate_size);
    l.output_norm = add_norm(prefix + "intermediate.");
    layers_.push_back(l);
  }
}

template <class T>
Variable<T> SasRecEncoder<T>::layer(Tape<T>& tape, const Layer& l, Variable<T> x, View<const std::int32_t, 1> cu,
                                    const DropoutRates& rates) const {
  const auto p = [&](ParameterId id) { return tape.parameter(*store_, id); };
  const auto dense = [&](const Linear& linear, Variable<T> in) {
    return autograd::linear(tape, in, p(linear.weight), p(linear.bias));
  };
  const auto add_and_norm = [&](const Norm& norm, Variable<T> branch, Variable<T> residual) {
    return autograd::layer_norm_residual(tape, branch, residual, p(norm.weight), p(norm.bias), config_.layer_norm_eps,
                                         rates.hidden, autograd::NormInput::kReuse)
        .y;
  };
  const auto heads = static_cast<int>(config_.num_attention_heads);
  const double scale = 1.0 / std::sqrt(static_cast<double>(config_.hidden_size / config_.num_attention_heads));
  const auto qkv = autograd::linear_concat(tape, x, {p(l.query.weight), p(l.key.weight), p(l.value.weight)},
                                           {p(l.query.bias), p(l.key.bias), p(l.value.bias)});
  const auto o = autograd::self_attention(tape, qkv, cu, {}, {}, heads, scale, config_.mask, rates.attention);
  const auto attended = add_and_norm(l.attention_norm, dense(l.dense, o), x);
  const auto hidden = autograd::activation(tape, dense(l.dense_1, attended), ActivationKind::kGeluErf, 0.0);
  return add_and_norm(l.output_norm, dense(l.dense_2, hidden), attended);
}

template <class T>
Variable<T> SasRecEncoder<T>::forward(Tape<T>& tape, View<const std::int32_t, 1> ids,
                                      View<const std::int32_t, 1> positions, View<const std::int32_t, 1> cu,
                                      const DropoutRates& rates) const {
  const auto p = [&](ParameterId id) { return tape.parameter(*store_, id); };
  const auto items = autograd::embedding(tape, p(items_), ids);
  const auto placed = autograd::add_embedding(tape, items, p(positions_), positions);
  const auto normed = autograd::layer_norm(tape, placed, p(norm_.weight), p(norm_.bias), config_.layer_norm_eps);
  Variable<T> x = autograd::dropout(tape, normed, rates.embedding);
  for (const auto& l : layers_) x = layer(tape, l, x, cu, rates);
  return x;
}

template <class T>
void init_sasrec(ParameterStore<T>& store, std::uint64_t seed) {
  for (ParameterId id = 0; id < store.size(); ++id) {
    const auto& span = store.span(id);
    if (span.name.ends_with("LayerNorm.weight")) {
      init_constant(store, id, 1);
    } else if (span.name.ends_with(".bias")) {
      init_constant(store, id, 0);
    } else {
      init_normal(store, id, 0.02, seed);
    }
  }
}

template class SasRecEncoder<float>;
template class SasRecEncoder<double>;
template void init_sasrec<float>(ParameterStore<float>&, std::uint64_t);
template void init_sasrec<double>(ParameterStore<double>&, std::uint64_t);

}  // namespace galrec::layers
