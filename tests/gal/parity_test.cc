#include "gal/parity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "data/atomic_file.h"
#include "data/checkpoint_reader.h"
#include "data/safetensors_writer.h"
#include "kernels/common/check.h"
#include "tests/support/devices.h"
#include "tests/support/expect_error.h"
#include "tests/support/real_data.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal {
namespace {

using layers::ParityPrecision;
namespace fs = std::filesystem;

fs::path committed(const char* name = "gal_step") {
  return fs::absolute(fs::path(__FILE__)).parent_path().parent_path() / "golden" / name;
}

Device cpu() {
  static CpuContext ctx;
  return ctx;
}

void expect_parity(const Device& device, const fs::path& folder) {
  const data::CheckpointReader expected(folder / "expected.safetensors");
  for (const auto precision : {ParityPrecision::kFloat, ParityPrecision::kDouble}) {
    if (precision == ParityPrecision::kDouble && device.kind() == DeviceKind::kCuda) continue;
    const auto report = run_gal_parity(device, folder, precision);
    EXPECT_TRUE(report.ok()) << report.to_text();
    EXPECT_EQ(report.lines().size(), expected.tensors().size()) << "every recorded tensor is compared";
  }
}

class GalParityOn : public testing::TestWithParam<DeviceKind> {};

TEST_P(GalParityOn, TheCommittedStep) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  ASSERT_TRUE(is_gal_parity_folder(committed()));
  expect_parity(device, committed());
}

TEST_P(GalParityOn, TheReferencesStep) {
  GALREC_REQUIRE_DATA(test::golden_data("gal_step"));
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  expect_parity(device, test::golden_data("gal_step"));
}

TEST_P(GalParityOn, DoubleNeedsTheCpu) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  if (device.kind() == DeviceKind::kCuda)
    test::expect_error<UsageError>([&] { run_gal_parity(device, committed(), ParityPrecision::kDouble); }, {"double", "cpu"});
}

TEST_P(GalParityOn, InBf16TheStepIsWithinTwiceTheNaiveError) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  if (device.kind() == DeviceKind::kCpu) device_owner->host.set_gemm_precision(GemmPrecision::kBf16);
  const auto report = run_gal_parity(device, committed(), ParityPrecision::kBf16);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.lines().size(), data::CheckpointReader(committed() / "expected.safetensors").tensors().size());
}

INSTANTIATE_TEST_SUITE_P(Devices, GalParityOn, testing::ValuesIn(test::built_devices()),
                         [](const auto& info) { return test::device_name(info.param); });

// Recorded in true float64 (tests/golden/make_gal_step.py): nothing but the order of sums may differ.
TEST(GalParity, DoubleIsExact) {
  expect_parity(cpu(), committed("gal_step_exact"));
  const auto report = run_gal_parity(cpu(), committed("gal_step_exact"), ParityPrecision::kDouble);
  for (const auto& line : report.lines())
    EXPECT_LE(line.max_error, line.name.starts_with("updated.") ? 1e-8 : 1e-11) << line.name;
}

/// A copy of the committed step with something changed.
struct Changed {
  test::TemporaryFolder folder;
  Changed() {
    fs::copy(committed(), folder.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }

  /// Adds `delta` to element `at` of one tensor of a file; an empty name renames nothing.
  void nudge(const std::string& file, const std::string& tensor, std::size_t at, float delta) {
    std::map<std::string, std::vector<float>> floats;
    std::map<std::string, std::vector<std::int64_t>> integers;
    std::map<std::string, std::vector<std::int32_t>> narrow;
    data::SafetensorsWriter writer;
    {
      const data::CheckpointReader reader(folder / file);
      for (const auto& [name, info] : reader.tensors()) {
        if (info.type == data::TensorType::kI32) {
          const auto wide = reader.read_i64(name);
          narrow[name].assign(wide.begin(), wide.end());
          if (name == tensor) narrow[name][at] += static_cast<std::int32_t>(delta);
          writer.add(name, info.shape, std::span<const std::int32_t>(narrow[name]));
        } else {
          floats[name] = reader.read_f32(name);
          if (name == tensor) floats[name][at] += delta;
          writer.add(name, info.shape, std::span<const float>(floats[name]));
        }
      }
    }
    writer.write(folder / file);
  }
  void replace(const std::string& from, const std::string& to) {
    auto text = data::read_file(folder / "step.json");
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    data::write_file(folder / "step.json", text.replace(at, from.size(), to));
  }
};

TEST(GalParity, SeesEveryKindOfDeviation) {
  const std::vector<std::pair<std::string, float>> tensors{{"embeddings", 0.01f},
                                                           {"L2i", 0.01f},
                                                           {"loss", 0.01f},
                                                           {"grad.shared.weight", 0.02f},
                                                           {"grad_norm", 0.05f},
                                                           {"queue.i2", 0.01f},
                                                           {"queue_id.u", 1.0f},
                                                           {"updated.g_item.weight", 0.05f},
                                                           {"updated.momentum.g_user.bias", 0.05f}};
  for (const auto& [name, delta] : tensors) {
    Changed c;
    c.nudge("expected.safetensors", name, 0, delta);
    const auto report = run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kDouble);
    EXPECT_FALSE(report.ok()) << name;
    EXPECT_EQ(report.worst().name, name);
  }
}

// A step does not compute them, a recording has them.
TEST(GalParity, TermsOfWeightZeroAreComparedToo) {
  Changed c;
  c.replace("0.2", "0.0");
  for (const bool changed : {false, true}) {
    if (changed) c.nudge("expected.safetensors", "L2i", 0, 0.01f);
    const auto report = run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kDouble);
    for (const auto& line : report.lines()) {
      if (line.name == "loss") {
        EXPECT_FALSE(line.ok);
      } else if (line.name == "L2u" || line.name == "L2i") {
        EXPECT_EQ(line.ok, !changed || line.name == "L2u") << line.name;
      }
    }
  }
}

TEST(GalParity, SeesAChangedInput) {
  {
    Changed c;
    c.nudge("batch.safetensors", "queue.u0", 3, 0.1f);
    EXPECT_FALSE(run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kDouble).ok());
  }
  {
    Changed c;
    c.replace("\"tau\": 0.1", "\"tau\": 0.11");
    EXPECT_FALSE(run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kDouble).ok());
  }
  {
    Changed c;
    c.nudge("model.safetensors", "momentum.g_user.weight", 5, 0.1f);
    EXPECT_FALSE(run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kDouble).ok());
  }
}

// What bf16 may be off by is no excuse for another computation.
TEST(GalParity, Bf16SeesAChangedInput) {
  GALREC_REQUIRE_DEVICE(test::built_devices().back(), device);
  const auto expect_beyond = [&](const Changed& c, const char* what) {
    EXPECT_FALSE(run_gal_parity(device, c.folder.path(), ParityPrecision::kBf16).ok()) << what;
  };
  {
    Changed c;
    c.replace("\"tau\": 0.1", "\"tau\": 0.15");
    expect_beyond(c, "tau");
  }
  {
    Changed c;
    c.nudge("model.safetensors", "momentum.g_user.weight", 5, 0.5f);
    expect_beyond(c, "a momentum weight");
  }
  Changed c;
  const std::set<std::string> changed{"queue.u0", "grad.lm_head.weight", "updated.lm_head.weight"};
  for (const auto& name : changed) c.nudge("expected.safetensors", name, 0, 1.0f);
  const auto report = run_gal_parity(device, c.folder.path(), ParityPrecision::kBf16);
  for (const auto& line : report.lines()) EXPECT_EQ(line.ok, !changed.contains(line.name)) << line.name;
}

TEST(GalParity, BadFixturesAreNamed) {
  {
    Changed c;
    c.replace("\"tau\"", "\"temperature\"");
    test::expect_error<DataError>([&] { run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kFloat); },
                                  {"step.json", "tau"});
  }
  {
    Changed c;
    c.replace("\"users\": 9", "\"users\": 8");
    test::expect_error<DataError>([&] { run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kFloat); },
                                  {"h_user", "[9, 12]", "[8, 12]"});
  }
  {
    Changed c;
    c.replace("\"queue_pointer\": 7", "\"queue_pointer\": 8");
    test::expect_error<DataError>([&] { run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kFloat); },
                                  {"step.json", "pointer 8"});
  }
  {
    Changed c;
    c.nudge("batch.safetensors", "ids", 0, 1000.0f);
    test::expect_error<DataError>([&] { run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kFloat); },
                                  {"batch.safetensors", "token"});
  }
  {
    Changed c;
    fs::remove(c.folder / "expected.safetensors");
    test::expect_error<DataError>([&] { run_gal_parity(cpu(), c.folder.path(), ParityPrecision::kFloat); },
                                  {"expected.safetensors"});
  }
}

}  // namespace
}  // namespace galrec::gal
