#include "data/config.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "data/atomic_file.h"
#include "kernels/common/check.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace galrec::data {
namespace {

using test::expect_error;

ConfigSchema schema() {
  ConfigSchema schema;
  schema.add({"seed", std::int64_t{1}, "seed of all random numbers", {}, 0.0, {}})
      .add({"train.learning_rate", 1e-3, "peak learning rate", {}, 0.0, 1.0})
      .add({"train.epochs", std::int64_t{6}, "", {}, 1.0, 1000.0})
      .add({"train.ema", false, "average the weights"})
      .add({"external.user_vector", std::string("prefix"), "a user's own vector", {"prefix", "static", "none"}})
      .add({"l1.anchor", std::string("hop2"), "", {"hop0", "hop2"}})
      .add({"gal.weights", std::vector<double>{0.1, 0.1, 0.1}, "of L1, L2, L3", {}, 0.0, {}})
      .add({"eval.k", std::vector<std::int64_t>{5, 10}, "cut-offs", {}, 1.0, {}})
      .add({"eval.output.file", std::string(), "where to"});
  schema.add_group("train", "the optimiser");
  return schema;
}

Config config() {
  return Config(schema());
}

void rejects(const std::string& toml, std::initializer_list<std::string> parts) {
  expect_error<UsageError>([&] { config().load_toml_text(toml, "x.toml"); }, parts);
}

void rejects_override(const std::string& text, std::initializer_list<std::string> parts) {
  expect_error<UsageError>([&] { config().apply_override(text); }, {"command line: " + text + ": "});
  expect_error<UsageError>([&] { config().apply_override(text); }, parts);
}

TEST(Config, LaterCallsWin) {
  Config c = config();
  EXPECT_EQ(c.get_double("train.learning_rate"), 1e-3);
  EXPECT_EQ(c.source_of("train.learning_rate"), "default");
  EXPECT_TRUE(c.is_default("seed"));
  c.load_toml_text("train.learning_rate = 0.5\ntrain.epochs = 3\nseed = 7", "preset nano");
  c.load_toml_text("\n[train]\nepochs = 4\nema = true\n[eval.output]\nfile = 'a b'\n", "x.toml");
  c.apply_override("seed=9");
  EXPECT_EQ(c.get_double("train.learning_rate"), 0.5);
  EXPECT_EQ(c.source_of("train.learning_rate"), "preset nano:1");
  EXPECT_EQ(c.get_int("train.epochs"), 4);
  EXPECT_EQ(c.source_of("train.epochs"), "x.toml:3");
  EXPECT_TRUE(c.get_bool("train.ema"));
  EXPECT_EQ(c.get_int("seed"), 9);
  EXPECT_EQ(c.source_of("seed"), "command line: seed=9");
  EXPECT_EQ(c.get_string("eval.output.file"), "a b");
}

TEST(Config, ReadsEveryTypeFromTheCommandLine) {
  Config c = config();
  for (const char* text : {"seed=+12", "train.learning_rate=3e-4", "train.ema=true", "external.user_vector=static",
                           "gal.weights=[0, 1.5,2]", "eval.k=1,5,20", "eval.output.file=a=b \"c\" \xc3\xa9"})
    c.apply_override(text);
  EXPECT_EQ(c.get_int("seed"), 12);
  EXPECT_EQ(c.get_double("train.learning_rate"), 3e-4);
  EXPECT_TRUE(c.get_bool("train.ema"));
  EXPECT_EQ(c.get_string("external.user_vector"), "static");
  EXPECT_EQ(c.get_doubles("gal.weights"), (std::vector<double>{0, 1.5, 2}));
  EXPECT_EQ(c.get_ints("eval.k"), (std::vector<std::int64_t>{1, 5, 20}));
  EXPECT_EQ(c.get_string("eval.output.file"), "a=b \"c\" \xc3\xa9");
}

TEST(Config, IntegersServeAsNumbersInFiles) {
  Config c = config();
  c.load_toml_text("train.learning_rate = 1\ngal.weights = [0, 1]\neval.k = []", "x.toml");
  EXPECT_EQ(c.get_double("train.learning_rate"), 1.0);
  EXPECT_EQ(c.get_doubles("gal.weights"), (std::vector<double>{0, 1}));
  EXPECT_TRUE(c.get_ints("eval.k").empty());
}

TEST(Config, UnknownKeysNameTheNearest) {
  rejects("seed = 1\ntrain.lerning_rate = 1",
          {"x.toml:2: unknown key 'train.lerning_rate'; did you mean 'train.learning_rate'?"});
  rejects("[train]\n\nepoch = 1", {"x.toml:3: unknown key 'train.epoch'; did you mean 'train.epochs'?"});
  rejects("learning_rate = 1", {"x.toml:1: unknown key 'learning_rate'; did you mean 'train.learning_rate'?"});
  rejects("zzz.qqq = 1", {"x.toml:1: unknown key 'zzz.qqq'"});
  rejects("train = 1", {"x.toml:1", "'train' is a group"});
  rejects("seed.x = 1", {"x.toml:1: unknown key 'seed.x'"});
  rejects("\"train.epochs\" = 1", {"x.toml:1", "without them"});
  rejects_override("train.ephocs=1", {"did you mean 'train.epochs'?"});
  rejects_override("train=1", {"is a group"});
}

TEST(Config, WrongTypes) {
  rejects("train.learning_rate = 'x'", {"x.toml:1: train.learning_rate: got string \"x\", expected a number"});
  rejects("\ntrain.epochs = 1.0", {"x.toml:2: train.epochs: got 1.0, expected an integer"});
  rejects("train.epochs = true", {"got true, expected an integer"});
  rejects("train.ema = 1", {"got 1, expected true or false"});
  rejects("external.user_vector = 1", {"got 1, expected a string"});
  rejects("gal.weights = 1", {"got 1, expected a list of numbers"});
  rejects("eval.k = [1, 2.5]", {"got [1.0, 2.5], expected a list of integers"});
  rejects("eval.k = [1, 'x']", {"x.toml:1: eval.k: element 1: expected a number"});
  rejects("eval.k = [{a=1}]", {"x.toml:1: eval.k"});
  rejects("seed = 2026-01-01", {"x.toml:1: seed: got a date"});
  rejects_override("train.learning_rate=fast", {"train.learning_rate: got string \"fast\", expected a number"});
  rejects_override("train.epochs=1.5", {"expected an integer"});
  rejects_override("train.epochs=", {"expected an integer"});
  rejects_override("train.epochs=99999999999999999999", {"expected an integer"});
  rejects_override("train.ema=yes", {"expected true or false"});
  rejects_override("eval.k=1,,2", {"expected a list of integers"});
  rejects_override("eval.k=1,", {"expected a list of integers"});
}

TEST(Config, OutOfRange) {
  rejects("train.learning_rate = -1.0", {"x.toml:1: train.learning_rate: got -1.0, expected a number between 0 and 1"});
  rejects("train.learning_rate = nan", {"got nan", "finite"});
  rejects("train.learning_rate = inf", {"finite"});
  rejects("train.epochs = 0", {"got 0, expected an integer between 1 and 1000"});
  rejects("seed = -1", {"expected an integer of at least 0"});
  rejects("gal.weights = [0.1, -0.5]", {"got -0.5"});
  rejects("eval.k = [5, 0]", {"got 0, expected an integer of at least 1"});
  rejects("external.user_vector = 'prefx'",
          {"got \"prefx\", expected one of prefix, static, none; did you mean 'prefix'?"});
  rejects_override("train.learning_rate=nan", {"finite"});
  rejects_override("l1.anchor=hop1", {"expected one of hop0, hop2"});
  rejects_override("eval.output.file=\xff", {"UTF-8"});
}

TEST(Config, BadSyntaxAndDuplicates) {
  rejects("seed = 1\nseed = 2", {"x.toml:2"});
  rejects("[train]\nepochs = 1\n[train]\nema = true", {"x.toml:3"});
  rejects("train.epochs = 1\n[train]\nepochs = 2", {"x.toml:"});
  rejects("seed = \n", {"x.toml:1"});
  rejects("a\nb", {"x.toml:1"});
  rejects("seed = 1 # \xff", {"x.toml:1"});
  rejects(std::string(2 << 20, ' '), {"x.toml", "2097152 bytes"});
  std::string deep = "a";
  for (int i = 0; i < 100000; ++i) deep += " . a";
  rejects("seed = 1\n" + deep + " = 1", {"x.toml:2", "dots"});
  rejects("[" + deep + "]", {"x.toml:1", "dots"});
  rejects("eval.k = " + std::string(100000, '['), {"x.toml:1"});
  rejects_override("seed", {"expected key=value"});
  rejects_override("=1", {"expected key=value"});
  Config c = config();
  c.apply_override("seed=1");
  expect_error<UsageError>([&] { c.apply_override("seed=2"); }, {"command line: seed=2", "given twice", "seed=1"});
}

TEST(Config, FilesThatAreNotThere) {
  test::TemporaryFolder folder;
  expect_error<UsageError>([&] { config().load_toml(folder / "none.toml"); },
                           {"none.toml", "no such configuration file"});
  expect_error<UsageError>([&] { config().load_toml(folder.path()); }, {"no such configuration file"});
  write_file(folder / "a.toml", "seed = 5\n");
  Config c = config();
  c.load_toml(folder / "a.toml");
  EXPECT_EQ(c.get_int("seed"), 5);
  EXPECT_EQ(c.source_of("seed"), (folder / "a.toml").string() + ":1");
}

TEST(Config, TomlRoundTrips) {
  Config c = config();
  c.apply_override("train.learning_rate=0.1");
  c.apply_override("gal.weights=0.30000000000000004,1e-300,1e22");
  c.set("eval.output.file", std::string("tab\t \"q\" \\ \x01 \x7f \n \xe6\x97\xa5"), "test");
  c.apply_override("eval.k=");
  const std::string toml = c.to_toml();
  Config back = config();
  back.load_toml_text(toml, "config.toml");
  EXPECT_TRUE(c.equal_except(back)) << toml;
  EXPECT_EQ(back.to_toml(), toml);
  EXPECT_EQ(toml.find("# seed of all random numbers\nseed = 1\n"), 0u) << toml;
  EXPECT_NE(toml.find("\n# the optimiser\n[train]\n# peak learning rate\nlearning_rate = 0.1\n"), std::string::npos)
      << toml;
  EXPECT_NE(toml.find("# a user's own vector: prefix | static | none\nuser_vector = \"prefix\"\n"), std::string::npos)
      << toml;
  EXPECT_LT(toml.find("[eval]"), toml.find("[eval.output]"));
}

TEST(Config, NumbersRoundTripToTheBit) {
  std::mt19937_64 bits(1);
  Config c = config(), back = config();
  for (int i = 0; i < 1000; ++i) {
    double value = std::bit_cast<double>(bits());
    if (!std::isfinite(value)) continue;
    c.set("gal.weights", std::vector<double>{std::abs(value)}, "test");
    back.load_toml_text(c.to_toml(), "t");
    ASSERT_EQ(back.get_doubles("gal.weights"), c.get_doubles("gal.weights"));
  }
}

TEST(Config, TellsDifferences) {
  Config a = config(), b = config();
  b.apply_override("train.epochs=9");
  b.apply_override("eval.k=3");
  b.apply_override("eval.output.file=x");
  EXPECT_EQ(a.differing_keys(b), (std::vector<std::string>{"train.epochs", "eval.k", "eval.output.file"}));
  const std::vector<std::string> ignored{"eval", "train.epochs"};
  EXPECT_TRUE(a.equal_except(b, ignored));
  const std::vector<std::string> prefix_is_no_group{"eval.output.fil", "train.epoch"};
  EXPECT_EQ(a.differing_keys(b, prefix_is_no_group).size(), 3u);
}

TEST(Config, AsJson) {
  const auto json = config().to_json();
  EXPECT_EQ(json.dump().substr(0, 43), R"({"seed":1,"train.learning_rate":0.001,"trai)");
  EXPECT_EQ(json["eval.k"], (std::vector<int>{5, 10}));
}

TEST(Config, MistakesOfTheProgramAreBugs) {
  const Config c = config();
  EXPECT_THROW(c.get_int("none"), CheckError);
  EXPECT_THROW(c.get_int("train.learning_rate"), CheckError);
  EXPECT_THROW(ConfigSchema().add({"a", 1.0, ""}).add({"a", 1.0, ""}), CheckError);
  EXPECT_THROW(ConfigSchema().add({"a", 1.0, ""}).add({"a.b", 1.0, ""}), CheckError);
  EXPECT_THROW(ConfigSchema().add({"a.b", 1.0, ""}).add({"a", 1.0, ""}), CheckError);
  EXPECT_THROW(ConfigSchema().add({"a", -1.0, "", {}, 0.0, {}}), CheckError);
  EXPECT_THROW(ConfigSchema().add({"a", std::string("x"), "", {"y"}}), CheckError);
}

}  // namespace
}  // namespace galrec::data
