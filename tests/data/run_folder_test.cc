#include "data/run_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

namespace fs = std::filesystem;
using test::expect_error;
using test::TemporaryFolder;

Config config(double lr = 0.1) {
  ConfigSchema schema;
  schema.add({"train.lr", 0.1, "learning rate"})
      .add({"max_steps", std::int64_t{0}, ""})
      .add({"log.every", std::int64_t{10}, ""});
  Config config(schema);
  config.set("train.lr", lr, "command line: train.lr");
  return config;
}

const RunInfo kInfo{42, "abc123", "galrec train", 2};

std::int64_t metrics_lines(const fs::path& run) {
  if (!fs::exists(run / "metrics.jsonl")) return 0;
  const std::string text = read_file(run / "metrics.jsonl");
  return std::count(text.begin(), text.end(), '\n');
}

TEST(RunFolder, RecordsConfigurationAndEnvironment) {
  TemporaryFolder folder;
  const RunFolder run(folder / "runs/one", config(), kInfo, RunMode::kNew);
  EXPECT_FALSE(run.resumed());
  EXPECT_EQ(read_file(folder / "runs/one/config.toml"), config().to_toml());
  const auto environment = nlohmann::json::parse(read_file(folder / "runs/one/env.json"));
  EXPECT_EQ(environment["seed"], 42);
  EXPECT_EQ(environment["commit"], "abc123");
  EXPECT_EQ(environment["threads"], 2);
  for (const char* key : {"compiler", "processor", "system", "time"})
    EXPECT_FALSE(environment[key].get<std::string>().empty());
  EXPECT_EQ(run.log_path(), folder / "runs/one/log.txt");
}

TEST(RunFolder, ModesAgreeWithWhatIsThere) {
  TemporaryFolder folder;
  expect_error<UsageError>([&] { RunFolder(folder / "r", config(), kInfo, RunMode::kResume); },
                           {"holds no run to resume"});
  EXPECT_TRUE(folder.names().empty());
  { RunFolder(folder / "r", config(), kInfo, RunMode::kNewOrResume); }
  expect_error<UsageError>([&] { RunFolder(folder / "r", config(), kInfo, RunMode::kNew); },
                           {"already holds a run", "--resume"});
  for (const RunMode mode : {RunMode::kResume, RunMode::kNewOrResume})
    EXPECT_TRUE(RunFolder(folder / "r", config(), kInfo, mode).resumed());
  const auto environment = nlohmann::json::parse(read_file(folder / "r/env.json"));
  EXPECT_EQ(environment["resumes"].size(), 2u);
  EXPECT_EQ(environment["seed"], 42);
}

TEST(RunFolder, RefusesAnotherConfiguration) {
  TemporaryFolder folder;
  { RunFolder(folder / "r", config(0.1), kInfo, RunMode::kNew); }
  const std::string before = read_file(folder / "r/config.toml");
  Config other = config(0.2);
  other.set("max_steps", std::int64_t{7}, "x.toml:3");
  expect_error<UsageError>([&] { RunFolder(folder / "r", other, kInfo, RunMode::kResume); },
                           {"another configuration", "train.lr: the run has 0.1, now 0.2 (command line: train.lr)",
                            "max_steps: the run has 0, now 7 (x.toml:3)"});
  EXPECT_EQ(read_file(folder / "r/config.toml"), before);
  other.set("train.lr", 0.1, "x.toml:4");
  const std::vector<std::string> may_differ{"max_steps", "log"};
  EXPECT_TRUE(RunFolder(folder / "r", other, kInfo, RunMode::kResume, may_differ).resumed());
  EXPECT_NE(read_file(folder / "r/config.toml").find("max_steps = 7"), std::string::npos);
}

TEST(RunFolder, RefusesASecondWriter) {
  TemporaryFolder folder;
  {
    const RunFolder run(folder / "r", config(), kInfo, RunMode::kNew);
    expect_error<UsageError>([&] { RunFolder(folder / "r", config(), kInfo, RunMode::kResume); },
                             {"another process is writing"});
  }
  EXPECT_TRUE(RunFolder(folder / "r", config(), kInfo, RunMode::kResume).resumed());
}

TEST(RunFolder, MetricsAreCutAtAStep) {
  TemporaryFolder folder;
  const fs::path metrics = folder / "r/metrics.jsonl";
  {
    RunFolder run(folder / "r", config(), kInfo, RunMode::kNew);
    for (int step = 1; step <= 5; ++step) run.append_metrics({{"step", step}, {"loss", 0.5}});
  }
  const std::string line = R"({"step":1,"loss":0.5})";
  EXPECT_EQ(read_file(metrics).substr(0, line.size() + 1), line + "\n");
  write_file(metrics, read_file(metrics) + "{\"step\":6,\"lo");
  {
    RunFolder run(folder / "r", config(), kInfo, RunMode::kResume);
    EXPECT_EQ(metrics_lines(folder / "r"), 5);
    EXPECT_EQ(read_file(metrics).back(), '\n');
    run.truncate_metrics(3);
    EXPECT_EQ(metrics_lines(folder / "r"), 3);
    run.append_metrics({{"step", 4}});
    EXPECT_EQ(metrics_lines(folder / "r"), 4);
    EXPECT_NE(read_file(metrics).find("{\"step\":4}\n"), std::string::npos);
    run.truncate_metrics(-1);
    EXPECT_EQ(read_file(metrics), "");
  }
}

TEST(RunFolder, AFailedCheckpointKeepsTheOldOne) {
  TemporaryFolder folder;
  RunFolder run(folder / "r", config(), kInfo, RunMode::kNew);
  EXPECT_FALSE(run.has_checkpoint("last"));
  run.save_checkpoint("last", [](const fs::path& to) { write_file(to / "model", "one"); });
  const auto disk_full = [](const fs::path& to) {
    write_file(to / "model", "two");
    throw DataError("no space");
  };
  EXPECT_THROW(run.save_checkpoint("last", disk_full), DataError);
  EXPECT_EQ(read_file(run.checkpoint("last") / "model"), "one");
  EXPECT_FALSE(fs::exists(folder / "r/.last.new"));
  EXPECT_TRUE(run.has_checkpoint("last"));
  EXPECT_EQ(find_checkpoint(folder / "r", "last"), folder / "r/last");
  expect_error<DataError>([&] { find_checkpoint(folder / "r", "best"); }, {"no checkpoint 'best'"});
  EXPECT_THROW(run.save_checkpoint("other", [](const fs::path&) {}), CheckError);
}

// A child writes checkpoint after checkpoint until it is killed; whatever moment that was, a whole one is found.
TEST(RunFolder, AKillLeavesAWholeCheckpoint) {
  TemporaryFolder folder;
  int last_seen = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      RunFolder run(folder / "r", config(), kInfo, RunMode::kNewOrResume);
      for (int version = last_seen + 1;; ++version) {
        run.append_metrics({{"step", version}});
        run.save_checkpoint("last", [&](const fs::path& to) {
          for (const char* name : {"model", "optimizer", "state"}) write_file(to / name, std::to_string(version));
        });
      }
    }
    // Two more lines of metrics: at least one more checkpoint is whole. Then some moment later, another each round.
    for (int wait = 0; wait < 60000 && metrics_lines(folder / "r") < last_seen + 2; ++wait) usleep(1000);
    usleep(static_cast<useconds_t>(377 * round));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));

    RunFolder run(folder / "r", config(), kInfo, RunMode::kResume);
    ASSERT_TRUE(run.has_checkpoint("last"));
    const int version = std::stoi(read_file(run.checkpoint("last") / "model"));
    EXPECT_GT(version, last_seen);
    for (const char* name : {"optimizer", "state"})
      EXPECT_EQ(std::stoi(read_file(run.checkpoint("last") / name)), version);
    run.truncate_metrics(version);
    EXPECT_EQ(metrics_lines(folder / "r"), version);
    for (const auto& entry : fs::directory_iterator(folder / "r"))
      EXPECT_TRUE(entry.path().filename() == ".lock" || entry.path().filename().string()[0] != '.') << entry.path();
    last_seen = version;
  }
}

}  // namespace
}  // namespace galrec::data
