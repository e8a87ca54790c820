// galrec export: a trained run as files for others: a Hugging Face T5 folder, or embedding matrices.

#include <fmt/format.h>

#include "apps/galrec/commands.h"
#include "data/npy.h"
#include "data/run_folder.h"
#include "data/tokenizer.h"
#include "gal/ranker.h"
#include "gal/session.h"
#include "gal/training/checkpoint.h"
#include "kernels/common/check.h"
#include "layers/hf_folder.h"

namespace galrec::apps {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string run, out, data;
};

// A T5 whose vocabulary is text, users and items: the external vectors and g become rows of `shared`.
void export_hugging_face(const Device& device, const Options& o) {
  data::Config config(gal::train_schema());
  config.load_toml(fs::path(o.run) / "config.toml");
  if (!o.data.empty()) config.set("data.path", o.data, "command line: --data");
  gal::Session session(device, config, fs::path(o.run) / "spiece.model");
  const auto model = session.make_model<float>(device);
  gal::load_model(data::find_checkpoint(o.run, "best"), *model);
  const auto& options = model->options();
  const std::int64_t vocabulary = static_cast<std::int64_t>(options.text_rows) + options.users + options.items;
  layers::ExtraTensor shared{"shared.weight", {vocabulary, options.t5.d_model}, {}};
  shared.values.resize(static_cast<std::size_t>(vocabulary * options.t5.d_model));
  model->embedding_table(device, view_of(shared.values, vocabulary, options.t5.d_model));
  layers::T5Config t5 = options.t5;
  t5.vocab_size = vocabulary;
  t5.tied_head = false;
  t5.scale_decoder_outputs = model->logit_scale() != 1.0;
  layers::SaveRules rules;
  rules.include = [](const std::string& name) { return name.starts_with("encoder.") || name.starts_with("decoder.") || name == "lm_head.weight"; };
  rules.extra.push_back(std::move(shared));
  layers::save_hf_folder(o.out, t5, model->parameters(), rules);
  fs::copy_file(fs::path(o.run) / "spiece.model", fs::path(o.out) / "spiece.model", fs::copy_options::overwrite_existing);
  fmt::print("{}: a Hugging Face T5 of {} tokens: {} of text, then {} users from {}, then {} items from {}\n", o.out, vocabulary, options.text_rows,
             options.users, options.text_rows, options.items, options.text_rows + options.users);
}

// Query vectors of all users (before their test item) and item rows, as .npy.
void export_vectors(const Device& device, const Options& o) {
  const auto ranker = gal::Ranker::open(device, o.run, o.data);
  const auto users = ranker->dataset().num_users();
  std::vector<data::UserId> ids(static_cast<std::size_t>(users));
  for (data::UserId u = 0; u < users; ++u) ids[static_cast<std::size_t>(u)] = u;
  std::vector<float> queries(static_cast<std::size_t>(users * ranker->dim()));
  ranker->user_queries(ids, data::Phase::kTest, view_of(queries, users, ranker->dim()));
  fs::create_directories(o.out);
  data::write_npy(fs::path(o.out) / "user.npy", users, ranker->dim(), queries.data());
  const auto items = ranker->items();
  const auto rows = items.rows.slice_rows(items.first_item, ranker->dataset().num_items());
  data::write_npy(fs::path(o.out) / "item.npy", rows.rows(), rows.cols(), rows.data);
  fmt::print("{}: user.npy ({}, {}) and item.npy ({}, {}); a score is their inner product\n", o.out, users, ranker->dim(), rows.rows(), rows.cols());
}

void export_run(const Options& o, const CommonOptions& common) {
  CpuContext ctx(common.threads);
  if (gal::run_kind(o.run) == "gal") export_hugging_face(ctx, o);
  else export_vectors(ctx, o);
}

}  // namespace

void add_export(CLI::App& app, const CommonOptions& common) {
  auto o = std::make_shared<Options>();
  auto* c = app.add_subcommand("export", "A trained run for others: a Hugging Face T5 folder (train) or .npy vectors (pretrain)");
  c->add_option("run", o->run, "run folder")->required();
  c->add_option("--out", o->out, "folder to write")->required();
  c->add_option("--data", o->data, "data set folder, where it is not where it was");
  c->footer("Example:\n  galrec export runs/quickstart/gal_lightgcn --out exported\n"
            "  python3 -c \"from transformers import T5ForConditionalGeneration as T; T.from_pretrained('exported')\"");
  c->callback([o, &common] { export_run(*o, common); });
}

}  // namespace galrec::apps
