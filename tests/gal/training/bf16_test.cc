// labels: slow
// Training in bf16 storage on CUDA: it follows fp32, has the same bits whatever the order of lanes and blocks, and goes on where it
// was stopped.
#include <gtest/gtest.h>

#include <cmath>

#include "gal/evaluation/model_ranking.h"
#include "tests/gal/training/tiny_run.h"
#include "tests/support/devices.h"
#include "tests/support/schedules.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal::test {
namespace {

using galrec::test::TemporaryFolder;

const std::vector<std::string> kVariants[] = {
    {"train.epochs=1"},
    {"train.epochs=1", "loss.positive=momentum", "momentum.dropout=on", "loss.columns=items", "queue.in_batch=on",
     "l1.anchor=symmetric", "external.rows=trainable", "external.mapping=mlp"},
};

std::shared_ptr<CudaContext> open() {
  const auto owned = galrec::test::open_device(DeviceKind::kCuda);
  return owned == nullptr ? nullptr : owned->cuda;
}

/// The figures of the first steps.
template <class T>
std::vector<Figures> first_steps(const data::Config& config, const fs::path& vocabulary, CudaContext* cuda, std::int64_t steps) {
  constexpr std::int64_t kWidth = 64;  // heads of 32: the kernels of the matrix instructions
  TinyRunOf<T> run(config, vocabulary, std::make_unique<CpuContext>(2), cuda, 25, 30, kWidth);
  GalTask task(run.device, run.parts());
  task.begin_epoch(0);
  std::vector<Figures> out;
  for (std::int64_t s = 0; s < steps; ++s) out.push_back(task.step({.step = s, .epoch = 0, .first = 6 * s, .count = 6}));
  return out;
}

double figure(const Figures& figures, const std::string& name) {
  for (const auto& [key, value] : figures) {
    if (key == name) return value;
  }
  ADD_FAILURE() << "no figure " << name;
  return NAN;
}

TEST(TrainingInBf16, FollowsFp32) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  for (const auto& variant : kVariants) {
    const auto config = tiny_config(variant);
    const auto exact = first_steps<float>(config, folder / "spiece.model", cuda.get(), 4);
    const auto rounded = first_steps<bfloat16>(config, folder / "spiece.model", cuda.get(), 4);
    double largest = 0;
    for (std::size_t s = 0; s < exact.size(); ++s) {
      ASSERT_EQ(rounded[s].size(), exact[s].size());
      for (const char* name : {"loss", "L0"}) {
        const double value = figure(rounded[s], name), expected = figure(exact[s], name);
        largest = std::max(largest, std::abs(value - expected) / expected);
        EXPECT_LE(std::abs(value - expected), 0.005 * expected) << "step " << s << ", " << name << ": " << value << " and " << expected;
      }
      const double norm = figure(rounded[s], "grad_norm"), expected_norm = figure(exact[s], "grad_norm");
      EXPECT_LE(std::abs(norm - expected_norm), 0.1 * expected_norm) << "step " << s;
    }
    EXPECT_GT(largest, 1e-6) << "this was not bf16";
  }
}

TEST(TrainingInBf16, HasTheSameBitsUnderEverySchedule) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  const auto config = tiny_config(kVariants[1]);
  const auto straight = first_steps<bfloat16>(config, folder / "spiece.model", cuda.get(), 2);
  galrec::test::for_each_schedule([&](const std::string& schedule) {
    EXPECT_EQ(first_steps<bfloat16>(config, folder / "spiece.model", cuda.get(), 2), straight) << schedule;
  });
}

TEST(TrainingInBf16, AnInterruptedRunEndsInTheSameBytes) {
  const auto cuda = open();
  if (cuda == nullptr) GTEST_SKIP() << "no CUDA device";
  TemporaryFolder folder;
  const auto config = tiny_config({"train.epochs=1"});
  const auto run = [&](const fs::path& path, std::int64_t max_steps) {
    TinyRunOf<bfloat16> tiny(config, folder / "spiece.model", std::make_unique<CpuContext>(2), cuda.get());
    return tiny.train(path, {.max_steps = max_steps});
  };
  const auto straight = run(folder / "straight", 0);
  EXPECT_EQ(straight.loop.reason, StopReason::kFinished);
  run(folder / "resumed", 2);
  EXPECT_EQ(run(folder / "resumed", 0).loop.steps, straight.loop.steps - 2);
  EXPECT_EQ(differences(run_contents(folder / "resumed"), run_contents(folder / "straight")), "");

  // Its best checkpoint is an fp32 model like any other: the CPU ranks with it, differently only where scores are near each other.
  TinyRun cpu(config, folder / "spiece.model", 2);
  load_model(data::find_checkpoint(folder / "straight", "best"), *cpu.model);
  autograd::Tape<float> tape(cpu.device);
  const auto ranks = rank_targets(cpu.device, tape, *cpu.model, cpu.builder, cpu.split, data::Phase::kTest, cpu.parts().ranking);
  ASSERT_EQ(ranks.ranks.size(), straight.test.ranks.size());
  double moved = 0;
  for (std::size_t u = 0; u < ranks.ranks.size(); ++u) moved += std::abs(ranks.ranks[u] - straight.test.ranks[u]);
  EXPECT_LE(moved / static_cast<double>(ranks.ranks.size()), 1.0) << "mean change of a rank among 30 items";

  // And training goes on from it in fp32.
  TinyRun fp32(config, folder / "spiece.model", std::make_unique<CpuContext>(2), cuda.get());
  GalTask task(fp32.device, fp32.parts());
  task.load(data::find_checkpoint(folder / "straight", "last"));
}

}  // namespace
}  // namespace galrec::gal::test
