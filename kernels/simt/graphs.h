#pragma once
// Graphs: what a stream was given between cudaStreamBeginCapture and cudaStreamEndCapture, to be run as often as one
// likes. A graph is a list here: the order of capture is one of those that its dependencies allow.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels/simt/device_memory.h"
#include "kernels/simt/grid.h"
#include "kernels/simt/runtime.h"

namespace galrec::simt {

/// One kernel, copy or memset.
struct GraphNode {
  std::string name;            // for reports: "kernel add", "memcpy"
  std::function<void()> run;   // may be called many times
  std::vector<std::byte> key;  // kernel and argument bytes, or sides, size and value: equal for equal work
  /// An allocation that the node was captured with: a word of its arguments points there.
  struct Use {
    std::size_t offset = 0;  // in `key`
    Allocation allocation;
  };
  std::vector<Use> uses;
};

/// The device memory that words of `bytes` point to.
std::vector<GraphNode::Use> find_uses(const std::vector<std::byte>& bytes);

/// A capture in progress.
struct Capture {
  CUgraph_st* graph = nullptr;
  CUstream_st* origin = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  cudaError_t broken = cudaSuccess;              // what made it invalid
  std::map<CUstream_st*, std::uint64_t> joined;  // other streams that were drawn in by events: pieces of work since
  std::map<CUstream_st*, bool> open;             // which of them nobody has waited for since
};

/// The capture that `stream` is part of, or null.
Capture* capture_of(const CUstream_st* stream);
/// Takes a piece of work of a capturing stream. cudaErrorStreamCaptureInvalidated where the capture is broken.
cudaError_t add_node(Capture& capture, CUstream_st* stream, GraphNode node);
/// Why the calling thread may not do what could disturb a capture (allocate, wait for the device); cudaSuccess where it
/// may. The capture is invalid afterwards, as in CUDA.
cudaError_t forbidden_while_capturing();
/// Invalidates a capture; returns `error`.
cudaError_t break_capture(Capture& capture, cudaError_t error);

/// Where two graphs differ: "node 3 (kernel add): bytes 24 to 31 of the arguments"; empty: nowhere. Two captures of one
/// step that differ hold a host value which changes from step to step. Needs GALREC_SIMT_CLEARS_PADDING (grid.h).
std::string first_difference(const CUgraph_st& a, const CUgraph_st& b);

}  // namespace galrec::simt

struct CUgraph_st {
  std::vector<galrec::simt::GraphNode> nodes;
};
struct CUgraphExec_st {
  std::shared_ptr<const std::vector<galrec::simt::GraphNode>> nodes;
};
