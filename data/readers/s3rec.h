#pragma once
// S3-Rec's text: one user a line, "user item item ...", oldest interaction first. P5 and LLM-RecSys-ID use the same.

#include <cstdint>
#include <optional>
#include <vector>

#include "data/interactions.h"
#include "data/readers/line_reader.h"

namespace galrec::data {

/// Users' sequences as one flat CSR: user u owns items[offsets[u] .. offsets[u + 1]).
struct Sequences {
  std::vector<std::int64_t> offsets{0};
  std::vector<ItemId> items;
  std::int32_t num_items = 0;
};

/// Reads numbered sequences: users numbered by line from 1, item ids from 1 to `num_items`. Without `num_items` the ids
/// must have no gaps. Ids are 0-based in the result. Throws DataError with file and line for an empty line, a user
/// without items, a user out of turn or a second time, and ids that are 0, out of range or not numbers.
Sequences read_s3rec(LineReader& reader, std::optional<std::int32_t> num_items = std::nullopt);

/// Reads times.txt, the companion of the same shape: "user time time ...", never falling within a line. Returns them in
/// the order of `sequences.items`.
std::vector<std::int64_t> read_s3rec_times(LineReader& reader, const Sequences& sequences);

/// The same layout with raw ids (any tokens without blanks) for `prepare`: no times, no ratings, file order.
Interactions read_s3rec_interactions(LineReader& reader);

}  // namespace galrec::data
