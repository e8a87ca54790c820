#include "kernels/attention/attention_work_cpu.h"

namespace galrec::attention_detail {

namespace {

std::int64_t check_offsets(View<const std::int32_t, 1> cu, std::int64_t rows, const char* what) {
  GALREC_CHECK(cu.extent(0) >= 1, "{} has no elements", what);
  GALREC_CHECK(cu[0] == 0 && cu[cu.extent(0) - 1] == rows, "{} runs from {} to {}, rows {}", what, cu[0], cu[cu.extent(0) - 1], rows);
  std::int64_t longest = 0;
  for (std::int64_t b = 0; b + 1 < cu.extent(0); ++b) {
    GALREC_CHECK(cu[b] <= cu[b + 1], "{} falls from {} to {} at {}", what, cu[b], cu[b + 1], b);
    longest = std::max<std::int64_t>(longest, cu[b + 1] - cu[b]);
  }
  return longest;
}

}  // namespace

Problem check_problem(const std::array<std::int64_t, 2>& q, const std::array<std::int64_t, 2>& k, const std::array<std::int64_t, 2>& v,
                      View<const std::int32_t, 1> cu_q, View<const std::int32_t, 1> cu_k, const std::array<std::int64_t, 2>& table,
                      const RelativeBuckets& buckets, const AttentionOptions& options) {
  GALREC_CHECK(options.heads > 0 && q[1] > 0 && q[1] % options.heads == 0, "{} columns for {} heads", q[1], options.heads);
  GALREC_CHECK(k == v && k[1] == q[1], "q ({}, {}), k ({}, {}), v ({}, {})", q[0], q[1], k[0], k[1], v[0], v[1]);
  GALREC_CHECK(cu_q.extent(0) == cu_k.extent(0), "{} and {} offsets", cu_q.extent(0), cu_k.extent(0));
  Problem p{.batch = cu_q.extent(0) - 1, .heads = options.heads, .dim = q[1] / options.heads, .cu_q = cu_q.data, .cu_k = cu_k.data, .options = options};
  p.max_q = check_offsets(cu_q, q[0], "cu_q");
  p.max_k = check_offsets(cu_k, k[0], "cu_k");
  GALREC_CHECK(p.max_k <= kMaxKeys, "a sequence of {} keys; at most {}", p.max_k, kMaxKeys);
  if (table[0] > 0) {
    GALREC_CHECK(table[1] == p.heads, "a bias table of {} columns for {} heads", table[1], p.heads);
    GALREC_CHECK(buckets.index.extent(0) % 2 == 1, "{} bucket indices: expected an odd number, one per distance", buckets.index.extent(0));
    for (std::int64_t i = 0; i < buckets.index.extent(0); ++i) {
      GALREC_CHECK(buckets.index[i] >= 0 && buckets.index[i] < table[0], "bucket {} of {}", buckets.index[i], table[0]);
    }
  }
  return p;
}

WorkList::WorkList(Arena& scratch, const Problem& p) : heads_(p.heads), order_(scratch.alloc<std::int32_t>(p.batch)) {
  // A counting sort by the logarithm of the cost: nearly longest first is enough, and linear in the batch.
  constexpr std::int64_t kFixedCost = 32, kGroupProducts = std::int64_t{1} << 19;
  const auto cost = [&](std::int64_t b) { return (p.queries(b) * p.keys(b) + p.queries(b) + p.keys(b) + kFixedCost) * p.dim; };
  const auto rank = [&](std::int64_t b) { return 64 - std::bit_width(static_cast<std::uint64_t>(cost(b))); };
  std::int32_t first[66] = {};
  for (std::int64_t b = 0; b < p.batch; ++b) ++first[rank(b) + 1];
  for (int r = 1; r < 66; ++r) first[r] += first[r - 1];
  for (std::int64_t b = 0; b < p.batch; ++b) order_[first[rank(b)]++] = static_cast<std::int32_t>(b);

  bounds_ = scratch.alloc<std::int64_t>(p.batch * p.heads + 1);
  bounds_[0] = 0;
  std::int64_t gathered = 0;
  for (std::int64_t i = 0; i < p.batch; ++i) {
    const std::int64_t each = cost(order_[i]);
    const bool apart = each * p.heads > kGroupProducts;  // its heads may go to several groups
    for (std::int64_t h = 0; h < p.heads; ++h) {
      gathered += each;
      if (gathered < kGroupProducts || (!apart && h + 1 < p.heads)) continue;
      bounds_[++groups_] = i * p.heads + h + 1;
      gathered = 0;
    }
  }
  if (bounds_[groups_] < p.batch * p.heads) bounds_[++groups_] = p.batch * p.heads;
}

template <class T>
BiasLines<T>::BiasLines(Arena& scratch, const Problem& p, ConstView<T, 2> table, const RelativeBuckets& buckets)
    : stride_(table.empty() ? 0 : length(p)), max_q_(p.max_q) {
  const std::int64_t n = length(p);
  data_ = scratch.alloc<T>(table.empty() ? n : n * p.heads);
  if (table.empty()) {
    std::fill_n(data_, n, T(0));
    return;
  }
  const std::int64_t reach = buckets.max_distance();
  for (std::int64_t t = 0; t < n; ++t) {
    const std::int64_t distance = std::clamp(t - (max_q_ - 1), -reach, reach);
    const T* values = table.row(buckets.index[distance + reach]);
    for (std::int64_t h = 0; h < p.heads; ++h) data_[h * n + t] = values[h];
  }
}

template class BiasLines<float>;
template class BiasLines<double>;

}  // namespace galrec::attention_detail
