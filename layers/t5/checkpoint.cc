#include "layers/t5/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "data/atomic_file.h"
#include "data/tensor_info.h"
#include "layers/init.h"

namespace galrec::layers {

namespace {

const std::string kSelf = "encoder.block.0.layer.0.SelfAttention.";
const std::string kFeedForward = "encoder.block.0.layer.1.DenseReluDense.";

/// Blocks of a stack as the tensor names have them: the largest number, plus one.
std::int64_t count_blocks(const data::CheckpointReader& checkpoint, const std::string& stack) {
  const std::string prefix = stack + ".block.";
  std::int64_t n = 0;
  for (const auto& [name, info] : checkpoint.tensors()) {
    if (!name.starts_with(prefix)) continue;
    std::int64_t block = 0;
    const char* const first = name.data() + prefix.size();
    const auto [end, error] = std::from_chars(first, name.data() + name.size(), block);
    if (error == std::errc() && end != first && *end == '.' && block >= 0 && block < 100000) n = std::max(n, block + 1);
  }
  return n;
}

/// Compares what config.json says with what the tensors are: a wrong number here would else show as a hundred misshapen
/// tensors, or (heads) as none at all.
class ConfigCheck {
 public:
  ConfigCheck(std::string config_name, const data::CheckpointReader& checkpoint)
      : config_name_(std::move(config_name)), checkpoint_(checkpoint) {}

  void expect(const char* key, std::int64_t configured, std::int64_t actual, const std::string& where) const {
    if (configured == actual) return;
    throw DataError(fmt::format("{}: key {}: got {}, expected {} ({} of {})", config_name_, key, configured, actual,
                                where, checkpoint_.name()));
  }
  /// Extent `axis` of a matrix; -1 where there is no such tensor (loading will name it).
  std::int64_t extent(const std::string& tensor, std::size_t axis) const {
    if (!checkpoint_.contains(tensor) || checkpoint_.info(tensor).shape.size() != 2) return -1;
    return checkpoint_.info(tensor).shape[axis];
  }
  void expect_extent(const char* key, std::int64_t configured, const std::string& tensor, std::size_t axis,
                     std::int64_t unit = 1) const {
    const std::int64_t actual = extent(tensor, axis);
    if (actual < 0) return;
    if (actual % unit != 0) {
      throw DataError(fmt::format("{}: key d_kv: got {}, expected a divisor of the {} rows of {} in {}", config_name_,
                                  unit, actual, tensor, checkpoint_.name()));
    }
    expect(key, configured, actual / unit,
           fmt::format("{} {}", tensor, data::shape_text(checkpoint_.info(tensor).shape)));
  }

 private:
  std::string config_name_;
  const data::CheckpointReader& checkpoint_;
};

}  // namespace

T5Folder open_t5_folder(const std::filesystem::path& folder) {
  const auto config_path = folder / "config.json";
  T5Config config = T5Config::from_json_text(data::read_file(config_path), config_path.string());
  data::CheckpointReader checkpoint(folder);
  config.tied_head = !checkpoint.contains("lm_head.weight");
  const ConfigCheck check(config_path.string(), checkpoint);
  check.expect_extent("d_model", config.d_model, kSelf + "q.weight", 1);
  check.expect_extent("num_heads", config.num_heads, kSelf + "q.weight", 0, config.d_kv);
  check.expect_extent("num_heads", config.num_heads, kSelf + "relative_attention_bias.weight", 1);
  check.expect_extent("relative_attention_num_buckets", config.relative_attention_num_buckets,
                      kSelf + "relative_attention_bias.weight", 0);
  check.expect_extent("d_ff", config.d_ff, kFeedForward + "wo.weight", 1);
  const bool gated = config.feed_forward == T5Config::FeedForward::kGatedGelu;
  if (gated ? checkpoint.contains(kFeedForward + "wi.weight") : checkpoint.contains(kFeedForward + "wi_0.weight")) {
    throw DataError(fmt::format("{}: key feed_forward_proj: got \"{}\", expected \"{}\" for the tensors of {}",
                                config_path.string(), gated ? "gated-gelu" : "relu", gated ? "relu" : "gated-gelu",
                                checkpoint.name()));
  }
  check.expect("num_layers", config.num_layers, count_blocks(checkpoint, "encoder"), "blocks");
  check.expect("num_decoder_layers", config.num_decoder_layers, count_blocks(checkpoint, "decoder"), "blocks");
  return {config, std::move(checkpoint)};
}

LoadRules t5_load_rules(const data::CheckpointReader& checkpoint) {
  LoadRules rules;
  rules.aliases = {{"encoder.embed_tokens.weight", "shared.weight"}, {"decoder.embed_tokens.weight", "shared.weight"}};
  // Old v1.0 files carry a table for cross-attention that no code ever read.
  for (std::int64_t b = 0; b < count_blocks(checkpoint, "decoder"); ++b) {
    rules.ignorable.push_back(
        fmt::format("decoder.block.{}.layer.1.EncDecAttention.relative_attention_bias.weight", b));
  }
  return rules;
}

template <class T>
void load_t5(autograd::ParameterStore<T>& store, const T5Folder& folder) {
  load_parameters(store, folder.checkpoint, t5_load_rules(folder.checkpoint));
}

template <class T>
void init_t5(autograd::ParameterStore<T>& store, const T5Config& config, std::uint64_t seed) {
  const double d = static_cast<double>(config.d_model), kv = static_cast<double>(config.d_kv);
  const std::pair<const char*, double> deviations[] = {
      {"SelfAttention.q.weight", 1 / std::sqrt(d * kv)},
      {"EncDecAttention.q.weight", 1 / std::sqrt(d * kv)},
      {"Attention.k.weight", 1 / std::sqrt(d)},
      {"Attention.v.weight", 1 / std::sqrt(d)},
      {"Attention.o.weight", 1 / std::sqrt(static_cast<double>(config.inner()))},
      {"relative_attention_bias.weight", 1 / std::sqrt(d)},
      {"DenseReluDense.wi.weight", 1 / std::sqrt(d)},
      {"DenseReluDense.wi_0.weight", 1 / std::sqrt(d)},
      {"DenseReluDense.wi_1.weight", 1 / std::sqrt(d)},
      {"DenseReluDense.wo.weight", 1 / std::sqrt(static_cast<double>(config.d_ff))},
  };
  const double factor = config.initializer_factor;
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {
    const std::string& name = store.span(id).name;
    if (name == "shared.weight" || name == "lm_head.weight") {
      init_normal(store, id, factor, seed);
      continue;
    }
    if (!name.starts_with("encoder.") && !name.starts_with("decoder.")) continue;
    if (name.ends_with("layer_norm.weight")) {
      init_constant(store, id, factor);
      continue;
    }
    const auto* row = std::find_if(std::begin(deviations), std::end(deviations),
                                   [&](const auto& r) { return name.ends_with(r.first); });
    GALREC_CHECK(row != std::end(deviations), "no rule for {}", name);
    init_normal(store, id, factor * row->second, seed);
  }
}

template void load_t5<float>(autograd::ParameterStore<float>&, const T5Folder&);
template void load_t5<double>(autograd::ParameterStore<double>&, const T5Folder&);
template void load_t5<bfloat16>(autograd::ParameterStore<bfloat16>&, const T5Folder&);
template void init_t5<float>(autograd::ParameterStore<float>&, const T5Config&, std::uint64_t);
template void init_t5<double>(autograd::ParameterStore<double>&, const T5Config&, std::uint64_t);
template void init_t5<bfloat16>(autograd::ParameterStore<bfloat16>&, const T5Config&, std::uint64_t);

}  // namespace galrec::layers
