// RecBole's atomic files: .inter and .item. Only DataError may leave the readers; texts must come out as clean UTF-8.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/recbole.h"
#include "data/readers/text.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  try {
    LineReader reader(text, "fuzz");
    const Interactions in = read_recbole_interactions(reader);
    GALREC_CHECK(in.time.empty() || in.time.size() == in.size());
  } catch (const galrec::DataError&) {
  }
  try {
    LineReader reader(text, "fuzz");
    read_recbole_items(reader, [](std::string_view, const ItemText& item) {
      GALREC_CHECK(item.title == clean_text(item.title) && first_invalid_utf8(item.title) == std::string_view::npos);
    });
  } catch (const galrec::DataError&) {
  }
  return 0;
}
