#include "kernels/simt/graphs.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/simt/streams.h"

namespace galrec::simt {

namespace {

struct Captures {
  std::mutex mutex;
  std::vector<std::shared_ptr<Capture>> active;
};

Captures& captures() {
  static Captures* all = new Captures;  // never destroyed, as the streams
  return *all;
}

/// A word of a node's key points to memory that is gone, or that somebody else has by now.
std::string dangling(const std::vector<GraphNode>& nodes) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const GraphNode::Use& use : nodes[i].uses) {
      const Allocation now = find_allocation(use.allocation.begin);
      if (now.begin == use.allocation.begin && now.number == use.allocation.number) continue;
      return fmt::format(
          "node {} ({}) of the graph names device memory that was freed after the capture: {} bytes at {}, byte {} of "
          "its arguments",
          i, nodes[i].name, use.allocation.bytes, static_cast<const void*>(use.allocation.begin), use.offset);
    }
  }
  return {};
}

}  // namespace

std::vector<GraphNode::Use> find_uses(const std::vector<std::byte>& bytes) {
  std::vector<GraphNode::Use> uses;
  for (std::size_t at = 0; at + sizeof(void*) <= bytes.size(); at += sizeof(void*)) {
    const void* p = nullptr;
    std::memcpy(&p, bytes.data() + at, sizeof(p));
    if (const Allocation block = find_allocation(p); block.begin != nullptr) uses.push_back({at, block});
  }
  return uses;
}

Capture* capture_of(const CUstream_st* stream) {
  return stream == nullptr ? nullptr : stream->capture.get();
}

cudaError_t add_node(Capture& capture, CUstream_st* stream, GraphNode node) {
  if (capture.broken != cudaSuccess) return result(cudaErrorStreamCaptureInvalidated);
  node.uses = find_uses(node.key);
  capture.graph->nodes.push_back(std::move(node));
  ++capture.joined[stream];
  capture.open[stream] = true;
  return cudaSuccess;
}

cudaError_t break_capture(Capture& capture, cudaError_t error) {
  if (capture.broken == cudaSuccess) capture.broken = error;
  return error;
}

cudaError_t forbidden_while_capturing() {
  const std::lock_guard lock(captures().mutex);
  for (const auto& capture : captures().active) {
    const bool concerned =
        capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    if (concerned)
      return break_capture(
          *capture, capture->origin->blocking ? cudaErrorStreamCaptureImplicit : cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}

bool postpones(const CUstream_st* stream) {
  return streams_are_deferred() || capture_of(stream) != nullptr;
}

void postpone(CUstream_st* stream, const Launch& launch, std::shared_ptr<void> arguments, std::vector<std::byte> key) {
  check_launch(launch);
  Launch kept = launch;
  kept.arguments = arguments.get();
  auto run = [kept, arguments] { run_grid(kept); };
  Capture* capture = capture_of(stream);
  if (capture == nullptr) return enqueue(stream, std::move(run));
  for (const unsigned extent : {launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y,
                                launch.block.z, static_cast<unsigned>(launch.shared_bytes)}) {
    const auto* part = reinterpret_cast<const std::byte*>(&extent);
    key.insert(key.end(), part, part + sizeof(extent));
  }
  const std::string name = name_of_kernel(launch.kernel);
  if (const cudaError_t error = add_node(*capture, stream, {"kernel " + name, std::move(run), std::move(key), {}});
      error != cudaSuccess) {
    throw Error(
        fmt::format("{}:{}: launch of {}: {}", launch.where.file, launch.where.line, name, cudaGetErrorString(error)));
  }
}

std::string first_difference(const CUgraph_st& a, const CUgraph_st& b) {
  const std::size_t shared = std::min(a.nodes.size(), b.nodes.size());
  for (std::size_t i = 0; i < shared; ++i) {
    const GraphNode &x = a.nodes[i], &y = b.nodes[i];
    if (x.name != y.name) return fmt::format("node {}: {} and {}", i, x.name, y.name);
    if (x.key == y.key) continue;
    const auto at = static_cast<std::size_t>(
        std::mismatch(x.key.begin(), x.key.end(), y.key.begin(), y.key.end()).first - x.key.begin());
    return fmt::format("node {} ({}): byte {} of {} argument bytes", i, x.name, at, x.key.size());
  }
  return a.nodes.size() == b.nodes.size() ? "" : fmt::format("{} and {} nodes", a.nodes.size(), b.nodes.size());
}

}  // namespace galrec::simt

using galrec::simt::Capture;
using galrec::simt::captures;
using galrec::simt::fail;
using galrec::simt::result;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr) return result(cudaErrorStreamCaptureUnsupported);
  if (stream->capture != nullptr) return result(cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>();
  capture->graph = new CUgraph_st;
  capture->origin = stream;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  stream->capture = capture;
  const std::lock_guard lock(captures().mutex);
  captures().active.push_back(std::move(capture));
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (stream == nullptr || stream->capture == nullptr) return result(cudaErrorIllegalState);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture->origin != stream) return result(break_capture(*capture, cudaErrorStreamCaptureUnmatched));
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
    return result(break_capture(*capture, cudaErrorStreamCaptureWrongThread));
  }
  cudaError_t error = capture->broken == cudaSuccess ? cudaSuccess : cudaErrorStreamCaptureInvalidated;
  for (const auto& [other, open] : capture->open) {
    if (other != stream && open && error == cudaSuccess) error = cudaErrorStreamCaptureUnjoined;
    other->capture = nullptr;
  }
  stream->capture = nullptr;
  {
    const std::lock_guard lock(captures().mutex);
    std::erase(captures().active, capture);
  }
  if (error == cudaSuccess)
    *graph = capture->graph;
  else
    delete capture->graph;
  return result(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Capture* capture = galrec::simt::capture_of(stream);
  if (capture == nullptr)
    *status = cudaStreamCaptureStatusNone;
  else
    *status = capture->broken == cudaSuccess ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = nullptr;
  if (graph == nullptr) return result(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{std::make_shared<const std::vector<galrec::simt::GraphNode>>(graph->nodes)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (executable == nullptr || stream == nullptr) return result(cudaErrorInvalidValue);
  if (const std::string text = galrec::simt::dangling(*executable->nodes); !text.empty())
    return fail(cudaErrorIllegalAddress, text);
  if (Capture* capture = galrec::simt::capture_of(stream)) {
    for (const auto& node : *executable->nodes) {
      if (const cudaError_t error = add_node(*capture, stream, node); error != cudaSuccess) return error;
    }
  } else if (galrec::simt::streams_are_deferred()) {
    for (std::size_t i = 0; i < executable->nodes->size(); ++i) {
      galrec::simt::enqueue(stream, [nodes = executable->nodes, i] { (*nodes)[i].run(); });
    }
  } else {
    try {
      for (const auto& node : *executable->nodes) node.run();
    } catch (const std::exception& error) {
      return fail(cudaErrorLaunchFailure, error.what());
    }
  }
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (graph == nullptr || nodes != nullptr) return result(cudaErrorInvalidValue);
  *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;  // what is queued keeps its nodes
  return cudaSuccess;
}
