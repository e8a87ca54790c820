#include "gal/evaluation/verify.h"

#include <cmath>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

// One side of an inequality: a linear combination of printed figures, with the text it came from.
struct Side {
  double value = 0;
  double rounding = 0;  // how much the printed digits leave open
  std::string text;

  Side& add(double factor, const PrintedValue& v) {
    value += factor * v.value;
    rounding += std::abs(factor) * v.rounding;
    return *this;
  }
};

// No figure stands on both sides of an inequality, so the roundings of the sides are independent.
class Checker {
 public:
  Checker(const TableCell& cell, std::vector<Violation>* out) : cell_(cell), out_(out) {}

  void at_most(const Side& left, const Side& right) {
    ++checks_;
    const double open = left.rounding + right.rounding;
    // A millionth of the figures covers the binary representation of decimal fractions.
    if (out_ == nullptr || left.value - right.value <= open + 1e-6 * (std::abs(left.value) + std::abs(right.value))) return;
    out_->push_back({cell_.method, cell_.dataset, cell_.line, left.text + " <= " + right.text,
                     fmt::format("{:.6g} <= {:.6g}, rounding explains {:.2g}", left.value, right.value, open)});
  }
  int checks() const { return checks_; }

 private:
  const TableCell& cell_;
  std::vector<Violation>* out_;
  int checks_ = 0;
};

std::string hr(int k) { return fmt::format("HR@{}", k); }
std::string ndcg(int k) { return fmt::format("NDCG@{}", k); }

void check_first(Checker& check, const TableCell& cell, int k) {
  const PrintedValue &h = cell.hit_rate.at(k), &n = cell.ndcg.at(k);
  check.at_most(Side{.text = fmt::format("{} / log2({})", hr(k), k + 1)}.add(1 / std::log2(k + 1.0), h), Side{.text = ndcg(k)}.add(1, n));
  check.at_most(Side{.text = ndcg(k)}.add(1, n), Side{.text = hr(k)}.add(1, h));
}

void check_increment(Checker& check, const TableCell& cell, int a, int b) {
  const PrintedValue &ha = cell.hit_rate.at(a), &hb = cell.hit_rate.at(b), &na = cell.ndcg.at(a), &nb = cell.ndcg.at(b);
  const std::string hits = fmt::format("({} - {})", hr(b), hr(a)), gains = fmt::format("{} - {}", ndcg(b), ndcg(a));
  const double worst = 1 / std::log2(b + 1.0), best = 1 / std::log2(a + 2.0);
  const Side gain = Side{.text = gains}.add(1, nb).add(-1, na);
  check.at_most(Side{.text = fmt::format("{} / log2({})", hits, b + 1)}.add(worst, hb).add(-worst, ha), gain);
  check.at_most(gain, Side{.text = fmt::format("{} / log2({})", hits, a + 2)}.add(best, hb).add(-best, ha));
}

void check_growth(Checker& check, const std::map<int, PrintedValue>& values, std::string (*name)(int)) {
  for (auto a = values.begin(), b = a; a != values.end() && ++b != values.end(); ++a)
    check.at_most(Side{.text = name(a->first)}.add(1, a->second), Side{.text = name(b->first)}.add(1, b->second));
}

int check_cell(const TableCell& cell, std::vector<Violation>* out) {
  Checker check(cell, out);
  int previous = 0;
  for (const auto& [k, value] : cell.hit_rate) {
    if (!cell.ndcg.contains(k)) continue;
    previous == 0 ? check_first(check, cell, k) : check_increment(check, cell, previous, k);
    previous = k;
  }
  check_growth(check, cell.hit_rate, hr);
  check_growth(check, cell.ndcg, ndcg);
  return check.checks();
}

}  // namespace

std::vector<Violation> verify_cells(const std::vector<TableCell>& cells) {
  std::vector<Violation> out;
  for (const TableCell& cell : cells) check_cell(cell, &out);
  return out;
}

int count_checks(const std::vector<TableCell>& cells) {
  int checks = 0;
  for (const TableCell& cell : cells) checks += check_cell(cell, nullptr);
  return checks;
}

}  // namespace galrec::gal
