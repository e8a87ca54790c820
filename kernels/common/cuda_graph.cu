#include "kernels/common/cuda_graph.h"

#include <exception>

#include "kernels/common/context.h"
#include "kernels/common/device.h"
#include "kernels/common/launch.h"

namespace galrec {

CudaGraph::CudaGraph(CudaContext& ctx, const std::function<void()>& work) {
  // Of this thread only: others (a benchmark's, a loader's) go on allocating as they like.
  GALREC_CUDA_CHECK(cudaStreamBeginCapture(ctx.stream(), cudaStreamCaptureModeThreadLocal));
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  const cudaError_t ended = cudaStreamEndCapture(ctx.stream(), &graph_);
  if (failure) {
    cudaGetLastError();
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
    std::rethrow_exception(failure);
  }
  check_cuda(ended, "a step that is being captured waits, allocates, or copies: cudaStreamEndCapture", Place::here());
  std::size_t count = 0;
  const cudaError_t counted = cudaGraphGetNodes(graph_, nullptr, &count);
  const cudaError_t made = counted != cudaSuccess ? counted : cudaGraphInstantiate(&executable_, graph_, 0);
  if (made != cudaSuccess) cudaGraphDestroy(graph_);
  GALREC_CUDA_CHECK(made);
  nodes_ = static_cast<std::int64_t>(count);
}

CudaGraph::~CudaGraph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(executable_);
  if (graph_ != nullptr) cudaGraphDestroy(graph_);
}

void CudaGraph::launch(CudaContext& ctx) const {
  GALREC_CUDA_CHECK(cudaGraphLaunch(executable_, ctx.stream()));
}

}  // namespace galrec
