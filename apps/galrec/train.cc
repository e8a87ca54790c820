// galrec train: T5 with graph-aware learning.

#include <fmt/format.h>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "apps/galrec/training_job.h"
#include "gal/session.h"

namespace galrec::apps {

namespace {

struct Options {
  RunArguments run;
  std::string preset = "nano", external, precision;
  std::int64_t max_steps = 0;
};

void train(const Options& o, const CommonOptions& common) {
  data::Config config(gal::train_schema());
  gal::apply_preset(config, o.preset);
  if (!o.external.empty()) config.set("external.source", o.external, "command line: --external");
  if (!o.precision.empty()) config.set("run.precision", o.precision, "command line: --precision");
  apply(o.run, config);
  if (o.run.dry_run) return fmt::print("{}", config.to_toml());
  require_data(config);
  Contexts contexts(common, o.run.device, precision(config, o.run.device));
  data::RunFolder run(o.run.out, config, run_info(common, contexts.device(), static_cast<std::uint64_t>(config.get_int("run.seed"))), run_mode(o.run));
  const auto log = data::make_logger(run.log_path(), common.quiet);
  train_model(contexts.device(), config, run, *log, data::choose_progress_style(common.quiet), o.max_steps);
}

}  // namespace

void add_train(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("train", "Train T5 on recommendation prompts with the six graph-aware losses");
  c->add_option("--preset", o->preset, "nano, mini (random weights), flan-t5-small, flan-t5-base, flan-t5-large (with model.checkpoint=FOLDER)")
      ->capture_default_str();
  c->add_option("--external", o->external, "pre-training run, .npy or .safetensors with the vectors of items (sets external.source)");
  c->add_option("--precision", o->precision, "fp32, or bf16 with fp32 sums and master weights: on cuda the storage of activations, on cpu the operands of products (sets run.precision)");
  c->add_option("--max-steps", o->max_steps, "stop after this many steps of the run, with a checkpoint")->check(CLI::NonNegativeNumber);
  add_run_options(*c, o->run);
  c->footer("Examples:\n  galrec train --data datasets/ml-100k --external runs/lightgcn --out runs/gal\n"
            "  galrec train --data datasets/ml-100k --external runs/lightgcn --out runs/gal --resume\n"
            "  galrec train --preset flan-t5-small model.checkpoint=flan-t5-small/ --data datasets/ml-100k --external runs/lightgcn --out runs/flan loss.tau=0.05\n"
            "  galrec train --dry-run              # every key with its default and help");
  c->callback([o, &common] { train(*o, common); });
}

}  // namespace galrec::apps
