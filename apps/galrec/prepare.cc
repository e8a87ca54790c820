// galrec prepare: the files of a source become a data set folder; statistics, leak audit, vocabulary.

#include <fmt/format.h>

#include <filesystem>
#include <vector>

#include "apps/galrec/commands.h"
#include "data/leak_audit.h"
#include "data/prepare.h"
#include "data/prompt_templates.h"
#include "data/split.h"
#include "data/statistics.h"
#include "data/synthetic.h"
#include "data/vocabulary.h"
#include "kernels/common/check.h"

namespace galrec::apps {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string format;
  std::vector<std::string> inputs;
  std::string out, items, name, order = "time", split = "leave-one-out";
  double valid_fraction = 0.1, test_fraction = 0.1;
  std::int32_t k_core = 5;
  double min_rating = 0;
  CLI::Option* min_rating_option = nullptr;
  std::int32_t vocab_size = 1000;
  data::SyntheticOptions synthetic;
};

void print_summary(const data::Dataset& dataset, const Options& o) {
  const data::Statistics statistics = data::compute_statistics(dataset);
  fmt::print("{}\n", data::to_markdown(std::span(&statistics, 1)));
  const data::Split split = o.split == "temporal" ? data::Split::temporal(dataset, o.valid_fraction, o.test_fraction)
                                                   : data::Split::leave_one_out(dataset);
  fmt::print("{}\n", data::to_report(data::audit_leaks(split)));
}

void write(const data::Dataset& dataset, const Options& o) {
  if (o.out.empty()) return;
  dataset.save(o.out);
  data::train_vocabulary(dataset, data::PromptTemplates::defaults(), o.vocab_size, fs::path(o.out) / "spiece.model");
  fmt::print("written to {}\n", o.out);
}

data::Dataset read(const Options& o) {
  if (o.format == "folder") return data::Dataset::load(o.inputs.at(0));
  if (o.format == "synthetic") return data::make_synthetic(o.synthetic);
  data::PrepareOptions p;
  p.format = data::parse_format(o.format);
  p.interactions = o.inputs.at(0);
  p.item_metadata = o.items;
  p.name = o.name;
  p.min_user_interactions = p.min_item_interactions = o.k_core;
  p.order = o.order == "file" ? data::Order::kFile : data::Order::kTime;
  if (o.min_rating_option->count() > 0) p.min_rating = o.min_rating;
  data::PrepareReport report;
  data::Dataset dataset = data::prepare(p, &report);
  fmt::print("read {} interactions of {} users with {} items; {} after filters, {} after {}-core; {} items with metadata\n\n",
             report.read, report.users_read, report.items_read, report.after_filters, report.after_k_core, o.k_core,
             report.items_with_metadata);
  return dataset;
}

void prepare(const Options& o) {
  if (o.format != "synthetic" && o.inputs.empty())
    throw UsageError(fmt::format("prepare {} needs the path of its input", o.format));
  if (o.format == "folder") {
    for (const auto& input : o.inputs) {
      const data::Dataset dataset = data::Dataset::load(input);
      print_summary(dataset, o);
      if (o.inputs.size() == 1) write(dataset, o);
    }
    return;
  }
  if (o.inputs.size() > 1) throw UsageError(fmt::format("prepare {} takes one input, got {}", o.format, o.inputs.size()));
  data::Dataset dataset = read(o);
  if (!o.name.empty()) dataset.name = o.name;
  print_summary(dataset, o);
  write(dataset, o);
}

}  // namespace

void add_prepare(CLI::App& app, const CommonOptions&) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("prepare", "Make a data set folder from a source; print statistics (the paper's Table II) and a leak audit");
  std::string formats = "folder (an existing data set folder: only print, or copy), synthetic";
  for (auto name : data::format_names()) formats += ", " + std::string(name);
  c->add_option("format", o->format, "one of: " + formats)->required();
  c->add_option("input", o->inputs, "the source's folder or interactions file (several data set folders for `folder`)");
  c->add_option("--out", o->out, "data set folder to write: sequences.txt, items.tsv, users.tsv, dataset.json, spiece.model");
  c->add_option("--items", o->items, "item metadata file, where it does not lie beside the interactions");
  c->add_option("--name", o->name, "name of the data set");
  c->add_option("--k-core", o->k_core, "keep users and items with at least this many interactions")->capture_default_str()->check(CLI::NonNegativeNumber);
  o->min_rating_option = c->add_option("--min-rating", o->min_rating, "keep ratings of at least this");
  c->add_option("--order", o->order, "time (stable, file order on ties) or file")->capture_default_str()->check(CLI::IsMember({"time", "file"}));
  c->add_option("--split", o->split, "split that the audit looks at")->capture_default_str()->check(CLI::IsMember({"leave-one-out", "temporal"}));
  c->add_option("--valid-fraction", o->valid_fraction, "temporal split: share of the validation period")->capture_default_str();
  c->add_option("--test-fraction", o->test_fraction, "temporal split: share of the test period")->capture_default_str();
  c->add_option("--vocab-size", o->vocab_size, "pieces of the SentencePiece vocabulary trained on templates and titles")->capture_default_str()->check(CLI::Range(32, 32000));
  c->add_option("--synthetic-users", o->synthetic.users, "synthetic: users")->capture_default_str()->check(CLI::PositiveNumber);
  c->add_option("--synthetic-items", o->synthetic.items, "synthetic: items")->capture_default_str()->check(CLI::PositiveNumber);
  c->add_option("--synthetic-communities", o->synthetic.communities, "synthetic: planted communities")->capture_default_str()->check(CLI::PositiveNumber);
  c->add_option("--seed", o->synthetic.seed, "synthetic: seed")->capture_default_str();
  c->footer("Examples:\n  galrec prepare folder ../shared/data/beauty\n"
            "  galrec prepare recbole ml-100k/ --out datasets/ml-100k\n  galrec prepare synthetic --out datasets/synthetic");
  c->callback([o] { prepare(*o); });
}

}  // namespace galrec::apps
