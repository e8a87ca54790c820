#include "data/readers/movielens.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "data/readers/text.h"

namespace galrec::data {
namespace {

constexpr std::array<std::string_view, 19> kGenres{"unknown",   "Action",   "Adventure",   "Animation", "Children's",
                                                   "Comedy",    "Crime",    "Documentary", "Drama",     "Fantasy",
                                                   "Film-Noir", "Horror",   "Musical",     "Mystery",   "Romance",
                                                   "Sci-Fi",    "Thriller", "War",         "Western"};
constexpr std::size_t kFirstFlag = 5;  // after id, title, two dates and the IMDb address

void split_double_colon(std::string_view line, std::vector<std::string_view>& fields) {
  fields.clear();
  for (std::size_t end = line.find("::"); end != std::string_view::npos; end = line.find("::")) {
    fields.push_back(line.substr(0, end));
    line.remove_prefix(end + 2);
  }
  fields.push_back(line);
}

/// The next line's fields; false at the end.
bool next_row(LineReader& reader, char separator, std::size_t width, std::string& utf8,
              std::vector<std::string_view>& fields) {
  std::string_view line;
  if (!reader.next_row(line, "as many fields as the other lines")) return false;
  if (first_invalid_utf8(line) != std::string_view::npos) {
    utf8 = latin1_to_utf8(line);
    line = utf8;
  }
  if (separator == ':') {
    split_double_colon(line, fields);
  } else {
    split_fields(line, separator, fields);
  }
  if (fields.size() != width)
    reader.fail(fmt::format("{} fields", fields.size()), fmt::format("{} separated by {}", width,
                                                                     separator == ':'   ? "::"
                                                                     : separator == '|' ? "|"
                                                                                        : "tabs"));
  return true;
}

std::string genres_of_flags(const LineReader& reader, const std::vector<std::string_view>& fields) {
  std::string out;
  for (std::size_t k = 0; k < kGenres.size(); ++k) {
    if (reader.integer(fields[kFirstFlag + k], 0, 1, "a genre flag") == 0) continue;
    if (!out.empty()) out += "; ";
    out += kGenres[k];
  }
  return out;
}

std::string genres_of_list(std::string_view list) {
  std::vector<std::string_view> names;
  split_fields(list, '|', names);
  std::string out;
  for (const std::string_view name : names) {
    if (name.empty()) continue;
    if (!out.empty()) out += "; ";
    out += name;
  }
  return clean_text(out);
}

}  // namespace

Interactions read_movielens_ratings(LineReader& reader, MovieLens edition) {
  Interactions out;
  std::string utf8;
  std::vector<std::string_view> fields;
  while (next_row(reader, edition == MovieLens::k100K ? '\t' : ':', 4, utf8, fields)) {
    reader.require_id(fields[0], "user id");
    reader.require_id(fields[1], "item id");
    out.add(fields[0], fields[1]);
    out.rating.push_back(reader.number(fields[2], "a rating"));
    out.time.push_back(reader.integer(fields[3], 0, std::numeric_limits<std::int64_t>::max(), "a timestamp"));
  }
  if (out.size() == 0) reader.fail("no ratings", "one rating a line");
  return out;
}

void read_movielens_items(LineReader& reader, MovieLens edition, const ItemTextSink& sink) {
  std::string utf8;
  std::vector<std::string_view> fields;
  const bool flags = edition == MovieLens::k100K;
  while (next_row(reader, flags ? '|' : ':', flags ? kFirstFlag + kGenres.size() : 3, utf8, fields)) {
    reader.require_id(fields[0], "item id");
    sink(fields[0],
         ItemText{clean_text(fields[1]), flags ? genres_of_flags(reader, fields) : genres_of_list(fields[2])});
  }
}

}  // namespace galrec::data
