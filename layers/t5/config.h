#pragma once
// The shape of a T5, as Hugging Face's config.json has it.

#include <cstdint>
#include <string>
#include <string_view>

namespace galrec::layers {

struct T5Config {
  enum class FeedForward { kRelu, kGatedGelu };

  std::int64_t vocab_size = 32128;
  std::int64_t d_model = 512;
  std::int64_t d_kv = 64;
  std::int64_t num_heads = 8;
  std::int64_t d_ff = 2048;
  std::int64_t num_layers = 6;
  std::int64_t num_decoder_layers = 6;
  std::int64_t relative_attention_num_buckets = 32;
  std::int64_t relative_attention_max_distance = 128;
  FeedForward feed_forward = FeedForward::kRelu;
  double dropout_rate = 0.1;
  double layer_norm_epsilon = 1e-6;
  double initializer_factor = 1.0;
  /// Logits are multiplied by d_model^-1/2 (T5 1.0).
  bool scale_decoder_outputs = true;
  /// The head is shared.weight. The checkpoint decides: tied iff it has no lm_head.weight (see open_t5_folder).
  bool tied_head = true;
  int pad_token_id = 0;
  int eos_token_id = 1;
  int decoder_start_token_id = 0;

  std::int64_t inner() const { return num_heads * d_kv; }

  /// Missing keys take Hugging Face's defaults, unknown ones are its business. DataError naming file and key for a
  /// wrong type or value and for an architecture that is not T5.
  static T5Config from_json_text(std::string_view text, const std::string& display_name);
  /// A config.json that transformers 4.x and 5.x read.
  std::string to_json_text() const;
  /// nano, mini (random weights, untied gated-gelu), flan-t5-small, flan-t5-base, flan-t5-large. UsageError otherwise.
  static T5Config preset(std::string_view name);
  /// DataError naming `display_name` and the key unless all extents are usable.
  void validate(const std::string& display_name) const;
};

}  // namespace galrec::layers
