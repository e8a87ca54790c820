// MovieLens 100K and 1M, ratings and items. Only DataError may leave the readers; Latin-1 must come out as UTF-8.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/movielens.h"
#include "data/readers/text.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  for (const MovieLens edition : {MovieLens::k100K, MovieLens::k1M}) {
    try {
      LineReader reader(text, "fuzz");
      read_movielens_ratings(reader, edition);
    } catch (const galrec::DataError&) {
    }
    try {
      LineReader reader(text, "fuzz");
      read_movielens_items(reader, edition, [](std::string_view, const ItemText& item) {
        GALREC_CHECK(first_invalid_utf8(item.title) == std::string_view::npos);
        GALREC_CHECK(first_invalid_utf8(item.categories) == std::string_view::npos);
      });
    } catch (const galrec::DataError&) {
    }
  }
  return 0;
}
