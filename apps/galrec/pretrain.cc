// galrec pretrain: trains LightGCN or SASRec, whose vectors the language model then reads.

#include <fmt/format.h>

#include "apps/galrec/commands.h"
#include "apps/galrec/run_setup.h"
#include "data/progress.h"
#include "gal/recommenders/pretrain.h"
#include "gal/session.h"

namespace galrec::apps {

namespace {

struct Options {
  std::string model;
  RunArguments run;
};

void pretrain(const Options& o, const CommonOptions& common) {
  data::Config config(gal::pretrain_schema());
  config.set("run.kind", o.model, "command line: " + o.model);
  apply(o.run, config);
  if (o.run.dry_run) return fmt::print("{}", config.to_toml());
  Contexts contexts(common, o.run.device);
  const Device device = contexts.device();
  const auto seed = static_cast<std::uint64_t>(config.get_int("run.seed"));
  const data::Dataset dataset = data::Dataset::load(require_data(config));
  const data::Split split = gal::make_split(dataset, config);
  const auto model = gal::make_recommender(device, o.model, split, config, seed);
  data::RunFolder run(o.run.out, config, run_info(common, device, seed), run_mode(o.run));
  const auto log = data::make_logger(run.log_path(), common.quiet);
  const auto result = gal::pretrain(device, *model, split, gal::pretrain_options(config), run, *log, data::choose_progress_style(common.quiet));
  const auto ranking = gal::ranking_options(config);
  log->info("{} best epoch {} | valid {}", o.model, result.best_epoch, result.valid.metrics(ranking.ks).to_text());
  log->info("{} best epoch {} | test  {}", o.model, result.best_epoch, result.test.metrics(ranking.ks).to_text());
}

}  // namespace

void add_pretrain(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("pretrain", "Train LightGCN or SASRec; writes embeddings.safetensors for `train --external`");
  c->add_option("model", o->model, "lightgcn or sasrec")->required()->check(CLI::IsMember({"lightgcn", "sasrec"}));
  add_run_options(*c, o->run);
  c->footer("Examples:\n  galrec pretrain lightgcn --data datasets/ml-100k --out runs/lightgcn\n"
            "  galrec pretrain sasrec --data datasets/ml-100k --out runs/sasrec sasrec.loss=ce sasrec.dropout=0.3");
  c->callback([o, &common] { pretrain(*o, common); });
}

}  // namespace galrec::apps
