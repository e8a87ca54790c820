#pragma once
// Steps of a few shapes that come again and again: the first of a shape runs as it is written, the second is captured
// in a CUDA graph, all others are one launch of it. On the CPU every step runs as it is written.

#include <any>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/context.h"
#include "kernels/common/cuda_graph.h"

namespace galrec {

/// How a step was run.
enum class StepRun { kEager, kCaptured, kReplayed };

class StepGraphs {
 public:
  /// All that a graph is specific to: extents, counts, whatever the host decides by. Values that are not in the key
  /// must be read from device memory.
  using Key = std::vector<std::int64_t>;

  /// How steps were run so far.
  struct Counts {
    std::int64_t eager = 0;
    std::int64_t captured = 0;
    std::int64_t replayed = 0;
  };

  /// Keeps at most `most` graphs, those used last.
  explicit StepGraphs(const Device& device, std::size_t most = 64) : device_(device), most_(most) {}

  /// Does the work, once, in one of the three ways. `work` gives the device something to do and leaves the host as it
  /// was: it is not called for a replay, and twice where its capture fails. What fails to be captured runs eagerly;
  /// after three failures in a row nothing is captured any more, and failure() says why. Graphs are forgotten as soon
  /// as the device's memory was given back in part: they may name it.
  StepRun run(const Key& key, const std::function<void()>& work);

  /// What the host remembers of the captured work for its replays, empty at first; forgotten with the graph. CheckError
  /// for a key without a graph.
  std::any& outcome(const Key& key);

  const Counts& counts() const { return counts_; }
  std::size_t size() const { return graphs_.size(); }
  /// Why captures failed; empty where none did. The last one.
  const std::string& failure() const { return failure_; }
  bool gave_up() const { return failures_ >= kMostFailures; }
  /// From now on every replay is preceded by another capture of the same work, and `inspect` gets both: where they
  /// differ, the work holds a host value that the key should have had or the device should read. For tests.
  using Inspect = std::function<void(const CudaGraph& replayed, const CudaGraph& fresh)>;
  void inspect_replays(Inspect inspect) { inspect_ = std::move(inspect); }

 private:
  static constexpr int kMostFailures = 3;
  struct Entry {
    std::shared_ptr<CudaGraph> graph;  // null: the key was seen once
    std::list<Key>::iterator used;     // in order_
    std::any outcome{};
  };

  template <class Context>  // so that a build without CUDA, which has no CudaGraph, links
  StepRun run_on(Context& ctx, const Key& key, const std::function<void()>& work);
  Entry& touch(const Key& key, bool& seen);

  Device device_;
  std::size_t most_;
  std::map<Key, Entry> graphs_;
  std::list<Key> order_;  // of keys, those used last in front
  std::int64_t releases_ = 0;
  Counts counts_;
  Inspect inspect_;
  int failures_ = 0;
  std::string failure_;
};

}  // namespace galrec
