#pragma once
// Can the figures of a table be true? With one target per user, HR@K and NDCG@K bound each other, whatever the model:
//   HR@k / log2(k+1) <= NDCG@k <= HR@k                                            for the smallest K of the table,
//   (HR@b - HR@a) / log2(b+1) <= NDCG@b - NDCG@a <= (HR@b - HR@a) / log2(a+2)     for neighbouring cut-offs a < b,
// because a target at rank r in (a, b] adds 1 to HR@b and 1 / log2(r+1) to NDCG@b and nothing to either at a. Printed
// figures are rounded: a violation counts only if no values that round to the printed ones satisfy the inequality.

#include <string>
#include <vector>

#include "gal/evaluation/table.h"

namespace galrec::gal {

/// An inequality that a cell violates by more than rounding explains.
struct Violation {
  std::string method;
  std::string dataset;
  int line = 0;
  std::string inequality;  ///< "NDCG@10 - NDCG@5 <= (HR@10 - HR@5) / log2(7)"
  std::string numbers;     ///< "0.0044 <= 0.004025, rounding explains 0.000128"
};

/// The violated inequalities, cells in order. Percent or fractions: the bounds are homogeneous.
std::vector<Violation> verify_cells(const std::vector<TableCell>& cells);

/// How many inequalities the cells allow to be checked.
int count_checks(const std::vector<TableCell>& cells);

}  // namespace galrec::gal
