// items.tsv and users.tsv, and HTML entities. Only DataError may leave the readers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/items_tsv.h"
#include "data/readers/text.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    LineReader reader(text, "fuzz");
    const ItemTable table = read_items_tsv(reader);
    GALREC_CHECK(table.titles.size() == table.raw_ids.size() && table.titles.size() == table.categories.size());
  } catch (const galrec::DataError&) {
  }
  try {
    LineReader reader(text, "fuzz");
    read_users_tsv(reader);
  } catch (const galrec::DataError&) {
  }
  if (first_invalid_utf8(text) == std::string_view::npos)
    GALREC_CHECK(first_invalid_utf8(clean_text(decode_html_entities(text))) == std::string_view::npos);
  return 0;
}
