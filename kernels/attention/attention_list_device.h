#pragma once
// Work lists: which (sequence, tile) a block of threads works on. Built on the device, where the lengths are; the host
// knows only how long a list can get.

#include <cstdint>

#include "kernels/attention/attention_device.h"
#include "kernels/common/context.h"

namespace galrec::attention_cuda {

/// Rows [first, first + tile) of a sequence; what a row is, the list's kernel knows.
struct WorkItem {
  int sequence, first;
};

/// A list in device memory, expensive items first.
struct WorkList {
  const WorkItem* items = nullptr;
  const int* count = nullptr;
  std::int64_t capacity = 0;  // the grid is sized by this
  int tile = 1;               // rows per item
};

enum class Side { kQueries, kKeys, kWhole };

inline constexpr int kNoLimit = 1 << 30;

/// Sequences whose longer side has `shortest` to `longest` rows, without those of `skip_from` to `skip_to`, cut into tiles
/// of `tile` rows of a side; kWhole: one item each.
struct ListRequest {
  int shortest = 1, longest = kNoLimit;
  Side side = Side::kWhole;
  int tile = kNoLimit;
  int skip_from = 1, skip_to = 0;
};

struct Extents {
  std::int64_t batch, tq, tk;
};

/// Fills one list per request, in memory of `scratch`, with one launch. Reports offsets out of order; such sequences
/// are left out.
inline constexpr int kMaxLists = 6;
void build_lists(CudaContext& ctx, Arena& scratch, const Common& common, const Extents& extents,
                 const ListRequest* requests, int count, WorkList* lists);

}  // namespace galrec::attention_cuda
