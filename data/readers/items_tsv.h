#pragma once
// items.tsv and users.tsv: tab-separated tables with a header line and no quoting, one row an id, in order from 1.

#include <string>
#include <vector>

#include "data/readers/line_reader.h"

namespace galrec::data {

/// Columns of items.tsv, row k for item k + 1. A column that the file lacks holds empty texts.
struct ItemTable {
  std::vector<std::string> raw_ids;
  std::vector<std::string> titles;
  std::vector<std::string> categories;
};

/// Reads items.tsv: a header with `item_id` and any of `raw_id`, `title`, `categories` (other columns are skipped),
/// then rows with item_id 1, 2, 3, .... Texts are cleaned. Throws DataError with file and line.
ItemTable read_items_tsv(LineReader& reader);

/// Reads users.tsv: `user_id` and `raw_id`, user_id 1, 2, 3, .... Returns the raw ids.
std::vector<std::string> read_users_tsv(LineReader& reader);

}  // namespace galrec::data
