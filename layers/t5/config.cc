#include "layers/t5/config.h"

#include <nlohmann/json.hpp>

#include "kernels/common/check.h"
#include "layers/json_fields.h"

namespace galrec::layers {

namespace {

T5Config::FeedForward parse_feed_forward(const JsonFields& fields) {
  const std::string projection = fields.text("feed_forward_proj", "relu");
  const std::string act = fields.text("dense_act_fn", "");
  if (projection == "relu" && (act.empty() || act == "relu")) return T5Config::FeedForward::kRelu;
  // transformers reads "gated-gelu" as the tanh form, whatever the name says.
  if (projection == "gated-gelu" && (act.empty() || act == "gelu_new")) return T5Config::FeedForward::kGatedGelu;
  throw DataError(fmt::format("{}: key feed_forward_proj: got \"{}\"{}, expected \"relu\" or \"gated-gelu\"",
                              fields.name(), projection, act.empty() ? "" : " with dense_act_fn \"" + act + "\""));
}

}  // namespace

T5Config T5Config::from_json_text(std::string_view text, const std::string& display_name) {
  const JsonFields fields(text, display_name);
  const std::string type = fields.text("model_type", "t5");
  if (type != "t5") throw DataError(fmt::format("{}: key model_type: got \"{}\", expected \"t5\"", display_name, type));
  T5Config c;
  c.vocab_size = fields.integer("vocab_size", c.vocab_size);
  c.d_model = fields.integer("d_model", c.d_model);
  c.d_kv = fields.integer("d_kv", c.d_kv);
  c.d_ff = fields.integer("d_ff", c.d_ff);
  c.num_heads = fields.integer("num_heads", c.num_heads);
  c.num_layers = fields.integer("num_layers", c.num_layers);
  c.num_decoder_layers = fields.integer("num_decoder_layers", c.num_layers);
  c.relative_attention_num_buckets = fields.integer("relative_attention_num_buckets", c.relative_attention_num_buckets);
  c.relative_attention_max_distance =
      fields.integer("relative_attention_max_distance", c.relative_attention_max_distance);
  c.feed_forward = parse_feed_forward(fields);
  c.dropout_rate = fields.number("dropout_rate", c.dropout_rate);
  c.layer_norm_epsilon = fields.number("layer_norm_epsilon", c.layer_norm_epsilon);
  c.initializer_factor = fields.number("initializer_factor", c.initializer_factor);
  c.tied_head = fields.boolean("tie_word_embeddings", true);
  c.scale_decoder_outputs = fields.boolean("scale_decoder_outputs", c.tied_head);
  c.pad_token_id = static_cast<int>(fields.integer("pad_token_id", 0));
  c.eos_token_id = static_cast<int>(fields.integer("eos_token_id", 1));
  c.decoder_start_token_id = static_cast<int>(fields.integer("decoder_start_token_id", c.pad_token_id));
  c.validate(display_name);
  return c;
}

void T5Config::validate(const std::string& display_name) const {
  const auto fail = [&](const char* key, auto got, const std::string& expected) {
    throw DataError(fmt::format("{}: key {}: got {}, expected {}", display_name, key, got, expected));
  };
  // Large enough for any T5, small enough that no product of two overflows.
  constexpr std::int64_t kLargest = std::int64_t{1} << 30;
  const std::pair<const char*, std::int64_t> extents[] = {
      {"vocab_size", vocab_size},
      {"d_model", d_model},
      {"d_kv", d_kv},
      {"d_ff", d_ff},
      {"num_heads", num_heads},
      {"num_layers", num_layers},
      {"num_decoder_layers", num_decoder_layers},
  };
  for (const auto& [key, value] : extents) {
    if (value < 1 || value > kLargest) fail(key, value, fmt::format("an integer from 1 to {}", kLargest));
  }
  if (d_kv > 128) fail("d_kv", d_kv, "at most 128");
  const std::int64_t buckets = relative_attention_num_buckets;
  if (buckets < 4 || buckets > 4096) fail("relative_attention_num_buckets", buckets, "an integer from 4 to 4096");
  if (relative_attention_max_distance <= buckets / 2 || relative_attention_max_distance > 1 << 20) {
    fail("relative_attention_max_distance", relative_attention_max_distance,
         fmt::format("an integer from {} (more than half the buckets) to {}", buckets / 2 + 1, 1 << 20));
  }
  if (!(dropout_rate >= 0 && dropout_rate < 1)) fail("dropout_rate", dropout_rate, "a number in [0, 1)");
  if (!(layer_norm_epsilon > 0)) fail("layer_norm_epsilon", layer_norm_epsilon, "a positive number");
  if (!(initializer_factor > 0)) fail("initializer_factor", initializer_factor, "a positive number");
  const std::pair<const char*, int> tokens[] = {{"pad_token_id", pad_token_id},
                                                {"eos_token_id", eos_token_id},
                                                {"decoder_start_token_id", decoder_start_token_id}};
  for (const auto& [key, value] : tokens) {
    if (value < 0 || value >= vocab_size) fail(key, value, fmt::format("a token below {}", vocab_size));
  }
}

std::string T5Config::to_json_text() const {
  const bool gated = feed_forward == FeedForward::kGatedGelu;
  const nlohmann::ordered_json json = {
      {"architectures", {"T5ForConditionalGeneration"}},
      {"classifier_dropout", 0.0},
      {"d_ff", d_ff},
      {"d_kv", d_kv},
      {"d_model", d_model},
      {"decoder_start_token_id", decoder_start_token_id},
      {"dense_act_fn", gated ? "gelu_new" : "relu"},
      {"dropout_rate", dropout_rate},
      {"dtype", "float32"},
      {"eos_token_id", eos_token_id},
      {"feed_forward_proj", gated ? "gated-gelu" : "relu"},
      {"initializer_factor", initializer_factor},
      {"is_encoder_decoder", true},
      {"is_gated_act", gated},
      {"layer_norm_epsilon", layer_norm_epsilon},
      {"model_type", "t5"},
      {"num_decoder_layers", num_decoder_layers},
      {"num_heads", num_heads},
      {"num_layers", num_layers},
      {"pad_token_id", pad_token_id},
      {"relative_attention_max_distance", relative_attention_max_distance},
      {"relative_attention_num_buckets", relative_attention_num_buckets},
      // transformers 4 derives the scale from the first of these, 5 reads the second.
      {"tie_word_embeddings", tied_head},
      {"scale_decoder_outputs", scale_decoder_outputs},
      {"use_cache", true},
      {"vocab_size", vocab_size},
  };
  return json.dump(2) + "\n";
}

T5Config T5Config::preset(std::string_view name) {
  struct Row {
    std::string_view name;
    std::int64_t vocab, d_model, d_kv, heads, d_ff, encoder, decoder;
  };
  // nano and mini get their vocabulary from the data; the value here is a placeholder that callers replace.
  static constexpr Row kRows[] = {
      {"nano", 32128, 128, 32, 4, 256, 2, 1},
      {"mini", 32128, 256, 64, 4, 512, 4, 2},
      {"flan-t5-small", 32128, 512, 64, 6, 1024, 8, 8},
      {"flan-t5-base", 32128, 768, 64, 12, 2048, 12, 12},
      {"flan-t5-large", 32128, 1024, 64, 16, 2816, 24, 24},
  };
  for (const auto& row : kRows) {
    if (row.name != name) continue;
    T5Config c;
    c.vocab_size = row.vocab;
    c.d_model = row.d_model;
    c.d_kv = row.d_kv;
    c.num_heads = row.heads;
    c.d_ff = row.d_ff;
    c.num_layers = row.encoder;
    c.num_decoder_layers = row.decoder;
    c.feed_forward = FeedForward::kGatedGelu;
    c.scale_decoder_outputs = c.tied_head = false;
    return c;
  }
  throw UsageError(
      fmt::format("there is no preset {}; known: nano, mini, flan-t5-small, flan-t5-base, flan-t5-large", name));
}

}  // namespace galrec::layers
