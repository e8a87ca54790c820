#pragma once
// Amazon reviews and metadata of 2014, 2018 and 2023 (McAuley et al.): one object a line, plain or gzip.

#include "data/interactions.h"
#include "data/readers/line_reader.h"

namespace galrec::data {

/// The releases differ in their keys:
///   2014  reviewerID asin overall unixReviewTime (s)        metadata: Python literals, `categories` a list of paths
///   2018  the same                                          metadata: JSON, `category` one path
///   2023  user_id parent_asin rating timestamp (ms)         metadata: JSON, parent_asin, `categories` one path
enum class AmazonRelease { k2014, k2018, k2023 };

/// Reads reviews (JSON lines). Times stay in the release's unit. Throws DataError with file, line and key.
Interactions read_amazon_reviews(LineReader& reader, AmazonRelease release);

/// Reads metadata and gives title and categories (levels joined by " > ", paths by "; ") of each item to `sink`, with
/// HTML entities decoded.
void read_amazon_items(LineReader& reader, AmazonRelease release, const ItemTextSink& sink);

}  // namespace galrec::data
