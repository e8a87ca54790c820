// galrec parity: a checkpoint against the tensors that a reference implementation recorded for it.

#include <fmt/format.h>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "gal/parity.h"
#include "kernels/common/check.h"
#include "layers/t5/parity.h"

namespace galrec::apps {

namespace {

struct Options {
  std::vector<std::string> folders;
  std::string precision = "fp32", device = "cpu";
  bool brief = false;
};

layers::ParityReport run(const Device& device, const std::string& folder, const std::string& precision) {
  const auto arithmetic = precision == "double" ? layers::ParityPrecision::kDouble
                          : precision == "bf16" ? layers::ParityPrecision::kBf16
                                                : layers::ParityPrecision::kFloat;
  if (gal::is_gal_parity_folder(folder)) return gal::run_gal_parity(device, folder, arithmetic);
  return layers::run_t5_parity(device, folder, arithmetic);
}

}  // namespace

void add_parity(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("parity", "Run checkpoints on recorded batches and compare every recorded tensor; exit 4 beyond the tolerance");
  c->add_option("folder", o->folders, "folders with config.json, model, batch and expected.safetensors")->required();
  c->add_option("--precision", o->precision, "arithmetic: fp32, double (cpu), or bf16 (storage on cuda, products on cpu), judged by a naive bf16 run")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "double", "bf16"}));
  add_device_option(*c, o->device);
  c->add_flag("--brief", o->brief, "one line per folder");
  c->footer("Example:\n  galrec parity tests/golden/flan_tiny tests/golden/gal_step --precision double");
  c->callback([o, &common] {
    Contexts contexts(common, o->device, o->precision == "bf16" ? GemmPrecision::kBf16 : GemmPrecision::kFull);
    std::string failed;
    for (const auto& folder : o->folders) {
      const auto report = run(contexts.device(), folder, o->precision);
      if (!o->brief) fmt::print("{}\n", report.to_text());
      const auto& worst = report.worst();
      fmt::print("{} ({}): {}, {} tensors, closest to its limit: {} with {:.2e} of {:.2e}\n", folder, o->precision, report.ok() ? "equal" : "DIFFERENT",
                 report.lines().size(), worst.name, worst.max_error, worst.tolerance);
      if (!report.ok()) failed += (failed.empty() ? "" : ", ") + folder;
    }
    if (!failed.empty()) throw NumericalError(fmt::format("beyond the tolerance: {}", failed));
  });
}

}  // namespace galrec::apps
