// T5's bucket tables: the recorded first distances, and the clamp.

#include "layers/t5/relative_buckets.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/common/check.h"

namespace galrec::layers {
namespace {

// First distance of each logarithmic bucket of 32 up to 128, as transformers has them.
const std::map<int, int> kEncoder = {{8, 8}, {9, 12}, {10, 16}, {11, 23}, {12, 32}, {13, 46}, {14, 64}, {15, 91}};
const std::map<int, int> kDecoder = {{16, 16}, {17, 19}, {18, 21}, {19, 24}, {20, 27}, {21, 31}, {22, 35}, {23, 40},
                                     {24, 46}, {25, 52}, {26, 59}, {27, 67}, {28, 77}, {29, 87}, {30, 99}, {31, 113}};

/// The bucket of a distance by the table of first distances.
int by_table(const std::map<int, int>& firsts, int distance) {
  if (distance < firsts.begin()->second) return distance;
  int bucket = 0;
  for (const auto& [b, first] : firsts) {
    if (distance >= first) bucket = b;
  }
  return bucket;
}

TEST(RelativeBuckets, EncoderHasTheRecordedBoundaries) {
  for (int d = 0; d <= 1000; ++d) {
    EXPECT_EQ(relative_bucket(-d, BucketDirection::kBidirectional, 32, 128), by_table(kEncoder, d)) << d;
    const int offset = d > 0 ? 16 : 0;
    EXPECT_EQ(relative_bucket(d, BucketDirection::kBidirectional, 32, 128), offset + by_table(kEncoder, d)) << d;
  }
}

TEST(RelativeBuckets, DecoderHasTheRecordedBoundaries) {
  for (int d = 0; d <= 1000; ++d) {
    EXPECT_EQ(relative_bucket(-d, BucketDirection::kCausal, 32, 128), by_table(kDecoder, d)) << d;
    EXPECT_EQ(relative_bucket(d, BucketDirection::kCausal, 32, 128), 0) << d;
  }
}

TEST(RelativeBuckets, TheTableIsTheFunctionClamped) {
  for (const auto direction : {BucketDirection::kBidirectional, BucketDirection::kCausal}) {
    for (const auto& [buckets, distance] : {std::pair{32, 128}, {8, 20}, {16, 9}, {6, 50}, {64, 512}}) {
      const BucketTable table(direction, buckets, distance);
      const auto view = table.view();
      ASSERT_EQ(view.max_distance(), distance);
      for (int r = -3 * distance; r <= 3 * distance; ++r) {
        const int clamped = std::clamp(r, -distance, distance);
        const int bucket = view.index[clamped + distance];
        EXPECT_EQ(bucket, relative_bucket(r, direction, buckets, distance)) << buckets << " " << distance << " " << r;
        EXPECT_TRUE(bucket >= 0 && bucket < buckets);
      }
    }
  }
}

TEST(RelativeBuckets, RejectARangeWithoutLogarithmicBuckets) {
  EXPECT_THROW(BucketTable(BucketDirection::kCausal, 32, 16), CheckError);
}

}  // namespace
}  // namespace galrec::layers
