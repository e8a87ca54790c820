#pragma once
// The Yelp Open Dataset: review.json and business.json, one JSON object a line.

#include <cstdint>
#include <string_view>

#include "data/interactions.h"
#include "data/readers/line_reader.h"

namespace galrec::data {

/// Reads user_id, business_id, stars and date ("2019-03-09 14:44:56" or "2019-03-09"); times are seconds since 1970.
Interactions read_yelp_reviews(LineReader& reader);

/// Reads business_id, name and categories ("A, B" or a list, joined by "; ") and gives them to `sink`.
void read_yelp_businesses(LineReader& reader, const ItemTextSink& sink);

/// Seconds from 1970-01-01 00:00:00 to `date` ("YYYY-MM-DD" or "YYYY-MM-DD hh:mm:ss", proleptic Gregorian calendar, no
/// time zone); fails through `reader` for anything else.
std::int64_t parse_date(const LineReader& reader, std::string_view date);

}  // namespace galrec::data
