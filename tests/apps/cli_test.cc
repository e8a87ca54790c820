// The program as a user meets it: every command end to end on a small synthetic data set, and the exit codes.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "apps/galrec/commands.h"
#include "tests/support/golden.h"
#include "tests/support/temporary_folder.h"

namespace galrec::apps {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome call(std::vector<std::string> arguments) {
  std::vector<const char*> argv{"galrec"};
  for (const auto& a : arguments) argv.push_back(a.c_str());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = run(static_cast<int>(argv.size()), argv.data());
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

// A data set and a LightGCN run that the tests share; made once.
class Cli : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<test::TemporaryFolder>();
    ASSERT_EQ(0, call({"prepare", "synthetic", "--out", path("data"), "--synthetic-users", "120", "--synthetic-items", "80", "--synthetic-communities", "4", "--vocab-size", "200"}).code);
    const auto trained = call({"pretrain", "lightgcn", "--data", path("data"), "--out", path("lightgcn"), "pretrain.epochs=4", "pretrain.eval_every=2", "lightgcn.dim=16"});
    ASSERT_EQ(0, trained.code) << trained.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return (folder_->path() / name).string(); }
  static std::string text_of(const std::string& name) {
    std::ifstream in(path(name));
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static std::vector<std::string> small_training(const std::string& out) {
    return {"train", "--data", path("data"), "--external", path("lightgcn"), "--out", path(out), "train.epochs=1", "train.batch=32", "train.micro_batch=16", "queue.size=32"};
  }

  static std::unique_ptr<test::TemporaryFolder> folder_;
};
std::unique_ptr<test::TemporaryFolder> Cli::folder_;

TEST_F(Cli, PretrainLeavesACompleteRun) {
  for (const char* file : {"lightgcn/config.toml", "lightgcn/metrics.jsonl", "lightgcn/embeddings.safetensors", "lightgcn/result.json", "lightgcn/ranks_test.tsv", "lightgcn/best/model.safetensors"})
    EXPECT_TRUE(fs::exists(path(file))) << file;
}

TEST_F(Cli, WithoutResamplesEvaluatePrintsFiguresAndRefusesToCompare) {
  const auto trained = call({"pretrain", "lightgcn", "--data", path("data"), "--out", path("plain"), "pretrain.epochs=1", "lightgcn.dim=16", "eval.bootstrap=0"});
  ASSERT_EQ(0, trained.code) << trained.err;
  const auto plain = call({"evaluate", path("plain"), "--phase", "valid"});
  ASSERT_EQ(0, plain.code) << plain.err;
  EXPECT_NE(plain.out.find("HR@10"), std::string::npos) << plain.out;
  EXPECT_EQ(plain.out.find("interval"), std::string::npos) << plain.out;
  const auto compared = call({"evaluate", path("plain"), "--compare", path("lightgcn"), "--phase", "valid"});
  EXPECT_EQ(2, compared.code) << "bad arguments";
  EXPECT_NE(compared.err.find("--resamples"), std::string::npos) << compared.err;
  EXPECT_EQ(compared.out.find("HR@10"), std::string::npos) << "said before the ranking, not after it";
  EXPECT_EQ(0, call({"evaluate", path("plain"), "--compare", path("lightgcn"), "--phase", "valid", "--resamples", "20"}).code);
}

TEST_F(Cli, TrainsEvaluatesRecommendsExports) {
  const auto trained = call(small_training("gal"));
  ASSERT_EQ(0, trained.code) << trained.err;
  const auto evaluated = call({"evaluate", path("gal"), "--compare", path("lightgcn"), "--k", "5,10", "--resamples", "50"});
  ASSERT_EQ(0, evaluated.code) << evaluated.err;
  EXPECT_NE(evaluated.out.find("NDCG@10"), std::string::npos);
  EXPECT_NE(evaluated.out.find("paired over users"), std::string::npos);
  const auto user = call({"recommend", path("gal"), "--user", "7", "--top-k", "3"});
  ASSERT_EQ(0, user.code) << user.err;
  EXPECT_NE(user.out.find("recommended:\n   1  "), std::string::npos) << user.out;
  const auto history = call({"recommend", path("gal"), "--history", "12,7,9", "--top-k", "80"});
  ASSERT_EQ(0, history.code) << history.err;
  EXPECT_EQ(history.out.substr(history.out.find("recommended")).find("item     12 "), std::string::npos) << "a seen item is recommended";
  const auto recommender = call({"recommend", path("lightgcn"), "--history", "3,4"});
  EXPECT_EQ(0, recommender.code) << recommender.err;
  ASSERT_EQ(0, call({"export", path("gal"), "--out", path("hf")}).code);
  EXPECT_TRUE(fs::exists(path("hf/config.json")));
  EXPECT_TRUE(fs::exists(path("hf/model.safetensors")));
  ASSERT_EQ(0, call({"export", path("lightgcn"), "--out", path("vectors")}).code);
  EXPECT_TRUE(fs::exists(path("vectors/item.npy")));
}

TEST_F(Cli, ReproduceTrainsOnceAndWritesTheTable) {
  const std::vector<std::string> command{"reproduce", "--dataset", path("data"), "--rows", "lightgcn,gal_lightgcn_without,gal_lightgcn", "--out", path("rows"), "pretrain.epochs=2",
                                         "pretrain.eval_every=1", "lightgcn.dim=16", "train.epochs=1", "train.batch=64", "queue.size=32"};
  const auto first = call(command);
  ASSERT_EQ(0, first.code) << first.err;
  const std::string table = text_of("rows/table.md");
  EXPECT_NE(table.find("| GAL (LightGCN) |"), std::string::npos) << table;
  EXPECT_FALSE(text_of("rows/table.csv").empty());
  EXPECT_FALSE(text_of("rows/table.json").empty());
  const auto second = call(command);
  ASSERT_EQ(0, second.code) << second.err;
  EXPECT_NE(second.err.find("gal_lightgcn: done before"), std::string::npos) << second.err;
  EXPECT_EQ(table, text_of("rows/table.md"));
  EXPECT_EQ(0, call({"verify", path("rows/table.csv")}).code);
}

TEST_F(Cli, MistakesInUsageExitWith2AndSayWhatWasExpected) {
  const auto expect_usage = [](const std::vector<std::string>& arguments, const std::string& part) {
    const auto outcome = call(arguments);
    EXPECT_EQ(2, outcome.code) << arguments[0] << ": " << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  expect_usage({}, "subcommand");
  expect_usage({"trian"}, "did you mean 'train'?");
  expect_usage({"train", "--data", path("data"), "--out", path("x"), "train.epoch=1"}, "did you mean 'train.epochs'?");
  expect_usage({"train", "--data", path("data"), "--out", path("x"), "train.lr=fast"}, "a number");
  expect_usage({"train", "--data", path("data"), "--out", path("x"), "--device", "tpu"}, "cuda");
  expect_usage({"train", "--data", path("data")}, "--out");
  expect_usage({"reproduce", "--dataset", path("data"), "--out", path("x"), "--rows", "lightgnc"}, "lightgcn");
  expect_usage({"recommend", path("lightgcn"), "--history", ""}, "--history");
  expect_usage({"recommend", path("lightgcn"), "--history", "1,zwei"}, "12,7,99");
  expect_usage({"recommend", path("lightgcn"), "--history", "999"}, "items 1 to 80");
  expect_usage({"recommend", path("lightgcn"), "--user", "121"}, "users 1 to 120");
  expect_usage({"recommend", path("lightgcn"), "--user", "7", "--top-k", "513", "--device", "cuda"}, "at most 512 with --device cuda");
  expect_usage({"prepare", "recbole"}, "input");
  auto other = small_training("other");
  ASSERT_EQ(0, call([&] { auto c = other; c.insert(c.end(), {"--max-steps", "1"}); return c; }()).code);
  other.insert(other.end(), {"--resume", "queue.encoder=query"});
  expect_usage(other, "queue.encoder");
  EXPECT_FALSE(fs::exists(path("x"))) << "a refused command left something behind";
}

TEST_F(Cli, TheCudaDeviceWorksOrSaysWhatIsMissing) {
  const std::vector<std::vector<std::string>> commands{
      {"evaluate", path("lightgcn"), "--phase", "test", "--resamples", "10"},
      {"recommend", path("lightgcn"), "--user", "7", "--top-k", "3"},
      {"recommend", path("lightgcn"), "--user", "7", "--top-k", "512"},
      {"pretrain", "lightgcn", "--data", path("data"), "--out", path("lightgcn_cuda"), "pretrain.epochs=1", "lightgcn.dim=16"},
      {"parity", test::golden("t5v1_tiny").string(), "--brief"},
      {"parity", test::golden("t5v1_tiny").string(), "--brief", "--precision", "bf16"},
      {"train", "--data", path("data"), "--external", path("lightgcn"), "--out", path("gal_bf16"), "--precision", "bf16", "--max-steps", "1",
       "train.batch=4", "train.micro_batch=2", "queue.size=8"}};
  for (auto command : commands) {
    command.insert(command.end(), {"--device", "cuda"});
    const auto outcome = call(command);
    if (outcome.code == 0) continue;
    EXPECT_EQ(2, outcome.code) << command[0] << ": " << outcome.err;
    EXPECT_NE(outcome.err.find("--device cuda: "), std::string::npos) << outcome.err;
#if !defined(GALREC_WITH_CUDA)
    EXPECT_NE(outcome.err.find("GALREC_CUDA"), std::string::npos) << outcome.err;
#endif
  }
  const auto in_double = call({"parity", test::golden("t5v1_tiny").string(), "--device", "cuda", "--precision", "double"});
  EXPECT_EQ(2, in_double.code) << in_double.err;
}

TEST_F(Cli, BadDataExitsWith3AndNamesThePlace) {
  const auto expect_data = [](const std::vector<std::string>& arguments, const std::string& part) {
    const auto outcome = call(arguments);
    EXPECT_EQ(3, outcome.code) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  };
  fs::create_directories(path("broken"));
  std::ofstream(path("broken/sequences.txt")) << "1 1 2 3\n2 4 nonsense 5\n";
  expect_data({"prepare", "folder", path("broken")}, "sequences.txt:2");
  expect_data({"pretrain", "lightgcn", "--data", path("nowhere"), "--out", path("y")}, "nowhere");
  expect_data({"evaluate", path("data")}, "not a run folder");
  expect_data({"parity", path("data")}, "config.json");
  expect_data({"verify", path("nowhere.md")}, "nowhere.md");
  EXPECT_FALSE(fs::exists(path("y"))) << "a refused command left a run folder behind";
}

TEST_F(Cli, EveryCommandHasHelpWithAnExample) {
  for (const char* name : {"prepare", "pretrain", "train", "evaluate", "recommend", "reproduce", "verify", "parity", "export"}) {
    const auto outcome = call({name, "--help"});
    EXPECT_EQ(0, outcome.code) << name;
    EXPECT_NE(outcome.out.find("galrec " + std::string(name)), std::string::npos) << name << " has no example";
  }
}

}  // namespace
}  // namespace galrec::apps
