// Yelp reviews, businesses and bare dates. Only DataError may leave the readers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/text.h"
#include "data/readers/yelp.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto attempt = [&](auto&& read) {
    try {
      LineReader reader(text, "fuzz");
      read(reader);
    } catch (const galrec::DataError&) {
    }
  };
  attempt([](LineReader& reader) { read_yelp_reviews(reader); });
  attempt([](LineReader& reader) {
    read_yelp_businesses(reader, [](std::string_view, const ItemText& item) {
      GALREC_CHECK(item.title == clean_text(item.title) &&
                   first_invalid_utf8(item.categories) == std::string_view::npos);
    });
  });
  attempt([&](LineReader& reader) { parse_date(reader, text); });
  return 0;
}
