#pragma once
// The figures of the paper's Tables I, III, IV and V, as printed.

#include <optional>
#include <string>
#include <vector>

#include "gal/evaluation/metrics.h"
#include "gal/evaluation/table.h"

namespace galrec::gal {

/// A table of the paper: `markdown` goes through the same parser as a user's table.
struct PaperTable {
  std::string name;      ///< "Table I"
  std::string caption;
  std::string markdown;
};

const std::vector<PaperTable>& paper_tables();
/// CheckError for a name that is not among them.
const PaperTable& paper_table(const std::string& name);

/// A figure of Table I or, for "w/o GAL(…)" rows, III ("LightGCN", "Beauty", "NDCG@10"); nothing where there is none.
/// Case does not matter.
std::optional<double> paper_value(const std::string& method, const std::string& dataset, const Metric& metric);

}  // namespace galrec::gal
