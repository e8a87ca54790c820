// Neighbour sampling: one Thrust source for every backend; only the policy differs.

#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/scan.h>
#include <thrust/system/omp/execution_policy.h>
#include <thrust/transform.h>

#include "kernels/csr/csr.h"
#include "kernels/csr/sample_one.h"

namespace galrec {

namespace {

struct Problem {
  const std::int32_t *row_ptr, *col_idx, *nodes, *exclude;
  const std::int64_t* draw_ids;
  std::int32_t fanout;
  PhiloxKey key;

  GALREC_HOST_DEVICE std::int32_t count(std::int64_t n) const {
    const std::int32_t node = nodes[n];
    return sample_count(col_idx + row_ptr[node], row_ptr[node + 1] - row_ptr[node], exclude[n], fanout);
  }
  GALREC_HOST_DEVICE void draw(std::int64_t n, const std::int32_t* ptr, std::int32_t* out) const {
    const std::int32_t node = nodes[n];
    sample_one(out + ptr[n], ptr[n + 1] - ptr[n], col_idx + row_ptr[node], row_ptr[node + 1] - row_ptr[node], exclude[n], draw_ids[n], key);
  }
};

// The OpenMP backend starts as many threads as OpenMP wants; a small batch is not worth one.
template <class Policy>
void sample(const Policy& policy, const Problem& p, std::int64_t n, SampledNeighbors& out) {
  const thrust::counting_iterator<std::int64_t> first(0);
  thrust::transform(policy, first, first + n, out.ptr.data() + 1, [p](std::int64_t i) { return p.count(i); });
  thrust::inclusive_scan(policy, out.ptr.data() + 1, out.ptr.data() + 1 + n, out.ptr.data() + 1);
  out.items.resize(static_cast<std::size_t>(out.ptr[static_cast<std::size_t>(n)]));
  thrust::for_each(policy, first, first + n, [p, ptr = out.ptr.data(), items = out.items.data()](std::int64_t i) { p.draw(i, ptr, items); });
}

constexpr std::int64_t kSerialNodes = 4096;

}  // namespace

void csr_sample(CpuContext& ctx, SampledNeighbors& out, const Csr& graph, View<const std::int32_t, 1> nodes, View<const std::int64_t, 1> draw_ids,
                View<const std::int32_t, 1> exclude, const SampleOptions& options) {
  const std::int64_t n = nodes.extent(0);
  GALREC_CHECK(options.fanout >= 1 && options.fanout <= kMaxFanout, "fanout {} is not in [1, {}]", options.fanout, kMaxFanout);
  GALREC_CHECK(draw_ids.extent(0) == n && exclude.extent(0) == n, "{} draw ids, {} exclusions for {} nodes", draw_ids.extent(0), exclude.extent(0), n);
  for (std::int64_t i = 0; i < n; ++i) GALREC_CHECK(nodes[i] >= 0 && nodes[i] < graph.rows, "node {} of {} rows", nodes[i], graph.rows);
  out.ptr.assign(static_cast<std::size_t>(n) + 1, 0);
  out.items.clear();
  const Problem problem{graph.row_ptr.data(), graph.col_idx.data(), nodes.data, exclude.data, draw_ids.data, options.fanout, options.key};
  if (n == 0) return;
  if (ctx.threads() == 1 || n < kSerialNodes) sample(thrust::seq, problem, n, out);
  else sample(thrust::omp::par, problem, n, out);
}

}  // namespace galrec
