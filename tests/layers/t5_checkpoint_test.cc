// Hugging Face folders: configurations, loading with every kind of misfit, exporting.

#include "layers/t5/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "data/atomic_file.h"
#include "data/safetensors.h"
#include "data/safetensors_writer.h"
#include "layers/t5/model.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/golden.h"
#include "tests/support/temporary_folder.h"

namespace galrec::layers {
namespace {

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
using Tensors = std::map<std::string, Tensor>;

Tensors read_tensors(const std::filesystem::path& file) {
  const auto in = data::SafetensorsFile::open(file);
  Tensors out;
  for (const auto& [name, info] : in.tensors()) out[name] = {info.shape, in.read_f32(name)};
  return out;
}

/// A copy of a fixture whose tensors and configuration were tampered with.
class Folder {
 public:
  explicit Folder(const std::string& fixture)
      : tensors(read_tensors(test::golden(fixture) / "model.safetensors")),
        config(data::read_file(test::golden(fixture) / "config.json")) {}

  std::filesystem::path write() {
    data::SafetensorsWriter writer;
    for (const auto& [name, tensor] : tensors) writer.add(name, tensor.shape, std::span<const float>(tensor.values));
    writer.write(folder_ / "model.safetensors");
    data::write_file(folder_ / "config.json", config);
    return folder_.path();
  }
  void load() {
    const auto folder = open_t5_folder(write());
    autograd::ParameterStore<float> store;
    const T5Model<float> model(store, folder.config);
    store.allocate();
    load_t5(store, folder);
  }
  void replace(const std::string& from, const std::string& to) {
    const auto at = config.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    config.replace(at, from.size(), to);
  }

  Tensors tensors;
  std::string config;

 private:
  test::TemporaryFolder folder_;
};

void expect_load_error(Folder& f, std::initializer_list<std::string> parts) {
  test::expect_error<DataError>([&] { f.load(); }, parts);
}

const std::string kNorm = "encoder.block.1.layer.0.layer_norm.weight";

TEST(T5Checkpoint, LoadsBothFixtures) {
  for (const char* name : {"flan_tiny", "t5v1_tiny"}) Folder(name).load();
  EXPECT_FALSE(open_t5_folder(test::golden("flan_tiny")).config.tied_head);
  EXPECT_FALSE(open_t5_folder(test::golden("flan_tiny")).config.scale_decoder_outputs);
  EXPECT_TRUE(open_t5_folder(test::golden("t5v1_tiny")).config.tied_head);
  EXPECT_TRUE(open_t5_folder(test::golden("t5v1_tiny")).config.scale_decoder_outputs);
}

TEST(T5Checkpoint, NamesMissingUnknownMisshapenAndBrokenTensors) {
  Folder missing("flan_tiny");
  missing.tensors.erase(kNorm);
  missing.tensors["extra.weight"] = {{2}, {1, 2}};
  missing.tensors["lm_head.weight"] = {{130, 40}, std::vector<float>(130 * 40)};
  expect_load_error(missing, {kNorm, "missing", "extra.weight", "unknown", "lm_head.weight", "[130, 40]", "[131, 40]",
                              "model.safetensors"});

  Folder nan("flan_tiny");
  nan.tensors[kNorm].values[3] = NAN;
  expect_load_error(nan, {kNorm, "element 3"});
}

TEST(T5Checkpoint, NamesAtMostTwenty) {
  Folder f("flan_tiny");
  for (int i = 0; i < 50; ++i) f.tensors["extra." + std::to_string(i)] = {{1}, {0}};
  expect_load_error(f, {"50 tensors do not fit", "and 30 more"});
}

TEST(T5Checkpoint, AcceptsTheOtherNamesOfTheTable) {
  for (const bool alias_only : {true, false}) {
    Folder f("t5v1_tiny");
    f.tensors["encoder.embed_tokens.weight"] = f.tensors["decoder.embed_tokens.weight"] = f.tensors["shared.weight"];
    if (alias_only) f.tensors.erase("shared.weight");
    f.tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = {{32, 4},
                                                                                           std::vector<float>(128)};
    f.load();
  }
}

TEST(T5Checkpoint, ChecksTheConfigurationAgainstTheTensors) {
  const std::pair<std::pair<std::string, std::string>, std::string> cases[] = {
      {{"\"num_heads\": 3", "\"num_heads\": 4"}, "num_heads"},
      {{"\"d_kv\": 16", "\"d_kv\": 8"}, "num_heads"},
      {{"\"d_kv\": 16", "\"d_kv\": 7"}, "d_kv"},
      {{"\"d_model\": 40", "\"d_model\": 48"}, "d_model"},
      {{"\"d_ff\": 56", "\"d_ff\": 57"}, "d_ff"},
      {{"\"num_layers\": 2", "\"num_layers\": 1"}, "num_layers"},
      {{"\"num_decoder_layers\": 3", "\"num_decoder_layers\": 4"}, "num_decoder_layers"},
      {{"\"relative_attention_num_buckets\": 32", "\"relative_attention_num_buckets\": 16"},
       "relative_attention_num_buckets"},
      {{"\"gated-gelu\"", "\"gated-silu\""}, "feed_forward_proj"},
      {{"\"model_type\": \"t5\"", "\"model_type\": \"bart\""}, "model_type"},
      {{"\"d_model\": 40", "\"d_model\": \"40\""}, "an integer"},
      {{"\"d_model\": 40,", "\"d_model\": 40"}, "not JSON"},
      {{"\"vocab_size\": 131", "\"vocab_size\": 0"}, "vocab_size"},
      {{"\"dropout_rate\": 0.1", "\"dropout_rate\": 1.5"}, "dropout_rate"},
      {{"\"relative_attention_max_distance\": 128", "\"relative_attention_max_distance\": 8"},
       "relative_attention_max_distance"},
  };
  for (const auto& [change, key] : cases) {
    Folder f("flan_tiny");
    f.replace(change.first, change.second);
    expect_load_error(f, {"config.json", key});
  }
  Folder relu("t5v1_tiny");
  relu.replace("\"dense_act_fn\": \"relu\"", "\"dense_act_fn\": \"gelu_new\"");
  relu.replace("\"feed_forward_proj\": \"relu\"", "\"feed_forward_proj\": \"gated-gelu\"");
  expect_load_error(relu, {"feed_forward_proj"});
}

// scale by d^-1/2 iff scale_decoder_outputs, else iff tie_word_embeddings is not false; tied iff there is no lm_head.
TEST(T5Checkpoint, UnderstandsBothSpellingsOfTheScale) {
  const auto parse = [](const std::string& keys) {
    return T5Config::from_json_text("{" + keys + "}", "c.json").scale_decoder_outputs;
  };
  EXPECT_TRUE(parse(""));
  EXPECT_TRUE(parse(R"("tie_word_embeddings": true)"));
  EXPECT_FALSE(parse(R"("tie_word_embeddings": false)"));
  EXPECT_FALSE(parse(R"("tie_word_embeddings": true, "scale_decoder_outputs": false)"));
  EXPECT_TRUE(parse(R"("tie_word_embeddings": false, "scale_decoder_outputs": true)"));
  Folder five("flan_tiny");  // as transformers 5 writes an untied checkpoint
  five.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true, \"scale_decoder_outputs\": false");
  const auto config = open_t5_folder(five.write()).config;
  EXPECT_FALSE(config.tied_head);
  EXPECT_FALSE(config.scale_decoder_outputs);
}

TEST(T5Checkpoint, AnExportedFolderIsTheOneThatWasLoaded) {
  for (const std::string name : {"flan_tiny", "t5v1_tiny"}) {
    const auto folder = open_t5_folder(test::golden(name));
    test::TemporaryFolder out;
    autograd::ParameterStore<double> store;  // exact both ways
    const T5Model<double> model(store, folder.config);
    store.allocate();
    load_t5(store, folder);
    save_hf_folder(out.path() / "export", folder.config, store);
    const auto before = read_tensors(test::golden(name) / "model.safetensors"),
               after = read_tensors(out.path() / "export" / "model.safetensors");
    ASSERT_EQ(before.size(), after.size());
    for (const auto& [tensor, value] : before) {
      EXPECT_EQ(value.shape, after.at(tensor).shape) << tensor;
      test::expect_same_bits(value.values, after.at(tensor).values, tensor);
    }
    const auto again = open_t5_folder(out.path() / "export");
    EXPECT_EQ(again.config.to_json_text(), folder.config.to_json_text());
  }
}

TEST(T5Checkpoint, ExtraTensorsReplaceAndFiltersLeaveOut) {
  const auto folder = open_t5_folder(test::golden("flan_tiny"));
  autograd::ParameterStore<float> store;
  const T5Model<float> model(store, folder.config);
  store.allocate();
  load_t5(store, folder);
  test::TemporaryFolder out;
  SaveRules rules;
  rules.include = [](const std::string& name) { return name.starts_with("encoder."); };
  rules.extra = {{kNorm, {2}, {7, 8}}, {"more", {1}, {9}}};
  save_parameters(out / "m.safetensors", store, rules);
  const auto saved = read_tensors(out / "m.safetensors");
  EXPECT_EQ(saved.at(kNorm).values, (std::vector<float>{7, 8}));
  EXPECT_EQ(saved.at("more").values, (std::vector<float>{9}));
  EXPECT_FALSE(saved.contains("lm_head.weight"));
  EXPECT_TRUE(saved.contains("encoder.final_layer_norm.weight"));
}

TEST(T5Config, PresetsAreTheShapesOfTheCheckpoints) {
  const auto parameters = [](const char* name) {
    autograd::ParameterStore<float> store;
    const T5Model<float> model(store, T5Config::preset(name));
    std::int64_t n = 0;
    for (const auto& span : store.spans()) n += span.size;
    return n;
  };
  EXPECT_EQ(parameters("flan-t5-small"), 76961152);
  EXPECT_EQ(parameters("flan-t5-base"), 247577856);
  EXPECT_EQ(parameters("flan-t5-large"), 783150080);
  EXPECT_EQ(T5Config::preset("nano").inner(), 128);
  EXPECT_EQ(T5Config::preset("mini").num_decoder_layers, 2);
  EXPECT_THROW(T5Config::preset("huge"), UsageError);
}

}  // namespace
}  // namespace galrec::layers
