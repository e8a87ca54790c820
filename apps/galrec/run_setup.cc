#include "apps/galrec/run_setup.h"

#include <fmt/format.h>

#include "kernels/common/check.h"
#include "kernels/gemm/gemm.h"

#ifndef GALREC_COMMIT
#define GALREC_COMMIT "unknown"
#endif

namespace galrec::apps {

void add_run_options(CLI::App& command, RunArguments& a) {
  command.add_option("--data", a.data, "data set folder (sets data.path)");
  command.add_option("--out", a.out, "run folder to write");
  command.add_option("--config", a.config_file, "TOML file with configuration keys");
  command.add_option("--seed", a.seed, "sets run.seed")->check(CLI::NonNegativeNumber);
  add_device_option(command, a.device);
  command.add_flag("--resume", a.resume, "go on where the run folder stopped, or start it");
  command.add_flag("--dry-run", a.dry_run, "print the resolved configuration and stop");
  command.add_option("key=value", a.overrides, "configuration keys; --dry-run lists them all with their help");
}

void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "cpu or cuda")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
}

Contexts::Contexts(const CommonOptions& common, const std::string& device, GemmPrecision precision)
    : host_(common.threads, precision), cuda_(device == "cuda" ? open_cuda(precision) : nullptr) {}

void Contexts::set_gemm_precision(GemmPrecision precision) {
  host_.set_gemm_precision(precision);
  if (cuda_ != nullptr) cuda_->set_gemm_precision(precision);
}

GemmPrecision precision(const data::Config& config, const std::string& device) { return precision(config.get_string("run.precision"), device); }

void add_precision_option(CLI::App& command, std::string& precision) {
  command.add_option("--precision", precision, "fp32 or bf16: on cuda the storage of activations, on cpu the operands of products")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "bf16"}));
}

GemmPrecision precision(const std::string& name, const std::string& device) {
  if (name == "fp32") return GemmPrecision::kFull;
  if (device == "cpu" && !gemm_has_bf16()) fmt::print(stderr, "bf16: this processor has no bf16 products; fp32 is used instead\n");
  return GemmPrecision::kBf16;
}

void apply(const RunArguments& a, data::Config& config) {
  if (!a.config_file.empty()) config.load_toml(a.config_file);
  if (!a.data.empty()) config.set("data.path", a.data, "command line: --data");
  if (a.seed >= 0) config.set("run.seed", a.seed, "command line: --seed");
  for (const auto& override : a.overrides) config.apply_override(override);
  if (!a.dry_run && a.out.empty()) throw UsageError("--out is missing: the run folder to write");
}

std::string require_data(const data::Config& config) {
  const std::string& path = config.get_string("data.path");
  if (path.empty()) throw UsageError("--data is missing: a data set folder (see galrec prepare)");
  return path;
}

data::RunInfo run_info(const CommonOptions& common, const Device& device, std::uint64_t seed) {
  return {.seed = seed, .commit = GALREC_COMMIT, .command = common.command_line, .threads = device.host().threads()};
}

data::RunMode run_mode(const RunArguments& a) { return a.resume ? data::RunMode::kNewOrResume : data::RunMode::kNew; }

}  // namespace galrec::apps
