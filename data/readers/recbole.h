#pragma once
// RecBole's atomic files: tab-separated, the header names and types every column (`user_id:token`, `rating:float`).

#include <string>

#include "data/interactions.h"
#include "data/readers/line_reader.h"

namespace galrec::data {

/// Names of the columns that are read. RecBole lets a configuration rename them, so they can be set here too.
struct RecboleFields {
  std::string user = "user_id";
  std::string item = "item_id";
  std::string rating = "rating";        ///< may be absent from the file
  std::string timestamp = "timestamp";  ///< may be absent from the file
};

/// Reads a .inter file. Throws DataError with file and line, also for a header without types and a time that is not a
/// whole number.
Interactions read_recbole_interactions(LineReader& reader, const RecboleFields& fields = {});

/// Reads a .item file and gives the text of each row to `sink`. The title is the first column named title or name, or
/// ending so (movie_title); the categories are the first of categories, category, genres, genre, class. A token_seq of
/// categories is split at spaces and joined by "; ".
void read_recbole_items(LineReader& reader, const ItemTextSink& sink, const RecboleFields& fields = {});

}  // namespace galrec::data
