#pragma once
// Options that all training commands share, and how they become a configuration and a run folder.

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "apps/galrec/commands.h"
#include "data/config.h"
#include "data/run_folder.h"
#include "kernels/common/context.h"

namespace galrec::apps {

struct RunArguments {
  std::string data, out, config_file;
  std::vector<std::string> overrides;  // key=value
  std::int64_t seed = -1;
  std::string device = "cpu";
  bool resume = false;
  bool dry_run = false;
};

/// --data, --out, --config, --seed, --device, --resume, --dry-run and key=value arguments.
void add_run_options(CLI::App& command, RunArguments& arguments);

/// File, then options, then key=value, over what `config` holds already.
void apply(const RunArguments& arguments, data::Config& config);

/// data.path, or a UsageError that says how to give it.
std::string require_data(const data::Config& config);

data::RunInfo run_info(const CommonOptions& common, const Device& device, std::uint64_t seed);
data::RunMode run_mode(const RunArguments& arguments);

/// What "fp32" or "bf16" means on a device: on cuda bf16 is the storage of activations and of what products read, on cpu it rounds the
/// operands of products. Says so on stderr where `device` is a processor without bf16 products and full precision is used instead.
GemmPrecision precision(const std::string& name, const std::string& device);
/// The same of run.precision.
GemmPrecision precision(const data::Config& config, const std::string& device);
/// --precision with these choices, fp32 by default, for commands without a configuration of their own.
void add_precision_option(CLI::App& command, std::string& precision);

/// --device with its choices.
void add_device_option(CLI::App& command, std::string& device);

/// The contexts that a command computes with: the host's, and beside it the GPU's where --device asks for it.
class Contexts {
 public:
  /// UsageError where this build or machine lacks the device, saying what is missing.
  Contexts(const CommonOptions& common, const std::string& device, GemmPrecision precision = GemmPrecision::kFull);
  Device device() { return cuda_ == nullptr ? Device(host_) : Device(*cuda_, host_); }
  void set_gemm_precision(GemmPrecision precision);

 private:
  CpuContext host_;
  std::shared_ptr<CudaContext> cuda_;
};

}  // namespace galrec::apps
