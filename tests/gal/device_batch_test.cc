#include "gal/device_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "tests/gal/tiny_model.h"
#include "tests/support/expect_error.h"

namespace galrec::gal {
namespace {

using autograd::Recording;
using test::TinyModel;

/// Figures and gradients of a step whose batch is padded to a bucket, and the momentum encoder's keys.
struct Step {
  std::vector<double> figures, gradients, keys;
};

Step step_of(TinyModel<double>& m, MomentumEncoder<double>& momentum, const LossOptions& loss, std::int64_t bucket) {
  const BatchLists<double> lists(m.batch, m.model.options(), bucket);
  const Buffer<std::byte> memory(lists.bytes());
  const auto batch = lists.put(host_memory(), memory.data());
  auto& store = m.model.parameters();
  store.zero_gradients();
  m.tape.reset(Recording::kOn);
  m.key_tape.reset(Recording::kOff);
  const auto keys = momentum.encode(m.key_tape, batch, layers::DropoutRates::none(), loss.similarity);
  const auto result = m.model.forward(m.tape, batch, &m.queues, loss, m.rates, &keys);
  m.tape.backward(result.loss);
  store.finish_gradients();
  Step out;
  out.figures = {result.loss.value()(0, 0), result.l0.value()(0, 0)};
  for (const auto& term : result.nce) out.figures.push_back(term.value()(0, 0));
  const auto embeddings = result.embeddings;
  EXPECT_EQ(embeddings.rows(), 6 * m.batch.samples);
  out.figures.insert(out.figures.end(), embeddings.data, embeddings.data + embeddings.size());
  const auto gradients = store.gradients();
  out.gradients.assign(gradients.data, gradients.data + gradients.size());
  for (const auto& rows : keys.rows) out.keys.insert(out.keys.end(), rows.data, rows.data + rows.size());
  return out;
}

void expect_near(const std::vector<double>& actual, const std::vector<double>& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!(std::abs(actual[i] - expected[i]) <= largest)) largest = std::abs(actual[i] - expected[i]);
  }
  EXPECT_TRUE(largest <= tolerance) << what << " differ by " << largest;
}

TEST(DeviceBatch, PaddingContributesNothing) {
  const LossOptions losses[] = {
      {.l1 = 0.3, .l2 = 0.4, .l3 = 0.5},
      {.columns = LossColumns::kItems, .positive = Positive::kMomentum, .in_batch = InBatch::kOn}};
  const MappingOptions mappings[] = {{},
                                     {.pooling = Pooling::kFirst, .rows = ExternalRows::kTrainable},
                                     {.pooling = Pooling::kEos, .mapping = Mapping::kMlp}};
  for (const auto& mapping : mappings) {
    TinyModel<double> m(mapping);
    MomentumEncoder<double> momentum(m.model);
    for (const auto& loss : losses) {
      const Step plain = step_of(m, momentum, loss, 0);
      for (const std::int64_t bucket : {64, 192, 1024}) {
        SCOPED_TRACE(bucket);
        const Step padded = step_of(m, momentum, loss, bucket);
        expect_near(padded.figures, plain.figures, 1e-13, "figures");
        expect_near(padded.gradients, plain.gradients, 1e-12, "gradients");
        expect_near(padded.keys, plain.keys, 1e-13, "keys");
      }
    }
  }
}

TEST(DeviceBatch, PaddingContributesNothingToTheRecommendationAlone) {
  TinyModel<double> m;
  const auto samples = test::all_prefixes<TrainSample>(m.split);
  HopBatch batch;
  m.builder.build(batch, std::span(samples).subspan(3, 5), HopSet::kRecommendOnly, 0);
  const auto step = [&](std::int64_t bucket) {
    const BatchLists<double> lists(batch, m.model.options(), bucket);
    const Buffer<std::byte> memory(lists.bytes());
    auto& store = m.model.parameters();
    store.zero_gradients();
    m.tape.reset(Recording::kOn);
    const auto result =
        m.model.forward(m.tape, lists.put(host_memory(), memory.data()), nullptr, {.l1 = 0, .l2 = 0, .l3 = 0}, m.rates);
    m.tape.backward(result.loss);
    store.finish_gradients();
    std::vector<double> out(store.gradients().data, store.gradients().data + store.gradients().size());
    out.push_back(result.loss.value()(0, 0));
    return out;
  };
  expect_near(step(256), step(0), 1e-13, "loss and gradients");
}

/// Ranking asks such batches, a loss cannot: the error says whose sample it is.
TEST(DeviceBatch, ASampleWithoutTargetIsNamed) {
  TinyModel<double> m;
  HopBatch batch = m.batch;
  for (const std::int64_t bucket : {0, 64}) {
    batch.target = m.batch.target;
    const auto forward = [&] {
      const BatchLists<double> lists(batch, m.model.options(), bucket);
      const Buffer<std::byte> memory(lists.bytes());
      m.tape.reset(Recording::kOn);
      m.model.forward(m.tape, lists.put(host_memory(), memory.data()), &m.queues, {}, m.rates);
    };
    EXPECT_NO_THROW(forward());
    batch.target[2] = batch.target[4] = -1;
    test::expect_error<CheckError>(forward, {"sample 2 of the batch (user " + std::to_string(batch.user[2]) + ") has no target"});
  }
}

/// The work of equal extents is equal: same addresses, other contents.
TEST(DeviceBatch, ExtentsAreRoundedUpToBuckets) {
  TinyModel<float> m;
  const BatchLists<float> plain(m.batch, m.model.options(), 0), small(m.batch, m.model.options(), 64),
      large(m.batch, m.model.options(), 1024);
  const auto read = [](const BatchLists<float>& lists, const Buffer<std::byte>& memory) {
    return lists.put(host_memory(), memory.data());
  };
  const Buffer<std::byte> a(plain.bytes()), b(small.bytes()), c(large.bytes());
  const auto exact = read(plain, a), padded = read(small, b), roomy = read(large, c);
  EXPECT_EQ(exact.tokens.extent(0), m.batch.num_tokens());
  EXPECT_EQ(exact.cu.extent(0), 31);
  EXPECT_EQ(padded.tokens.extent(0), (m.batch.num_tokens() + 63) / 64 * 64);
  EXPECT_EQ(padded.cu.extent(0), 31 + 1);
  EXPECT_EQ(roomy.tokens.extent(0), 1024);
  EXPECT_EQ(roomy.cu.extent(0), 31 + 16);
  EXPECT_EQ(padded.item_ids.extent(0) % 8, 0);
  EXPECT_EQ(roomy.recommend_rows.extent(0), (exact.recommend_rows.extent(0) + 255) / 256 * 256);
  EXPECT_EQ(roomy.recommend_cu.extent(0), roomy.target_cu.extent(0));
  for (const auto& batch : {exact, padded, roomy}) {
    for (const auto& cu : {batch.cu, batch.key_cu, batch.recommend_cu, batch.target_cu}) {
      EXPECT_TRUE(std::is_sorted(cu.data, cu.data + cu.extent(0)));
    }
    EXPECT_EQ(batch.cu[batch.cu.extent(0) - 1], batch.tokens.extent(0));
    EXPECT_EQ(batch.key_cu[batch.key_cu.extent(0) - 1], batch.key_tokens.extent(0));
    EXPECT_EQ(batch.recommend_cu[batch.recommend_cu.extent(0) - 1], batch.recommend_rows.extent(0));
  }
  for (std::int64_t s = 30; s < 46; ++s) EXPECT_LE(roomy.cu[s + 1] - roomy.cu[s], 64);
  // One token more in a prompt of the batch changes nothing in what a bucket looks like.
  const HopBatch shorter = [&] {
    HopBatch batch = m.batch;
    batch.tokens.pop_back();
    --batch.cu.back();
    return batch;
  }();
  EXPECT_EQ(BatchLists<float>(shorter, m.model.options(), 1024).extents(), large.extents());
  EXPECT_NE(BatchLists<float>(shorter, m.model.options(), 0).extents(), plain.extents());
}

TEST(DeviceBatch, BringsTheHostsDecisionsAlong) {
  TinyModel<float> m;
  const std::vector<std::int32_t> rows{3, 4, 0, 1, 2};
  const BatchLists<float> lists(m.batch, m.model.options(), 64, {.draw = 77, .ring_rows = rows});
  const Buffer<std::byte> memory(lists.bytes());
  const auto batch = lists.put(host_memory(), memory.data());
  EXPECT_EQ(*batch.draw, 77u);
  EXPECT_EQ(std::vector<std::int32_t>(batch.ring_rows.data, batch.ring_rows.data + 5), rows);
  EXPECT_EQ(std::vector<std::int32_t>(batch.user.data, batch.user.data + 5), m.batch.user);
  const std::vector<std::int32_t> too_few{1};
  EXPECT_THROW(BatchLists<float>(m.batch, m.model.options(), 64, {.draw = 0, .ring_rows = too_few}), CheckError);
  EXPECT_THROW(BatchLists<float>(m.batch, m.model.options(), 100), CheckError);
}

}  // namespace
}  // namespace galrec::gal
