// galrec reproduce: rows of the paper's tables, trained where they are missing, in one table with the paper's figures.

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "apps/galrec/commands.h"
#include "apps/galrec/reproduction_table.h"
#include "apps/galrec/run_setup.h"
#include "apps/galrec/training_job.h"
#include "data/progress.h"
#include "gal/evaluation/result_file.h"
#include "gal/recommenders/pretrain.h"
#include "gal/session.h"

namespace galrec::apps {

namespace {

namespace fs = std::filesystem;

struct Options {
  RunArguments run;
  std::string dataset, rows = "lightgcn,gal_lightgcn_without,gal_lightgcn", preset = "nano";
};

// A row is a model trained by itself, or the language model over the vectors of another row or of a file.
struct Row {
  std::string name;
  std::string label;       // in the table
  std::string paper;       // the paper's name of the row, "" if it has none
  std::string recommender; // "lightgcn", "sasrec": trained by itself
  std::string vectors;     // name of the row whose vectors the language model reads; "text": text_embeddings.safetensors
  bool graph_aware = false;
  std::vector<std::string> overrides;
};

const std::vector<Row>& known_rows() {
  static const std::vector<Row> rows = {
      {"lightgcn", "LightGCN", "LightGCN", "lightgcn", "", false, {}},
      {"sasrec", "SASRec (BCE as in S3-Rec)", "SASRec", "sasrec", "", false, {"sasrec.loss=bce"}},
      {"sasrec_ce", "SASRec (full cross-entropy)", "", "sasrec", "", false, {"sasrec.loss=ce"}},
      {"gal_lightgcn_without", "T5 over LightGCN without GAL", "w/o GAL(LGCN)", "", "lightgcn", false, {}},
      {"gal_lightgcn", "GAL (LightGCN)", "GAL(LightGCN)", "", "lightgcn", true, {}},
      {"gal_sasrec_without", "T5 over SASRec without GAL", "w/o GAL(SASRec)", "", "sasrec", false, {}},
      {"gal_sasrec", "GAL (SASRec)", "GAL(SASRec)", "", "sasrec", true, {}},
      {"gal_sasrec_ce_without", "T5 over SASRec (CE) without GAL", "", "", "sasrec_ce", false, {}},
      {"gal_sasrec_ce", "GAL (SASRec CE)", "", "", "sasrec_ce", true, {}},
      {"gal_text_without", "T5 over text without GAL", "w/o GAL(Text)", "", "text", false, {}},
      {"gal_text", "GAL (Text)", "GAL(Text)", "", "text", true, {}},
  };
  return rows;
}

const Row& find_row(const std::string& name) {
  std::string names;
  for (const auto& row : known_rows()) {
    if (row.name == name) return row;
    names += (names.empty() ? "" : ", ") + row.name;
  }
  throw UsageError(fmt::format("--rows: unknown row '{}'; known rows: {}", name, names));
}

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t at = 0; at <= text.size();) {
    const auto end = std::min(text.find(',', at), text.size());
    if (end > at) names.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  if (names.empty()) throw UsageError("--rows is empty");
  return names;
}

class Reproduction {
 public:
  Reproduction(const Options& options, const CommonOptions& common) : o_(options), common_(common), contexts_(common, options.run.device) {}

  /// Trains a row unless its result is there; rows it depends on come first.
  void ensure(const Row& row) {
    if (!ensured_.insert(row.name).second) return;
    if (!row.vectors.empty() && row.vectors != "text") ensure(find_row(row.vectors));
    if (gal::has_result(folder(row))) {
      fmt::print(stderr, "{}: done before ({})\n", row.name, folder(row).string());
      return;
    }
    fmt::print(stderr, "{}: training in {}\n", row.name, folder(row).string());
    row.recommender.empty() ? train(row) : pretrain(row);
  }
  fs::path folder(const Row& row) const { return fs::path(o_.run.out) / row.name; }

 private:
  // Keys of the other kind of run are meant for the other rows.
  void apply_known(data::Config& config, const std::vector<std::string>& overrides) const {
    for (const auto& override : overrides) {
      const auto key = override.substr(0, override.find('='));
      if (config.schema().find(key) == nullptr && (gal::train_schema().find(key) || gal::pretrain_schema().find(key))) continue;
      config.apply_override(override);
    }
  }
  RunArguments arguments(const Row& row) const {
    RunArguments a = o_.run;
    a.out = folder(row).string();
    a.overrides.clear();
    a.data = o_.dataset;
    return a;
  }

  void pretrain(const Row& row) {
    data::Config config(gal::pretrain_schema());
    config.set("run.kind", row.recommender, "row " + row.name);
    apply(arguments(row), config);
    apply_known(config, row.overrides);
    apply_known(config, o_.run.overrides);
    const auto seed = static_cast<std::uint64_t>(config.get_int("run.seed"));
    const data::Dataset dataset = data::Dataset::load(require_data(config));
    const data::Split split = gal::make_split(dataset, config);
    const auto model = gal::make_recommender(contexts_.device(), row.recommender, split, config, seed);
    contexts_.set_gemm_precision(GemmPrecision::kFull);
    data::RunFolder run(folder(row), config, run_info(common_, contexts_.device(), seed), data::RunMode::kNewOrResume);
    const auto log = data::make_logger(run.log_path(), common_.quiet);
    gal::pretrain(contexts_.device(), *model, split, gal::pretrain_options(config), run, *log, data::choose_progress_style(common_.quiet));
  }

  void train(const Row& row) {
    data::Config config(gal::train_schema());
    gal::apply_preset(config, o_.preset);
    const fs::path source = row.vectors == "text" ? fs::path(o_.dataset) / "text_embeddings.safetensors" : folder(find_row(row.vectors));
    config.set("external.source", source.string(), "row " + row.name);
    apply(arguments(row), config);
    apply_known(config, row.overrides);
    apply_known(config, o_.run.overrides);
    if (!row.graph_aware)
      for (const char* key : {"loss.l1", "loss.l2", "loss.l3"}) config.set(key, 0.0, "row " + row.name);
    contexts_.set_gemm_precision(precision(config, o_.run.device));
    data::RunFolder run(folder(row), config, run_info(common_, contexts_.device(), static_cast<std::uint64_t>(config.get_int("run.seed"))), data::RunMode::kNewOrResume);
    const auto log = data::make_logger(run.log_path(), common_.quiet);
    const auto result = train_model(contexts_.device(), config, run, *log, data::choose_progress_style(common_.quiet), 0);
    if (result.loop.reason != gal::StopReason::kFinished) throw Error(fmt::format("{} was interrupted; the same command goes on from there", row.name));
  }

  const Options& o_;
  const CommonOptions& common_;
  Contexts contexts_;
  std::set<std::string> ensured_;  // names of the rows that this command has been through
};

void reproduce(const Options& o, const CommonOptions& common) {
  const auto names = split_names(o.rows);
  for (const auto& name : names) find_row(name);
  Reproduction reproduction(o, common);
  std::vector<TableRow> table;
  for (const auto& name : names) {
    const Row& row = find_row(name);
    reproduction.ensure(row);
    table.push_back({.label = row.label, .paper = row.paper, .folder = reproduction.folder(row)});
  }
  write_reproduction_table(o.run.out, data::Dataset::load(o.dataset).name, common.command_line, table);
}

}  // namespace

void add_reproduce(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("reproduce", "Train the rows of a table that are missing, skip what is done, and print it with the paper's figures");
  std::string rows;
  for (const auto& row : known_rows()) rows += (rows.empty() ? "" : ", ") + row.name;
  c->add_option("--dataset", o->dataset, "data set folder")->required();
  c->add_option("--rows", o->rows, "comma-separated: " + rows)->capture_default_str();
  c->add_option("--preset", o->preset, "of the language model rows")->capture_default_str();
  c->add_option("--out", o->run.out, "folder for the runs and the table (table.md, table.csv, table.json)")->required();
  c->add_option("--seed", o->run.seed, "sets run.seed of every row")->check(CLI::NonNegativeNumber);
  add_device_option(*c, o->run.device);
  c->add_option("key=value", o->run.overrides, "configuration keys for the rows that know them");
  c->footer("Example:\n  galrec reproduce --dataset datasets/ml-100k --rows lightgcn,gal_lightgcn_without,gal_lightgcn --preset nano --out runs/ml-100k");
  c->callback([o, &common] { reproduce(*o, common); });
}

}  // namespace galrec::apps
