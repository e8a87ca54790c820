#pragma once
// SASRec's encoder as S3-Rec writes it: item and position embeddings, LayerNorm, post-norm blocks with erf-GELU.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "autograd/tape.h"
#include "kernels/attention/attention.h"
#include "layers/dropout_rates.h"

namespace galrec::layers {

struct SasRecConfig {
  std::int64_t item_size = 0;  // rows of the item table: items + padding (row 0) + mask (last)
  std::int64_t hidden_size = 64;
  std::int64_t num_hidden_layers = 2;
  std::int64_t num_attention_heads = 2;
  std::int64_t intermediate_size = 256;
  std::int64_t max_seq_length = 50;
  double layer_norm_eps = 1e-12;
  AttentionMask mask = AttentionMask::kCausal;  // kNone: bidirectional, as BERT4Rec and S3-Rec's pre-training

  /// S3-Rec's argument names. DataError naming file and key.
  static SasRecConfig from_json_text(std::string_view text, const std::string& display_name);
  std::string to_json_text() const;
};

/// Positions of a packed batch as if every sequence were padded on the left to max_seq_length: item t of n stands at
/// max_seq_length - n + t. CheckError for a longer sequence.
std::vector<std::int32_t> left_padded_positions(View<const std::int32_t, 1> cu, std::int64_t max_seq_length);

template <class T>
class SasRecEncoder {
 public:
  /// Registers S3-Rec's parameter names. The store must outlive the encoder.
  SasRecEncoder(autograd::ParameterStore<T>& store, const SasRecConfig& config);

  const SasRecConfig& config() const { return config_; }
  autograd::ParameterId item_embeddings_id() const { return items_; }

  /// ids, positions (N), cu (B+1) -> states (N,hidden) of the last layer. Of the rates, `embedding`, `attention` and
  /// `hidden` are used, as S3-Rec does.
  autograd::Variable<T> forward(autograd::Tape<T>& tape, View<const std::int32_t, 1> ids,
                                View<const std::int32_t, 1> positions, View<const std::int32_t, 1> cu,
                                const DropoutRates& rates) const;

 private:
  struct Linear {
    autograd::ParameterId weight, bias;
  };
  struct Norm {
    autograd::ParameterId weight, bias;
  };
  struct Layer {
    Linear query, key, value, dense;
    Norm attention_norm;
    Linear dense_1, dense_2;
    Norm output_norm;
  };

  Linear add_linear(const std::string& prefix, std::int64_t out, std::int64_t in);
  Norm add_norm(const std::string& prefix);
  autograd::Variable<T> layer(autograd::Tape<T>& tape, const Layer& l, autograd::Variable<T> x,
                              View<const std::int32_t, 1> cu, const DropoutRates& rates) const;

  autograd::ParameterStore<T>* store_;
  SasRecConfig config_;
  autograd::ParameterId items_ = -1, positions_ = -1;
  Norm norm_{};
  std::vector<Layer> layers_;
};

/// Weights N(0, 0.02^2), norms 1 and 0, biases 0, as S3-Rec.
template <class T>
void init_sasrec(autograd::ParameterStore<T>& store, std::uint64_t seed);

extern template class SasRecEncoder<float>;
extern template class SasRecEncoder<double>;

}  // namespace galrec::layers
