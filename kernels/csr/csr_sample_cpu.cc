// Neighbour sampling on the CPU: Thrust over the nodes. What is done to a node is sample_one.h, which CUDA shares.

#include <omp.h>
#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/scan.h>
#include <thrust/system/omp/execution_policy.h>
#include <thrust/transform.h>

#include <limits>

#include "kernels/csr/csr.h"
#include "kernels/csr/sample_one.h"

namespace galrec {

namespace {

constexpr std::int64_t kSerialNodes = 1024;  // below this a parallel region costs more than it saves

// Count, scan, draw. Function objects rather than lambdas, so that a device compiler takes them as they are.
struct CountNeighbors {
  SampleProblem problem;
  GALREC_HOST_DEVICE std::int32_t operator()(std::int64_t n) const { return problem.count(n); }
};
struct DrawNeighbors {
  SampleProblem problem;
  const std::int32_t* ptr;
  std::int32_t* items;
  GALREC_HOST_DEVICE void operator()(std::int64_t n) const {
    std::int32_t picked[kMaxFanout];
    const std::int32_t size = ptr[n + 1] - ptr[n];
    problem.pick(n, size, {picked, 1});
    for (std::int32_t s = 0; s < size; ++s) items[ptr[n] + s] = problem.col_idx[picked[s]];
  }
};

template <class Policy>
void sample(const Policy& policy, const SampleProblem& problem, std::int64_t n, SampledNeighbors& out) {
  const thrust::counting_iterator<std::int64_t> first(0);
  std::int32_t* ptr = out.ptr.data();
  thrust::transform(policy, first, first + n, ptr + 1, CountNeighbors{problem});
  thrust::inclusive_scan(policy, ptr + 1, ptr + 1 + n, ptr + 1);
  out.items.resize(static_cast<std::size_t>(ptr[n]));
  thrust::for_each(policy, first, first + n, DrawNeighbors{problem, ptr, out.items.data()});
}

// Thrust's OpenMP backend takes as many threads as OpenMP would start: here, the context's.
class OmpThreads {
 public:
  explicit OmpThreads(int threads) : previous_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~OmpThreads() { omp_set_num_threads(previous_); }
  OmpThreads(const OmpThreads&) = delete;
  OmpThreads& operator=(const OmpThreads&) = delete;

 private:
  int previous_;
};

}  // namespace

void csr_sample(CpuContext& ctx, SampledNeighbors& out, const Csr& graph, View<const std::int32_t, 1> nodes,
                View<const std::int64_t, 1> draw_ids, View<const std::int32_t, 1> exclude,
                const SampleOptions& options) {
  const std::int64_t n = nodes.extent(0);
  GALREC_CHECK(options.fanout >= 1 && options.fanout <= kMaxFanout, "fanout {} is not in [1, {}]", options.fanout,
               kMaxFanout);
  GALREC_CHECK(draw_ids.extent(0) == n && exclude.extent(0) == n, "{} draw ids, {} exclusions for {} nodes",
               draw_ids.extent(0), exclude.extent(0), n);
  GALREC_CHECK(n <= std::numeric_limits<std::int32_t>::max() / options.fanout, "{} nodes of fanout {}", n,
               options.fanout);
  for (std::int64_t i = 0; i < n; ++i) {
    GALREC_CHECK(nodes[i] >= 0 && nodes[i] < graph.rows, "node {} of {} rows", nodes[i], graph.rows);
  }
  out.ptr.assign(static_cast<std::size_t>(n) + 1, 0);
  out.items.clear();
  if (n == 0) return;
  const SampleProblem problem{graph.row_ptr.data(), graph.col_idx.data(), nodes.data, exclude.data,
                              draw_ids.data,        options.fanout,       options.key};
  if (ctx.threads() == 1 || n < kSerialNodes || omp_in_parallel()) {
    sample(thrust::seq, problem, n, out);
  } else {
    const OmpThreads threads(ctx.threads());
    sample(thrust::omp::par, problem, n, out);
  }
}

}  // namespace galrec
