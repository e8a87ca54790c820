// Amazon reviews and metadata of every release; the first byte picks the release. Only DataError may leave the readers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/amazon.h"
#include "data/readers/text.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const auto release = static_cast<AmazonRelease>(bytes[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  try {
    LineReader reader(text, "fuzz");
    const Interactions in = read_amazon_reviews(reader, release);
    GALREC_CHECK(in.time.size() == in.size() && in.rating.size() == in.size());
  } catch (const galrec::DataError&) {
  }
  try {
    LineReader reader(text, "fuzz");
    read_amazon_items(reader, release, [](std::string_view, const ItemText& item) {
      GALREC_CHECK(item.title == clean_text(item.title) && first_invalid_utf8(item.title) == std::string_view::npos);
      GALREC_CHECK(first_invalid_utf8(item.categories) == std::string_view::npos);
    });
  } catch (const galrec::DataError&) {
  }
  return 0;
}
