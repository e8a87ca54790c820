#include "kernels/simt/thread_pool.h"

namespace galrec::simt {

ThreadPool& ThreadPool::shared() {
  static ThreadPool pool;
  return pool;
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::run(int threads, const std::function<void()>& work) {
  const std::unique_lock mine(callers_, std::try_to_lock);
  if (!mine.owns_lock() || threads <= 1) return work();
  const int helpers = threads - 1;
  {
    const std::lock_guard lock(mutex_);
    while (static_cast<int>(threads_.size()) < helpers) threads_.emplace_back([this] { serve(); });
    work_ = &work;
    wanted_ = helpers;
  }
  for (int i = 0; i < helpers; ++i) wake_.notify_one();
  work();
  std::unique_lock lock(mutex_);
  work_ = nullptr;
  wanted_ = 0;
  done_.wait(lock, [this] { return working_ == 0; });
}

void ThreadPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return closing_ || wanted_ > 0; });
    if (closing_) return;
    --wanted_;
    ++working_;
    const auto* work = work_;
    lock.unlock();
    (*work)();
    lock.lock();
    if (--working_ == 0) done_.notify_one();
  }
}

}  // namespace galrec::simt
