#pragma once
// MovieLens as GroupLens ships it: 100K (u.data, u.item) and 1M (ratings.dat, movies.dat).

#include "data/interactions.h"
#include "data/readers/line_reader.h"

namespace galrec::data {

/// 100K: ratings "user<TAB>item<TAB>rating<TAB>time", items "id|title|..." with 19 genre flags.
/// 1M: ratings "user::item::rating::time", items "id::title::genre|genre".
enum class MovieLens { k100K, k1M };

/// Reads ratings with their times in seconds. Throws DataError with file and line.
Interactions read_movielens_ratings(LineReader& reader, MovieLens edition);

/// Reads titles and genres (joined by "; "). Both editions are Latin-1: a line that is not valid UTF-8 is converted.
void read_movielens_items(LineReader& reader, MovieLens edition, const ItemTextSink& sink);

}  // namespace galrec::data
