// S3-Rec text in both readings, and times.txt against the sequences. Only DataError may leave the readers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "data/readers/s3rec.h"
#include "kernels/common/check.h"

using namespace galrec::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto attempt = [](auto&& read) {
    try {
      read();
    } catch (const galrec::DataError&) {
    }
  };
  attempt([&] {
    LineReader reader(text, "fuzz");
    const Sequences sequences = read_s3rec(reader);
    for (const ItemId item : sequences.items) GALREC_CHECK(item >= 0 && item < sequences.num_items);
    LineReader times(text, "fuzz");
    read_s3rec_times(times, sequences);
  });
  attempt([&] {
    LineReader reader(text, "fuzz");
    read_s3rec(reader, 100);
  });
  attempt([&] {
    LineReader reader(text, "fuzz");
    read_s3rec_interactions(reader);
  });
  return 0;
}
