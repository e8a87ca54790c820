// labels: slow
// A real GAL run, killed with SIGKILL and resumed, and run with 1 to 4 threads: the same bytes everywhere.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "tests/gal/training/tiny_run.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal::test {
namespace {

using galrec::test::TemporaryFolder;

const int kTemporary = fs::is_directory("/dev/shm") ? ::setenv("TMPDIR", "/dev/shm", 0) : 0;

const std::map<std::string, std::vector<std::string>>& variants() {
  static const std::map<std::string, std::vector<std::string>> all = {
      {"momentum_queue", {}},
      {"query_queue", {"queue.encoder=query", "sample.unit=last", "train.batch=5"}},
      {"momentum_positive", {"loss.positive=momentum", "momentum.dropout=on", "loss.columns=items", "sample.order=neighbours"}},
      {"recommend_only", {"loss.l1=0", "loss.l2=0", "loss.l3=0"}},
  };
  return all;
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A task that dies within its n-th checkpoint, all tensors written, the state not yet.
class DyingTask : public GalTask<float> {
 public:
  DyingTask(CpuContext& ctx, const TrainerParts<float>& parts, int at) : GalTask(ctx, parts), at_(at) {}
  void save(const fs::path& folder) const override {
    GalTask::save(folder);
    if (++saves_ == at_) raise(SIGKILL);
  }

 private:
  int at_;
  mutable int saves_ = 0;
};

// Not a test: what the tests below run in a process of its own, because a process that has used OpenMP cannot fork, and
// because OMP_NUM_THREADS is read once.
TEST(ResumeChild, DISABLED_Trains) {
  const fs::path folder = environment("GALREC_TEST_FOLDER");
  ASSERT_FALSE(folder.empty());
  TinyRun run(tiny_config(variants().at(environment("GALREC_TEST_VARIANT"))), folder.parent_path() / "spiece.model",
              std::atoi(environment("GALREC_TEST_THREADS")));
  const int kill_step = std::atoi(environment("GALREC_TEST_KILL_STEP")), kill_save = std::atoi(environment("GALREC_TEST_KILL_SAVE"));
  if (kill_save == 0) {
    run.train(folder, {.after_step = [&](const TrainingState& s) { if (s.step == kill_step) raise(SIGKILL); }});
    return;
  }
  DyingTask task(run.ctx, run.parts(), kill_save);
  data::RunFolder run_folder(folder, run.config, run_info(), data::RunMode::kNewOrResume);
  spdlog::logger log("null", std::make_shared<spdlog::sinks::null_sink_mt>());
  const TrainOptions t = run.parts().train;
  TrainingLoop(task, run_folder, {.epochs = t.epochs, .batch = t.batch, .patience = t.patience, .log_every = t.log_every, .checkpoint_minutes = 0},
               log, data::ProgressStyle::kSilent).run();
}

// Runs the child with variables; returns waitpid's status.
int child(const std::map<std::string, std::string>& variables) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (const auto& [name, value] : variables) setenv(name.c_str(), value.c_str(), 1);
    execl("/proc/self/exe", "child", "--gtest_also_run_disabled_tests", "--gtest_filter=ResumeChild.*", "--gtest_brief=1", nullptr);
    _exit(127);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

std::map<std::string, std::string> variables(const fs::path& folder, const std::string& variant) {
  return {{"GALREC_TEST_FOLDER", folder}, {"GALREC_TEST_VARIANT", variant}, {"GALREC_TEST_THREADS", "2"}};
}

class Resume : public testing::TestWithParam<std::string> {};

TEST_P(Resume, KilledRunsEndInTheSameBytes) {
  TemporaryFolder folder;
  ASSERT_EQ(child(variables(folder / "straight", GetParam())), 0);
  const auto expected = run_contents(folder / "straight");
  for (const char* file : {"last/model.safetensors", "last/training.safetensors", "last/state.json", "best/model.safetensors", "ranks_valid.tsv",
                           "ranks_test.tsv", "result.json", "metrics.jsonl"})
    EXPECT_TRUE(expected.contains(file)) << file;
  const auto resumed = [&](const char* variable, const char* value) {
    const fs::path path = folder / (std::string(variable) + value);
    auto killed = variables(path, GetParam());
    killed[variable] = value;
    killed["GALREC_TEST_THREADS"] = "1";
    const int status = child(killed);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << variable << value << ": status " << status;
    ASSERT_EQ(child(variables(path, GetParam())), 0);
    EXPECT_EQ(differences(run_contents(path), expected), "") << variable << value;
  };
  for (const char* step : {"1", "4", "5", "7"}) resumed("GALREC_TEST_KILL_STEP", step);
  for (const char* save : {"1", "5", "6"}) resumed("GALREC_TEST_KILL_SAVE", save);
}

INSTANTIATE_TEST_SUITE_P(Variants, Resume, testing::Values("momentum_queue", "query_queue", "momentum_positive", "recommend_only"),
                         [](const auto& info) { return info.param; });

TEST(Threads, AnyNumberGivesTheSameBytes) {
  TemporaryFolder folder;
  for (const char* threads : {"1", "2", "3", "4"}) {
    auto v = variables(folder / (std::string("threads") + threads), "momentum_queue");
    v["GALREC_TEST_THREADS"] = "0";  // as OMP_NUM_THREADS says
    v["OMP_NUM_THREADS"] = threads;
    ASSERT_EQ(child(v), 0);
  }
  const auto expected = run_contents(folder / "threads1");
  for (const char* threads : {"2", "3", "4"})
    EXPECT_EQ(differences(run_contents(folder / (std::string("threads") + threads)), expected), "") << threads << " threads";
}

}  // namespace
}  // namespace galrec::gal::test
