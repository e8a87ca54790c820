#pragma once
// The table that `reproduce` writes: our figures, the paper's beside them, seeds and times, as Markdown, CSV and JSON.

#include <filesystem>
#include <string>
#include <vector>

namespace galrec::apps {

struct TableRow {
  std::string label;
  std::string paper;  // the row's name in the paper, "" if it has none
  std::filesystem::path folder;
};

/// Writes table.md, table.csv and table.json into `out` and prints the Markdown.
void write_reproduction_table(const std::filesystem::path& out, const std::string& dataset, const std::string& command,
                              const std::vector<TableRow>& rows);

}  // namespace galrec::apps
