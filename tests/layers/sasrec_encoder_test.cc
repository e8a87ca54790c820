// SASRec's encoder: a model trained by S3-Rec's code loads by its own names and ranks as recorded; packing and
// positions.

#include "layers/transformer/sasrec_encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/atomic_file.h"
#include "data/checkpoint_reader.h"
#include "kernels/topk/topk.h"
#include "layers/hf_folder.h"
#include "tests/support/compare.h"
#include "tests/support/expect_error.h"
#include "tests/support/random.h"
#include "tests/support/real_data.h"

namespace galrec::layers {
namespace {

using autograd::ParameterStore;
using autograd::Recording;
using autograd::Tape;

SasRecConfig small_config() {
  return {.item_size = 20,
          .hidden_size = 8,
          .num_hidden_layers = 2,
          .num_attention_heads = 2,
          .intermediate_size = 16,
          .max_seq_length = 6};
}

TEST(SasRecEncoder, RanksAsTheTrainedToysModelIsRecordedTo) {
  const auto folder = test::golden_data("sasrec_toys");
  GALREC_REQUIRE_DATA(folder);
  const auto sequences = test::real_data("toys/sequences.txt");
  GALREC_REQUIRE_DATA(sequences);
  const auto config = SasRecConfig::from_json_text(data::read_file(folder / "config.json"), "config.json");
  ParameterStore<float> store;
  const SasRecEncoder<float> encoder(store, config);
  store.allocate(autograd::Trainable::kNo);
  load_parameters(store, data::CheckpointReader(folder / "model.safetensors"));

  std::vector<std::int32_t> ids, cu = {0}, targets;
  std::ifstream in(sequences);
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::vector<std::int32_t> items;
    std::int32_t item = 0;
    fields >> item;
    while (fields >> item) items.push_back(item);
    targets.push_back(items.back() - 1);  // row of the item among real items
    items.pop_back();
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(items.size()) - config.max_seq_length);
    ids.insert(ids.end(), items.begin() + first, items.end());
    cu.push_back(static_cast<std::int32_t>(ids.size()));
  }
  const auto users = static_cast<std::int64_t>(targets.size());
  const auto positions = left_padded_positions(view_of(cu), config.max_seq_length);

  CpuContext ctx;
  Tape<float> tape{Device(ctx)};
  tape.reset(Recording::kOff);
  const auto states = encoder.forward(tape, view_of(ids), view_of(positions), view_of(cu), DropoutRates::none());
  std::vector<float> queries;
  for (std::int64_t u = 0; u < users; ++u) {
    const float* last = states.value().row(cu[static_cast<std::size_t>(u) + 1] - 1);
    queries.insert(queries.end(), last, last + config.hidden_size);
  }
  // Real items are rows 1 to N of the table: row 0 is padding, the last the mask.
  const auto items = store.value(encoder.item_embeddings_id()).slice_rows(1, config.item_size - 2);
  std::vector<std::int32_t> ranks(targets.size()), ties(targets.size());
  std::vector<float> scores(targets.size());
  target_rank<float>(ctx, view_of(ranks), view_of(ties), view_of(scores), view_of(queries, users, config.hidden_size),
                     items, {}, view_of(targets), {});
  const auto recorded = nlohmann::json::parse(data::read_file(folder / "expected.json"))["test"]["none"];
  for (const int k : {5, 10, 20}) {
    double hits = 0, gain = 0;
    for (const auto rank : ranks) {
      if (rank > k) continue;
      hits += 1;
      gain += 1 / std::log2(rank + 1.0);
    }
    EXPECT_NEAR(hits / static_cast<double>(users), recorded["HR@" + std::to_string(k)].get<double>(), 1e-6);
    EXPECT_NEAR(gain / static_cast<double>(users), recorded["NDCG@" + std::to_string(k)].get<double>(), 1e-6);
  }
}

TEST(SasRecEncoder, APackedBatchIsItsSequencesOneByOne) {
  ParameterStore<double> store;
  const SasRecEncoder<double> encoder(store, small_config());
  store.allocate();
  init_sasrec(store, 7);
  for (autograd::ParameterId id = 0; id < store.size(); ++id) {  // biases that matter
    for (std::int64_t i = 0; i < store.span(id).size; ++i) store.value(id).data[i] += 0.01 * static_cast<double>(i % 7);
  }
  CpuContext ctx;
  Tape<double> tape{Device(ctx)};
  tape.reset(Recording::kOff);
  const std::vector<std::int32_t> ids = {3, 4, 5, 1, 7, 8}, cu = {0, 3, 4, 6};
  const auto positions = left_padded_positions(view_of(cu), 6);
  EXPECT_EQ(positions, (std::vector<std::int32_t>{3, 4, 5, 5, 4, 5}));
  const auto all = encoder.forward(tape, view_of(ids), view_of(positions), view_of(cu), DropoutRates::none()).value();
  for (std::size_t b = 0; b + 1 < cu.size(); ++b) {
    const std::int64_t first = cu[b], n = cu[b + 1] - first;
    const std::vector<std::int32_t> one_cu = {0, static_cast<std::int32_t>(n)};
    const auto one = encoder
                         .forward(tape, view_of(ids).slice(first, n), view_of(positions).slice(first, n),
                                  view_of(one_cu), DropoutRates::none())
                         .value();
    for (std::int64_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one.data[i], all.row(first)[i], 1e-12);
  }
}

TEST(SasRecEncoder, CausalStatesDoNotSeeLaterItems) {
  for (const auto mask : {AttentionMask::kCausal, AttentionMask::kNone}) {
    auto config = small_config();
    config.mask = mask;
    ParameterStore<double> store;
    const SasRecEncoder<double> encoder(store, config);
    store.allocate();
    init_sasrec(store, 7);
    CpuContext ctx;
    Tape<double> tape{Device(ctx)};
    tape.reset(Recording::kOff);
    const std::vector<std::int32_t> ids = {3, 4, 5}, other = {3, 4, 9}, cu = {0, 3}, positions = {3, 4, 5};
    const auto a = encoder.forward(tape, view_of(ids), view_of(positions), view_of(cu), DropoutRates::none()).value();
    const auto b = encoder.forward(tape, view_of(other), view_of(positions), view_of(cu), DropoutRates::none()).value();
    double change = 0;
    for (std::int64_t c = 0; c < a.cols(); ++c) change += std::abs(a(0, c) - b(0, c));
    EXPECT_EQ(change == 0, mask == AttentionMask::kCausal) << change;
  }
}

TEST(SasRecConfig, SurvivesItsOwnJsonAndNamesWhatIsWrong) {
  auto config = small_config();
  const auto again = SasRecConfig::from_json_text(config.to_json_text(), "config.json");
  EXPECT_EQ(again.to_json_text(), config.to_json_text());
  test::expect_error<DataError>(
      [] { SasRecConfig::from_json_text(R"({"item_size": 5, "num_attention_heads": 7})", "c.json"); },
      {"c.json", "num_attention_heads", "7"});
  test::expect_error<DataError>([] { SasRecConfig::from_json_text(R"({"hidden_size": 64})", "c.json"); },
                                {"item_size"});
  test::expect_error<DataError>([] { SasRecConfig::from_json_text(R"({"item_size": "a"})", "c.json"); },
                                {"item_size", "integer"});
}

TEST(SasRecPositions, RejectASequenceThatIsTooLong) {
  const std::vector<std::int32_t> cu = {0, 7};
  EXPECT_THROW(left_padded_positions(view_of(cu), 6), CheckError);
}

}  // namespace
}  // namespace galrec::layers
