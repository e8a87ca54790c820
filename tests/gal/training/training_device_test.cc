// labels: slow
// The same training run on either device: losses that follow each other, checkpoints that any device reads, and a CUDA run
// that is interrupted and goes on to its own bits.
#include <gtest/gtest.h>

#include <cmath>

#include "gal/evaluation/model_ranking.h"
#include "tests/gal/training/tiny_run.h"
#include "tests/support/devices.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal::test {
namespace {

using galrec::test::TemporaryFolder;

const std::vector<std::string> kVariants[] = {
    {"train.epochs=1"},
    {"train.epochs=1", "loss.positive=momentum", "momentum.dropout=on", "loss.columns=items", "queue.in_batch=on", "l1.anchor=symmetric"},
};

std::shared_ptr<CudaContext> open() {
  const auto owned = galrec::test::open_device(DeviceKind::kCuda);
  return owned == nullptr ? nullptr : owned->cuda;
}

/// The figures of the first steps.
std::vector<Figures> first_steps(TinyRun& run, std::int64_t steps) {
  GalTask task(run.device, run.parts());
  task.begin_epoch(0);
  std::vector<Figures> out;
  for (std::int64_t s = 0; s < steps; ++s) out.push_back(task.step({.step = s, .epoch = 0, .first = 6 * s, .count = 6}));
  return out;
}

void expect_close(const std::vector<Figures>& actual, const std::vector<Figures>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t s = 0; s < actual.size(); ++s) {
    ASSERT_EQ(actual[s].size(), expected[s].size());
    for (std::size_t f = 0; f < actual[s].size(); ++f) {
      const auto& [name, value] = actual[s][f];
      EXPECT_EQ(name, expected[s][f].first);
      EXPECT_TRUE(std::abs(value - expected[s][f].second) <= 1e-4 * std::max(1e-2, std::abs(expected[s][f].second)))
          << "step " << s << ", " << name << ": " << value << " on the device, " << expected[s][f].second << " on the CPU";
    }
  }
}

TEST(TrainingOnCuda, FollowsTheCpu) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  for (const auto& variant : kVariants) {
    const auto config = tiny_config(variant);
    TinyRun on_cpu(config, folder / "spiece.model", 2);
    TinyRun on_cuda(config, folder / "spiece.model", std::make_unique<CpuContext>(2), cuda.get());
    expect_close(first_steps(on_cuda, 3), first_steps(on_cpu, 3));
  }
}

TEST(TrainingOnCuda, AnInterruptedRunEndsInTheSameBytes) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  const auto config = tiny_config({"train.epochs=1"});
  const auto run = [&](const fs::path& path, std::int64_t max_steps) {
    TinyRun tiny(config, folder / "spiece.model", std::make_unique<CpuContext>(2), cuda.get());
    return tiny.train(path, {.max_steps = max_steps});
  };
  const auto straight = run(folder / "straight", 0);
  EXPECT_EQ(straight.loop.reason, StopReason::kFinished);
  run(folder / "resumed", 2);
  const auto resumed = run(folder / "resumed", 0);
  EXPECT_EQ(resumed.loop.steps, straight.loop.steps - 2);
  EXPECT_EQ(differences(run_contents(folder / "resumed"), run_contents(folder / "straight")), "");

  // Its best checkpoint ranks on the CPU as it did there, but for scores that differ in the last bits.
  TinyRun cpu(config, folder / "spiece.model", 2);
  load_model(data::find_checkpoint(folder / "straight", "best"), *cpu.model);
  autograd::Tape<float> tape(cpu.device);
  const auto parts = cpu.parts();
  const auto ranks = rank_targets(cpu.device, tape, *cpu.model, cpu.builder, cpu.split, data::Phase::kTest, parts.ranking);
  ASSERT_EQ(ranks.ranks.size(), straight.test.ranks.size());
  int different = 0;
  for (std::size_t u = 0; u < ranks.ranks.size(); ++u) different += ranks.ranks[u] != straight.test.ranks[u];
  EXPECT_LE(different, 1);
}

}  // namespace
}  // namespace galrec::gal::test
