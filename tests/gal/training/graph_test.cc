// labels: slow
// Steps captured in CUDA graphs, in buckets of tokens: the same bits as steps that are not, and nothing of the host in
// them.
#include <gtest/gtest.h>

#include <string>

#include "tests/gal/training/tiny_run.h"
#include "tests/support/devices.h"
#include "tests/support/temporary_folder.h"

#if defined(GALREC_CUDA_EMULATED)
#include "kernels/simt/graphs.h"
#endif

namespace galrec::gal::test {
namespace {

using galrec::test::TemporaryFolder;

// Queues that are full after two steps; batches of one and of two passes; every kind of term and of key.
const std::vector<std::string> kVariants[] = {
    {"train.epochs=4", "train.micro_batch=6", "queue.size=10", "train.statistics_every=0", "cuda.bucket=256"},
    {"train.epochs=4", "train.micro_batch=3", "queue.size=6", "train.statistics_every=4", "cuda.bucket=512",
     "loss.positive=momentum", "momentum.dropout=on", "loss.columns=items", "queue.in_batch=on", "l1.anchor=symmetric"},
};

std::shared_ptr<CudaContext> open() {
  const auto owned = galrec::test::open_device(DeviceKind::kCuda);
  return owned == nullptr ? nullptr : owned->cuda;
}

std::vector<std::string> with(std::vector<std::string> overrides, const std::string& more) {
  overrides.push_back(more);
  return overrides;
}

/// What some steps leave: their figures, and all that a checkpoint holds.
template <class T>
struct Trained {
  std::vector<Figures> figures;
  std::map<std::string, std::string> files;
  StepGraphs::Counts counts;
  std::string failure;
};

constexpr std::int64_t kPerEpoch = 4, kSamples = 6;

template <class T>
Trained<T> train(const std::vector<std::string>& overrides, const TemporaryFolder& folder, CudaContext& cuda,
                 std::int64_t steps, const std::string& name, StepGraphs::Inspect inspect = {}) {
  TinyRunOf<T> run(tiny_config(overrides), folder / "spiece.model", std::make_unique<CpuContext>(2), &cuda);
  GalTask<T> task(run.device, run.parts());
  if (inspect) task.graphs().inspect_replays(inspect);
  Trained<T> out;
  for (std::int64_t s = 0; s < steps; ++s) {
    // Each epoch has other prompts of other lengths, of about the same size.
    if (s % kPerEpoch == 0) task.begin_epoch(s / kPerEpoch);
    out.figures.push_back(
        task.step({.step = s, .epoch = s / kPerEpoch, .first = s % kPerEpoch * kSamples, .count = kSamples}));
  }
  fs::create_directories(folder / name);
  task.save(folder / name);
  for (const auto& entry : fs::directory_iterator(folder / name))
    out.files[entry.path().filename()] = data::read_file(entry.path());
  out.counts = task.graphs().counts();
  out.failure = task.graphs().failure();
  return out;
}

/// Trains with and without graphs. Every piece that is replayed is captured again, with what the host knows by then: it
/// must be the same work to the last argument.
template <class T>
void expect_equal_bits(const std::vector<std::string>& overrides, std::int64_t steps, std::int64_t shapes) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  std::map<std::int64_t, int> replays;  // by the number of nodes: of micro-batches of several shapes, and of updates
  std::string difference;
  const auto graphs =
      train<T>(overrides, folder, *cuda, steps, "graphs", [&](const CudaGraph& replayed, const CudaGraph& fresh) {
        ++replays[replayed.nodes()];
#if defined(GALREC_SIMT_CLEARS_PADDING)
        if (difference.empty()) difference = simt::first_difference(*replayed.graph(), *fresh.graph());
#else
    EXPECT_EQ(fresh.nodes(), replayed.nodes());
#endif
      });
  EXPECT_EQ(difference, "");
  EXPECT_EQ(graphs.failure, "");
  int of_micro_batches = 0;
  for (const auto& [nodes, count] : replays) of_micro_batches += nodes > 100 ? count : 0;
  EXPECT_GE(of_micro_batches, steps / 2);
  EXPECT_EQ(graphs.counts.replayed, of_micro_batches + steps - 2) << "all but two updates";
  EXPECT_GE(graphs.counts.captured, shapes + 1) << "micro-batches and the update";

  const auto eager = train<T>(with(overrides, "cuda.graph=off"), folder, *cuda, steps, "eager");
  EXPECT_EQ(eager.counts.eager + eager.counts.captured + eager.counts.replayed, 0);
  EXPECT_EQ(graphs.figures, eager.figures);
  EXPECT_EQ(differences(graphs.files, eager.files), "");
}

TEST(TrainingInGraphs, HasTheBitsOfTrainingWithoutThem) {
  expect_equal_bits<float>(kVariants[0], 16, 1);
}
TEST(TrainingInGraphs, HasThemWithAllKindsOfTermsAndTwoPasses) {
  expect_equal_bits<float>(kVariants[1], 16, 2);
}
TEST(TrainingInGraphs, HasThemInBf16) {
  expect_equal_bits<bfloat16>(kVariants[1], 8, 2);
}

TEST(TrainingInGraphs, AResumedRunEndsInTheSameBytes) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  const auto run = [&](const fs::path& path, std::int64_t max_steps) {
    const auto config = tiny_config({"train.epochs=2", "queue.size=6", "cuda.bucket=512", "train.statistics_every=0"});
    TinyRun tiny(config, folder / "spiece.model", std::make_unique<CpuContext>(2), cuda.get());
    return tiny.train(path, {.max_steps = max_steps});
  };
  run(folder / "straight", 0);
  run(folder / "resumed", 7);
  run(folder / "resumed", 0);
  EXPECT_EQ(differences(run_contents(folder / "resumed"), run_contents(folder / "straight")), "");
}

}  // namespace
}  // namespace galrec::gal::test
