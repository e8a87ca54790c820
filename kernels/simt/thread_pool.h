#pragma once
// OS threads that help with a grid. They sleep between grids; whoever wakes too late for one does not join it.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace galrec::simt {

class ThreadPool {
 public:
  static ThreadPool& shared();

  ThreadPool() = default;
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Calls `work` here and in up to `threads` - 1 other threads at the same time; returns when all have returned. `work` shares
  /// itself out and must not throw. Alone, if the pool is busy with another caller's work.
  void run(int threads, const std::function<void()>& work);

 private:
  void serve();

  std::mutex callers_;  // held by the one whose work is being done
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  const std::function<void()>* work_ = nullptr;
  int wanted_ = 0;   // helpers that may still join
  int working_ = 0;  // helpers that have joined
  bool closing_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace galrec::simt
