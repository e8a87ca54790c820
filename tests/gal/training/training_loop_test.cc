// The loop with a task of a few numbers: what a kill leaves behind, and where a resumed run ends.
#include "gal/training/training_loop.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <map>

#include <spdlog/sinks/null_sink.h>

#include "data/atomic_file.h"
#include "kernels/common/check.h"
#include "kernels/common/philox.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;

// These tests sync some thousand tiny files: memory is quick at that, and the order of system calls is the same.
const int kTemporary = fs::is_directory("/dev/shm") ? ::setenv("TMPDIR", "/dev/shm", 0) : 0;

constexpr std::int64_t kSamples = 13, kBatch = 4, kEpochs = 5;

// Eight numbers, stirred by every step: any step that is lost, repeated or reordered shows.
class ToyTask : public TrainingTask {
 public:
  std::int64_t samples_per_epoch() const override { return kSamples; }
  void begin_epoch(std::int64_t epoch) override { epoch_ = epoch; }
  Figures step(const StepPlan& plan) override {
    EXPECT_EQ(plan.epoch, epoch_) << "a step outside its epoch";
    steps.push_back(plan);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto block = static_cast<std::uint64_t>(plan.first + plan.count) * 8 + i;
      const auto bits = philox({.seed = 1, .step = static_cast<std::uint32_t>(plan.step), .stream = 5}, block);
      values[i] = 0.9 * values[i] + bits[0] * 0x1p-32;
    }
    if (on_step) on_step(plan);
    return {{"loss", values[0]}, {"L0", values[1]}};
  }
  Validation validate() override {
    if (on_validate) on_validate();
    const double score = scores.empty() ? values[2] : scores.at(static_cast<std::size_t>(validations++));
    return {.score = score, .figures = {{"NDCG@10", score}}};
  }
  nlohmann::ordered_json identity() const override { return {{"seed", seed}}; }
  void save(const fs::path& folder) const override {
    if (on_save) on_save(0);
    data::write_file(folder / "a.bin", std::string_view(reinterpret_cast<const char*>(values.data()), 32));
    if (on_save) on_save(1);
    data::write_file(folder / "b.bin", std::string_view(reinterpret_cast<const char*>(values.data() + 4), 32));
    if (on_save) on_save(2);
  }
  void load(const fs::path& folder) override {
    const std::string text = data::read_file(folder / "a.bin") + data::read_file(folder / "b.bin");
    ASSERT_EQ(text.size(), 64u);
    std::memcpy(values.data(), text.data(), 64);
  }

  std::array<double, 8> values{};
  std::vector<StepPlan> steps;
  std::vector<double> scores;
  int validations = 0;
  int seed = 1;
  std::function<void(const StepPlan&)> on_step;
  std::function<void()> on_validate;
  std::function<void(int)> on_save;

 private:
  std::int64_t epoch_ = -1;
};

data::Config config() {
  data::ConfigSchema schema;
  schema.add({.name = "train.lr", .default_value = 0.1, .help = ""});
  return data::Config(schema);
}

spdlog::logger silent() { return spdlog::logger("null", std::make_shared<spdlog::sinks::null_sink_mt>()); }

const LoopOptions kOptions{.epochs = kEpochs, .batch = kBatch, .patience = 0, .log_every = 3, .checkpoint_minutes = 0};

LoopResult run(ToyTask& task, const fs::path& folder, const LoopLimits& limits = {}, const LoopOptions& options = kOptions) {
  data::RunFolder run_folder(folder, config(), {}, data::RunMode::kNewOrResume);
  auto log = silent();
  return TrainingLoop(task, run_folder, options, log, data::ProgressStyle::kSilent).run(limits);
}

// Every file of both checkpoints, and the metrics without what a clock decides.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder);
    if (entry.is_regular_file() && (name.starts_with("last/") || name.starts_with("best/"))) out[name] = data::read_file(entry.path());
    EXPECT_FALSE(name.ends_with(".new") || name.ends_with(".old") || name.ends_with(".tmp")) << name;
  }
  std::istringstream lines(data::read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    auto json = nlohmann::ordered_json::parse(line);
    json.erase("samples_per_second");
    out["metrics"] += json.dump() + "\n";
  }
  return out;
}

TEST(TrainingLoop, TakesEverySampleOnceAnEpoch) {
  TemporaryFolder folder;
  ToyTask task;
  const auto result = run(task, folder / "r");
  EXPECT_EQ(result.reason, StopReason::kFinished);
  EXPECT_EQ(result.state.ending, Ending::kEpochs);
  ASSERT_EQ(task.steps.size(), 20u);  // 13 samples: 4 + 4 + 4 + 1, five times
  for (std::size_t s = 0; s < task.steps.size(); ++s) {
    EXPECT_EQ(task.steps[s].step, static_cast<std::int64_t>(s));
    EXPECT_EQ(task.steps[s].first, static_cast<std::int64_t>(s % 4 * 4));
    EXPECT_EQ(task.steps[s].count, s % 4 == 3 ? 1 : 4);
  }
  EXPECT_EQ(contents(folder / "r").size(), 7u);  // two checkpoints of three files, metrics
  ToyTask again;
  EXPECT_EQ(run(again, folder / "r").steps, 0);  // finished runs stay finished
  EXPECT_EQ(again.values, task.values);
}

TEST(TrainingLoop, KeepsTheBestAndStopsAfterPatience) {
  TemporaryFolder folder;
  ToyTask task;
  task.scores = {.1, .3, .2, .3, .4};
  auto options = kOptions;
  options.patience = 2;
  const auto result = run(task, folder / "r", {}, options);
  EXPECT_EQ(result.state.ending, Ending::kPatience);
  EXPECT_EQ(result.state.epoch, 4);  // .2 and an equal .3 are not better
  EXPECT_EQ(result.state.best_epoch, 2);
  EXPECT_EQ(result.state.best_score, .3);
  EXPECT_EQ(read_state(folder / "r/best", task.identity()).epoch, 2);
  EXPECT_EQ(read_state(folder / "r/last", task.identity()).epoch, 4);
}

TEST(TrainingLoop, MaxStepsThenResumeIsTheSameRun) {
  TemporaryFolder folder;
  ToyTask straight;
  run(straight, folder / "straight");
  for (int pieces = 1; pieces <= 7; ++pieces) {
    const fs::path path = folder / fmt::format("pieces{}", pieces);
    for (std::int64_t limit = pieces; limit <= 20 + pieces; limit += pieces) {
      ToyTask task;
      run(task, path, {.max_steps = limit});
    }
    EXPECT_EQ(contents(path), contents(folder / "straight")) << pieces;
  }
}

TEST(TrainingLoop, StopFlagSavesAndReturns) {
  TemporaryFolder folder;
  ToyTask task;
  std::atomic<bool> stop{false};
  const auto result = run(task, folder / "r", {.stop = &stop, .after_step = [&](const TrainingState& s) { stop = s.step == 6; }});
  EXPECT_EQ(result.reason, StopReason::kStopped);
  EXPECT_EQ(read_state(folder / "r/last", task.identity()).step, 6);
}

// kill -9 (or an exception) at a moment that `arm` chooses; then one more process resumes to the end.
void killed_and_resumed(const fs::path& path, const std::function<void(ToyTask&)>& arm) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ToyTask task;
    arm(task);
    run(task, path);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "the child ended by itself, status " << status;
  ToyTask task;
  run(task, path);
}

TEST(TrainingLoop, KilledAtAnyMomentEndsInTheSameBits) {
  TemporaryFolder folder;
  ToyTask straight;
  run(straight, folder / "straight");
  const auto expected = contents(folder / "straight");
  int n = 0;
  const auto check = [&](const std::function<void(ToyTask&)>& arm, const std::string& what) {
    const fs::path path = folder / fmt::format("killed{}", n++);
    killed_and_resumed(path, arm);
    EXPECT_EQ(contents(path), expected) << what;
  };
  for (std::int64_t at = 0; at < 20; at += 3)  // within a step
    check([at](ToyTask& t) { t.on_step = [at](const StepPlan& p) { if (p.step == at) raise(SIGKILL); }; }, fmt::format("step {}", at));
  for (int at = 0; at < 5; ++at)  // within validation
    check([at](ToyTask& t) { t.on_validate = [at, count = 0]() mutable { if (count++ == at) raise(SIGKILL); }; }, fmt::format("validation {}", at));
  for (int at = 0; at < 66; at += 5)  // within a checkpoint, before, between and after its files
    check([at](ToyTask& t) { t.on_save = [at, count = 0](int) mutable { if (count++ == at) raise(SIGKILL); }; }, fmt::format("save {}", at));
}

TEST(TrainingLoop, KilledWhereverTheClockHappensToStrike) {
  TemporaryFolder folder;
  ToyTask straight;
  run(straight, folder / "straight");
  const auto expected = contents(folder / "straight");
  for (int n = 0; n < 12; ++n) {
    const fs::path path = folder / fmt::format("killed{}", n);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ToyTask task;
      run(task, path);
      _exit(0);
    }
    usleep(500 * static_cast<useconds_t>(n * n));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    ToyTask task;
    run(task, path);
    EXPECT_EQ(contents(path), expected) << n;
  }
}

TEST(TrainingLoop, AnExceptionLeavesTheLastCheckpointUsable) {
  TemporaryFolder folder;
  ToyTask straight;
  run(straight, folder / "straight");
  ToyTask task;
  task.on_step = [](const StepPlan& p) { if (p.step == 9) throw NumericalError("step 10: the loss is nan"); };
  EXPECT_THROW(run(task, folder / "r"), NumericalError);
  ToyTask again;
  run(again, folder / "r");
  EXPECT_EQ(contents(folder / "r"), contents(folder / "straight"));
}

TEST(TrainingLoop, FullDiskKeepsTheOldCheckpoint) {
  TemporaryFolder folder;
  ToyTask first;
  run(first, folder / "r", {.max_steps = 6});
  const auto before = contents(folder / "r");
  // A file size limit makes write() fail as a full disk does (there EFBIG, here ENOSPC), without needing a small disk.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    ToyTask task;
    task.on_save = [](int) {
      const rlimit limit{8, 8};
      setrlimit(RLIMIT_FSIZE, &limit);
    };
    try {
      run(task, folder / "r", {.max_steps = 7});
    } catch (const DataError& e) {
      _exit(std::string(e.what()).find("a.bin") != std::string::npos ? e.exit_code() : 99);
    }
    _exit(98);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  ToyTask second;
  run(second, folder / "r", {.max_steps = 6});
  EXPECT_EQ(contents(folder / "r"), before);
}

TEST(TrainingLoop, OtherInputsAndDamagedStatesAreRefused) {
  TemporaryFolder folder;
  ToyTask task;
  run(task, folder / "r", {.max_steps = 2});
  ToyTask other;
  other.seed = 2;
  try {
    run(other, folder / "r");
    FAIL();
  } catch (const UsageError& e) {
    EXPECT_NE(std::string(e.what()).find("seed: the run has 1, now 2"), std::string::npos) << e.what();
  }
  for (const char* text : {"", "{", "{}", R"({"identity": {"seed": 1}, "state": {"step": "x"}})"}) {
    data::write_file(folder / "r/last/state.json", text);
    EXPECT_THROW(run(task, folder / "r"), DataError) << text;
  }
}

TEST(TrainingLoop, NothingToTrainOnIsAUsageError) {
  struct Empty : ToyTask {
    std::int64_t samples_per_epoch() const override { return 0; }
  } task;
  TemporaryFolder folder;
  EXPECT_THROW(run(task, folder / "r"), UsageError);
}

}  // namespace
}  // namespace galrec::gal
