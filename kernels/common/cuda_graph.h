#pragma once
// A CUDA graph of what a CudaContext's stream was given, launched as one piece. Arguments of kernels are those of the
// capture: what changes from launch to launch is read from device memory.

#include <cstdint>
#include <functional>

struct CUgraph_st;
struct CUgraphExec_st;

namespace galrec {

class CudaContext;

class CudaGraph {
 public:
  /// Calls `work` while the context's stream captures: nothing runs, host code does. Error that says what stands in the
  /// way, with the stream as it was before: work that waits, allocates, or copies between host and device cannot be
  /// captured.
  CudaGraph(CudaContext& ctx, const std::function<void()>& work);
  ~CudaGraph();
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  /// Queues all of it on the stream of the context that it was captured from.
  void launch(CudaContext& ctx) const;
  /// Kernels, copies and memsets in it.
  std::int64_t nodes() const { return nodes_; }
  CUgraph_st* graph() const { return graph_; }

 private:
  CUgraph_st* graph_ = nullptr;
  CUgraphExec_st* executable_ = nullptr;
  std::int64_t nodes_ = 0;
};

}  // namespace galrec
