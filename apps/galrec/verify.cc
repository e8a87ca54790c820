// galrec verify: can the figures of a results table be true?

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "apps/galrec/commands.h"
#include "gal/evaluation/paper_tables.h"
#include "gal/evaluation/verify.h"
#include "kernels/common/check.h"

namespace galrec::apps {

namespace {

void report(const std::string& title, const std::vector<gal::TableCell>& cells) {
  const auto violations = gal::verify_cells(cells);
  fmt::print("{}: {} cells, {} inequalities checked, {} violated\n", title, cells.size(), gal::count_checks(cells), violations.size());
  for (const auto& v : violations)
    fmt::print("  impossible: {}{}{} (line {}): {} fails: {}\n", v.method, v.dataset.empty() ? "" : " on ", v.dataset, v.line, v.inequality, v.numbers);
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw DataError(fmt::format("{}: cannot be read", path));
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

void add_verify(CLI::App& app, const CommonOptions&) {
  auto files = std::make_shared<std::vector<std::string>>();
  auto* c = app.add_subcommand("verify", "Check the HR@K and NDCG@K of results tables against the bounds that any model obeys");
  c->add_option("table", *files, "tables in Markdown or CSV; without one: the paper's own tables");
  c->footer("Examples:\n  galrec verify                 # the paper's Tables I, III, IV and V\n  galrec verify runs/beauty/table.md\n\n"
            "With one target per user HR@5/log2(6) <= NDCG@5 <= HR@5 and\n"
            "(HR@10-HR@5)/log2(11) <= NDCG@10-NDCG@5 <= (HR@10-HR@5)/log2(7), whatever the model; rounding is allowed for.");
  c->callback([files] {
    if (files->empty())
      for (const auto& table : gal::paper_tables()) report(table.name, gal::parse_table(table.markdown, table.name));
    for (const auto& file : *files) report(file, gal::parse_table(read_text(file), file));
  });
}

}  // namespace galrec::apps
