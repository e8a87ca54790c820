#include "kernels/common/step_graphs.h"

#include <type_traits>

#include "kernels/common/check.h"

namespace galrec {

StepGraphs::Entry& StepGraphs::touch(const Key& key, bool& seen) {
  auto found = graphs_.find(key);
  seen = found != graphs_.end();
  if (seen) {
    order_.splice(order_.begin(), order_, found->second.used);
    return found->second;
  }
  if (graphs_.size() >= most_) {
    graphs_.erase(order_.back());
    order_.pop_back();
  }
  order_.push_front(key);
  return graphs_.emplace(key, Entry{nullptr, order_.begin()}).first->second;
}

template <class Context>
StepRun StepGraphs::run_on(Context& ctx, const Key& key, const std::function<void()>& work) {
  if (ctx.memory().releases() != releases_) {
    for (auto& [other, entry] : graphs_) {
      entry.graph.reset();
      entry.outcome.reset();
    }
    releases_ = ctx.memory().releases();
  }
  bool seen = false;
  Entry& entry = touch(key, seen);
  if (entry.graph != nullptr) {
    if (inspect_) inspect_(*entry.graph, CudaGraph(ctx, work));
    entry.graph->launch(ctx);
    return StepRun::kReplayed;
  }
  if (seen && !gave_up()) {
    try {
      entry.graph = std::make_shared<CudaGraph>(ctx, work);
      failures_ = 0;
    } catch (const Error& error) {
      failure_ = error.what();
      ++failures_;
    }
    if (entry.graph != nullptr) {
      entry.graph->launch(ctx);
      return StepRun::kCaptured;
    }
  }
  work();
  return StepRun::kEager;
}

std::any& StepGraphs::outcome(const Key& key) {
  const auto found = graphs_.find(key);
  GALREC_CHECK(found != graphs_.end() && found->second.graph != nullptr, "a step of this key has no graph");
  return found->second.outcome;
}

StepRun StepGraphs::run(const Key& key, const std::function<void()>& work) {
  const StepRun how = dispatch<float>(device_, [&](auto& ctx) {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(ctx)>, CudaContext>) {
      return run_on(ctx, key, work);
    } else {
      work();
      return StepRun::kEager;
    }
  });
  std::int64_t& count = how == StepRun::kEager      ? counts_.eager
                        : how == StepRun::kCaptured ? counts_.captured
                                                    : counts_.replayed;
  ++count;
  return how;
}

}  // namespace galrec
