#pragma once
// Tables of published or measured figures, read from Markdown or CSV.

#include <map>
#include <string>
#include <vector>

namespace galrec::gal {

/// A figure as printed: its value and half a unit of its last digit.
struct PrintedValue {
  double value = 0;
  double rounding = 0;
  std::string text;
};

/// All figures of one method on one data set.
struct TableCell {
  std::string method;
  std::string dataset;  ///< "" where the table has only one
  int line = 0;         ///< of the table's text, from 1
  std::map<int, PrintedValue> hit_rate;  ///< by K
  std::map<int, PrintedValue> ndcg;      ///< by K
};

/// Reads a Markdown or CSV table. One row per method (and data set), or Table-I-like: a block of columns per data set under a
/// header row of data set names, or metric columns named "Beauty HR@5". Knows HR, H, Hit, Recall and NDCG, N before the
/// "@"; bold, footnote marks and "± s" are ignored; "-" is a missing figure. DataError `name:line: …` otherwise.
std::vector<TableCell> parse_table(const std::string& text, const std::string& name);

}  // namespace galrec::gal
