// Whole T5 models against what transformers recorded for them: states, logits, loss, every gradient, optimiser steps.

#include "layers/t5/parity.h"

#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "data/safetensors.h"
#include "data/safetensors_writer.h"
#include "kernels/common/check.h"
#include "tests/support/devices.h"
#include "tests/support/expect_error.h"
#include "tests/support/golden.h"
#include "tests/support/temporary_folder.h"

namespace galrec::layers {
namespace {

Device cpu() {
  static CpuContext ctx;
  return ctx;
}

class T5Parity : public testing::TestWithParam<std::tuple<std::string, ParityPrecision>> {};
class T5ParityOn : public testing::TestWithParam<DeviceKind> {};

TEST_P(T5ParityOn, TheFixturesAreWithinTheCpusTolerance) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  for (const char* name : {"flan_tiny", "t5v1_tiny"}) {
    const auto report = run_t5_parity(device, test::golden(name), ParityPrecision::kFloat);
    EXPECT_TRUE(report.ok()) << name << "\n" << report.to_text();
  }
}

TEST_P(T5ParityOn, InBf16TheFixturesAreWithinTwiceTheNaiveError) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  if (device.kind() == DeviceKind::kCpu) device_owner->host.set_gemm_precision(GemmPrecision::kBf16);
  const auto recorded = data::SafetensorsFile::open(test::golden("t5v1_tiny") / "expected.safetensors");
  const auto report = run_t5_parity(device, test::golden("t5v1_tiny"), ParityPrecision::kBf16);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.lines().size(), recorded.tensors().size());
  // It was computed in bf16 indeed.
  if (device.kind() == DeviceKind::kCuda) {
    for (const auto& line : report.lines()) {
      if (line.name == "logits") {
        EXPECT_GT(line.max_error, 1e-4);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, T5ParityOn, testing::ValuesIn(test::built_devices()),
                         [](const auto& info) { return test::device_name(info.param); });

TEST_P(T5Parity, EveryRecordedTensorIsWithinItsTolerance) {
  const auto& [name, precision] = GetParam();
  const auto report = run_t5_parity(cpu(), test::golden(name), precision);
  EXPECT_TRUE(report.ok()) << report.to_text();
  // Not one recorded tensor is left out.
  std::set<std::string> compared;
  for (const auto& line : report.lines()) compared.insert(line.name);
  const auto recorded = data::SafetensorsFile::open(test::golden(name) / "expected.safetensors");
  for (const auto& [tensor, info] : recorded.tensors()) EXPECT_TRUE(compared.contains(tensor)) << tensor;
  EXPECT_EQ(compared.size(), recorded.tensors().size());
  const auto& worst = report.worst();
  std::cout << "worst of " << compared.size() << ": " << worst.name << " " << worst.max_error << " of "
            << worst.tolerance << "\n";
}

INSTANTIATE_TEST_SUITE_P(Golden, T5Parity,
                         testing::Combine(testing::Values("flan_tiny", "t5v1_tiny"),
                                          testing::Values(ParityPrecision::kFloat, ParityPrecision::kDouble)),
                         [](const auto& info) {
                           return std::get<0>(info.param) +
                                  (std::get<1>(info.param) == ParityPrecision::kFloat ? "_float" : "_double");
                         });

/// A copy of a fixture with another expected.safetensors.
void copy_with_recording(const std::filesystem::path& to, const std::string& changed, double factor,
                         const std::string& extra) {
  const auto from = test::golden("t5v1_tiny");
  for (const char* file : {"config.json", "model.safetensors", "batch.safetensors"})
    std::filesystem::copy(from / file, to / file);
  const auto recorded = data::SafetensorsFile::open(from / "expected.safetensors");
  data::SafetensorsWriter writer;
  std::vector<std::vector<float>> values;
  values.reserve(recorded.tensors().size() + 1);
  for (const auto& [name, info] : recorded.tensors()) {
    values.push_back(recorded.read_f32(name));
    if (name == changed) values.back().back() = static_cast<float>(values.back().back() * factor);
    writer.add(name, info.shape, std::span<const float>(values.back()));
  }
  values.push_back({1.0f});
  if (!extra.empty()) writer.add(extra, {1}, std::span<const float>(values.back()));
  writer.write(to / "expected.safetensors");
}

TEST(T5ParityReport, NoticesOneWrongElementOfAnyTensor) {
  for (const std::string changed :
       {"logits", "loss", "adamw.loss", "grad.decoder.block.1.layer.2.DenseReluDense.wo.weight",
        "adamw.decoder.block.1.layer.2.DenseReluDense.wo.weight"}) {
    test::TemporaryFolder folder;
    copy_with_recording(folder.path(), changed, 1.5, "");
    const auto report = run_t5_parity(cpu(), folder.path(), ParityPrecision::kDouble);
    const auto recorded = data::SafetensorsFile::open(folder / "expected.safetensors");
    ASSERT_NE(recorded.read_f32(changed).back(), 0) << changed << " was not changed";
    EXPECT_FALSE(report.ok()) << changed;
    EXPECT_EQ(report.worst().name, changed);
  }
}

TEST(T5ParityReport, RejectsATensorThatTheModelDoesNotHave) {
  test::TemporaryFolder folder;
  copy_with_recording(folder.path(), "", 1, "grad.encoder.block.9.layer.0.layer_norm.weight");
  test::expect_error<DataError>([&] { run_t5_parity(cpu(), folder.path(), ParityPrecision::kFloat); },
                                {"grad.encoder.block.9.layer.0.layer_norm.weight", "expected.safetensors"});
}

TEST(ParityReportTable, FailsOnWhatIsNotANumberAndOnNothingAtAll) {
  ParityReport report;
  EXPECT_FALSE(report.ok());
  report.compare("a", std::vector<double>{1, 2}, std::vector<double>{1, 2}, 1e-6);
  EXPECT_TRUE(report.ok());
  report.compare("b", std::vector<double>{1, NAN}, std::vector<double>{1, 2}, 1e-6);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.worst().name, "b");
  EXPECT_NE(report.to_text().find("BEYOND"), std::string::npos);
  EXPECT_THROW(report.compare("c", std::vector<double>{1}, std::vector<double>{1, 2}, 1e-6), DataError);
}

TEST(ParityReportTable, AllowsAnUpdateOnlyWhereTheGradientIsNearZero) {
  const AdamAllowance allowance{.lr = 1e-2, .steps = 3, .gradient_tolerance = 1e-6};
  const std::vector<double> expected{1, 1, 1}, gradient{1, 0.5, 1e-7};
  ParityReport report;
  report.compare_updated("small", std::vector<double>{1, 1, 1 + 0.05}, expected, gradient, 1e-6, allowance);
  EXPECT_TRUE(report.ok()) << report.to_text();
  report.compare_updated("large", std::vector<double>{1, 1 + 1e-5, 1}, expected, gradient, 1e-6, allowance);
  EXPECT_FALSE(report.ok()) << report.to_text();
  EXPECT_EQ(report.worst().name, "large");
}

}  // namespace
}  // namespace galrec::layers
