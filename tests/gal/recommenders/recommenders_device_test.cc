// labels: slow
// LightGCN and SASRec on a CUDA device: epochs that follow the CPU's, vectors and ranks that agree.
#include <gtest/gtest.h>

#include <cmath>

#include "gal/recommenders/lightgcn.h"
#include "gal/recommenders/pretrain.h"
#include "gal/recommenders/sasrec.h"
#include "kernels/common/host_view.h"
#include "tests/gal/world.h"
#include "tests/support/compare.h"
#include "tests/support/devices.h"

namespace galrec::gal {
namespace {

const auto kNoProgress = [](std::int64_t) {};

std::vector<float> values(const Device& device, View<const float, 2> rows) {
  const auto host = on_host(device, rows);
  return {host->data, host->data + host->size()};
}

/// Trains both models for two epochs and compares what they offer.
template <class Model, class Options>
void expect_agreement(const Options& options) {
  const auto dataset = test::random_dataset(40, 30, 12, 5);
  const auto split = data::Split::leave_one_out(dataset);
  GALREC_REQUIRE_DEVICE(DeviceKind::kCuda, cuda);
  GALREC_REQUIRE_DEVICE(DeviceKind::kCpu, cpu);
  Model on_cuda(cuda, split, options), on_cpu(cpu, split, options);
  for (int epoch = 1; epoch <= 2; ++epoch) {
    const double expected = on_cpu.train_epoch(cpu, epoch, kNoProgress).loss;
    EXPECT_NEAR(on_cuda.train_epoch(cuda, epoch, kNoProgress).loss, expected, 1e-4 * expected) << "epoch " << epoch;
  }
  on_cuda.finish_epoch(cuda);
  on_cpu.finish_epoch(cpu);
  const auto a = on_cuda.embeddings(cuda), b = on_cpu.embeddings(cpu);
  const auto flat = [](View<const float, 2> m) { return std::vector<float>(m.data, m.data + m.size()); };
  test::expect_close(flat(a.user), flat(b.user), 1e-3, "user vectors");
  test::expect_close(flat(a.item), flat(b.item), 1e-3, "item vectors");
  test::expect_close(values(cuda, on_cuda.items().rows), values(cpu, on_cpu.items().rows), 1e-3, "item rows");

  for (const auto mask : {MaskSeen::kAll, MaskSeen::kS3Rec}) {
    const RankingOptions ranking{.mask_seen = mask, .batch = 16};
    const auto r = rank_recommender(cuda, on_cuda, split, data::Phase::kTest, ranking);
    const auto s = rank_recommender(cpu, on_cpu, split, data::Phase::kTest, ranking);
    ASSERT_EQ(r.ranks.size(), s.ranks.size());
    int different = 0;
    for (std::size_t u = 0; u < r.ranks.size(); ++u) different += r.ranks[u] != s.ranks[u];
    EXPECT_LE(different, 2) << "of " << r.ranks.size() << " users";
  }
}

TEST(RecommendersOnCuda, LightGcnFollowsTheCpu) {
  expect_agreement<LightGcn>(LightGcnOptions{.dim = 16, .layers = 2, .lr = 0.01, .batch = 64, .seed = 4});
}

TEST(RecommendersOnCuda, SasRecFollowsTheCpu) {
  SasRecOptions options{.encoder = {}, .dropout = 0.2, .lr = 0.003, .batch = 16, .seed = 4};
  options.encoder.hidden_size = 16;
  options.encoder.intermediate_size = 32;
  options.encoder.max_seq_length = 8;
  for (const auto loss : {SasRecLoss::kBce, SasRecLoss::kCe}) {
    options.loss = loss;
    expect_agreement<SasRec>(options);
  }
}

}  // namespace
}  // namespace galrec::gal
