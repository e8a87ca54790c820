#include "gal/evaluation/table.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>

#include "gal/evaluation/metrics.h"
#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

struct Row {
  int line = 0;
  std::vector<std::string> cells;
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

void erase_all(std::string& text, std::string_view what) {
  for (std::size_t at; (at = text.find(what)) != std::string::npos;) text.erase(at, what.size());
}

// Without markup, footnote marks and surrounding space.
std::string clean(std::string text) {
  for (std::size_t open; (open = text.find('<')) != std::string::npos;) {  // <b>, </b>, <sup>
    const std::size_t close = text.find('>', open);
    if (close == std::string::npos) break;
    text.erase(open, close - open + 1);
  }
  for (const char* mark : {"**", "__", "†", "‡", "§", "`", "\xc2\xa0"}) erase_all(text, mark);
  const auto outer = [](unsigned char c) { return std::isspace(c) || c == '*' || c == '_'; };
  std::size_t first = 0, last = text.size();
  while (first < last && outer(static_cast<unsigned char>(text[first]))) ++first;
  while (last > first && outer(static_cast<unsigned char>(text[last - 1]))) --last;
  return text.substr(first, last - first);
}

std::vector<std::string> split_markdown(const std::string& line) {
  std::vector<std::string> cells;
  std::string cell;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') {
      cell += line[++i];
    } else if (line[i] == '|') {
      cells.push_back(clean(cell));
      cell.clear();
    } else {
      cell += line[i];
    }
  }
  cells.push_back(clean(cell));
  const std::string trimmed = clean(line);
  if (trimmed.front() == '|') cells.erase(cells.begin());
  if (trimmed.back() == '|' && !cells.empty()) cells.pop_back();
  return cells;
}

std::vector<std::string> split_csv(const std::string& line, const std::string& where) {
  std::vector<std::string> cells;
  std::string cell;
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cell += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && c == ',') {
      cells.push_back(clean(cell));
      cell.clear();
    } else {
      cell += c;
    }
  }
  if (quoted) throw DataError(fmt::format("{}: a quoted field does not end", where));
  cells.push_back(clean(cell));
  return cells;
}

bool is_rule(const std::vector<std::string>& cells) {  // |---|:--:|
  for (const std::string& cell : cells)
    if (cell.find_first_not_of("-:") != std::string::npos || cell.find('-') == std::string::npos) return false;
  return true;
}

std::vector<Row> split_rows(const std::string& text, const std::string& name) {
  const bool markdown = text.find('|') != std::string::npos;
  std::vector<Row> rows;
  std::istringstream in(text);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (number == 1 && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
    if (clean(line).empty() || line[0] == '#') continue;
    if (markdown && line.find('|') == std::string::npos) continue;  // prose around the table
    auto cells = markdown ? split_markdown(line) : split_csv(line, fmt::format("{}:{}", name, number));
    if (!markdown || !is_rule(cells)) rows.push_back({number, std::move(cells)});
  }
  return rows;
}

// A column of figures.
struct Column {
  std::size_t index = 0;
  Metric metric;
  std::string dataset;
};

// "HR@5", "Beauty NDCG@10", "H@5 (Toys)": the metric, and the rest as the data set.
std::optional<Column> parse_column(const std::string& header) {
  const std::string text = lower(header);
  const std::size_t at = text.find('@');
  if (at == std::string::npos) return std::nullopt;
  std::size_t first = at, last = at + 1;
  while (first > 0 && std::isalpha(static_cast<unsigned char>(text[first - 1]))) --first;
  while (last < text.size() && std::isdigit(static_cast<unsigned char>(text[last]))) ++last;
  const std::string word = text.substr(first, at - first);
  int k = 0;
  if (std::from_chars(text.data() + at + 1, text.data() + last, k).ec != std::errc() || k < 1 || k > 1000000) return std::nullopt;
  Column column;
  if (word == "hr" || word == "h" || word == "hit" || word == "recall" || word == "r")
    column.metric = {MetricKind::kHitRate, k};
  else if (word == "ndcg" || word == "n")
    column.metric = {MetricKind::kNdcg, k};
  else
    return std::nullopt;
  for (const char c : header.substr(0, first) + header.substr(last))
    if (std::string_view("()[]:/").find(c) == std::string_view::npos) column.dataset += c;
  column.dataset = clean(column.dataset);
  return column;
}

PrintedValue parse_value(const std::string& cell, const std::string& where) {
  std::string text = cell;
  for (const char* after : {"±", "+-", "(", "%"})
    if (const std::size_t at = text.find(after); at != std::string::npos) text.erase(at);
  text = clean(text);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0)
    throw DataError(fmt::format("{}: got '{}', expected a figure such as 0.0431 (or - for none)", where, cell));
  const std::size_t point = text.find('.');
  const auto decimals = point == std::string::npos ? 0 : static_cast<int>(text.size() - point - 1);
  return {value, 0.5 * std::pow(10.0, -decimals), text};
}

bool is_missing(const std::string& cell) { return cell.empty() || cell == "-" || cell == "–" || cell == "—"; }

// Where things stand in the rows below a header.
struct Layout {
  std::size_t cells = 0;
  std::vector<Column> columns;
  std::optional<std::size_t> method;
  std::optional<std::size_t> dataset;
};

std::size_t count_metrics(const Row& row) {
  std::size_t count = 0;
  for (const std::string& cell : row.cells) count += parse_column(cell).has_value();
  return count;
}

bool is_header(const Row& row) { return count_metrics(row) >= 2; }

// The layout of header row `row`; `above` is the row before it where that holds data set names over blocks of columns.
Layout read_header(const Row& row, const Row* above, const std::string& name) {
  Layout layout;
  layout.cells = row.cells.size();
  for (std::size_t i = 0; i < row.cells.size(); ++i) {
    if (auto column = parse_column(row.cells[i])) {
      column->index = i;
      layout.columns.push_back(*column);
      continue;
    }
    std::string head = lower(row.cells[i]);
    if (head.empty() && above != nullptr && i < above->cells.size()) head = lower(above->cells[i]);
    if (!layout.dataset && (head == "dataset" || head == "data set" || head == "data" || head == "datasets")) layout.dataset = i;
    else if (!layout.method) layout.method = i;
  }
  if (above != nullptr) {
    std::string group;
    std::size_t next = layout.columns.front().index;
    for (Column& column : layout.columns) {
      for (; next <= column.index && next < above->cells.size(); ++next)
        if (!above->cells[next].empty()) group = above->cells[next];
      if (column.dataset.empty()) column.dataset = group;
    }
  }
  for (std::size_t i = 0; i < layout.columns.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (layout.columns[i].metric == layout.columns[j].metric && layout.columns[i].dataset == layout.columns[j].dataset)
        throw DataError(fmt::format("{}:{}: two columns {} for data set '{}'; expected data set names in a row above or in the column names",
                                    name, row.line, layout.columns[i].metric.name(), layout.columns[i].dataset));
  return layout;
}

// The cells of one row, one for each data set of the layout.
void read_row(std::vector<TableCell>& out, const Row& row, const Layout& layout, std::string& method, const std::string& name) {
  const std::string where = fmt::format("{}:{}", name, row.line);
  if (row.cells.size() != layout.cells)
    throw DataError(fmt::format("{}: got {} cells, expected {} as in the header", where, row.cells.size(), layout.cells));
  if (layout.method && !row.cells[*layout.method].empty()) method = row.cells[*layout.method];
  if (!layout.method) method = fmt::format("line {}", row.line);
  const std::size_t first = out.size();
  for (const Column& column : layout.columns) {
    const std::string dataset = layout.dataset ? row.cells[*layout.dataset] : column.dataset;
    std::size_t at = first;
    while (at < out.size() && out[at].dataset != dataset) ++at;
    if (at == out.size()) out.push_back({.method = method, .dataset = dataset, .line = row.line, .hit_rate = {}, .ndcg = {}});
    const std::string& text = row.cells[column.index];
    if (is_missing(text)) continue;
    auto& values = column.metric.kind == MetricKind::kHitRate ? out[at].hit_rate : out[at].ndcg;
    values[column.metric.k] = parse_value(text, fmt::format("{}: {}", where, column.metric.name()));
  }
}

}  // namespace

std::vector<TableCell> parse_table(const std::string& text, const std::string& name) {
  const std::vector<Row> rows = split_rows(text, name);
  std::vector<TableCell> out;
  std::optional<Layout> layout;
  std::string method;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (is_header(rows[i])) {
      const bool has_above = i > 0 && !is_header(rows[i - 1]) && rows[i - 1].line + 3 > rows[i].line;
      layout = read_header(rows[i], has_above ? &rows[i - 1] : nullptr, name);
    } else if (i + 1 < rows.size() && is_header(rows[i + 1])) {
      continue;  // names over blocks of columns, read with the header below
    } else if (layout) {
      read_row(out, rows[i], *layout, method, name);
    }
  }
  if (!layout) throw DataError(fmt::format("{}: found no header row, expected columns such as HR@5, NDCG@5, HR@10, NDCG@10", name));
  if (out.empty()) throw DataError(fmt::format("{}: found no row of figures below the header", name));
  return out;
}

}  // namespace galrec::gal
