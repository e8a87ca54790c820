#pragma once
// Repeats part of a CUDA test under every order in which the executor can run lanes and blocks; on a device, which has
// orders of its own, several times.

#include <string>

#if defined(GALREC_CUDA_EMULATED)
#include "kernels/simt/schedule.h"
#endif

namespace galrec::test {

/// f(description) each time.
template <class F>
void for_each_schedule(F&& f) {
#if defined(GALREC_CUDA_EMULATED)
  const char* names[] = {"forward", "reverse", "shuffled"};
  for (const auto lanes : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kShuffled}) {
    for (const auto blocks : {simt::Order::kForward, simt::Order::kReverse, simt::Order::kShuffled}) {
      for (const int threads : {1, 3}) {
        if (threads == 3 && lanes != blocks) continue;
        const simt::ScheduleScope scope({.lanes = lanes, .blocks = blocks, .seed = 7, .os_threads = threads});
        f(std::string("lanes ") + names[static_cast<int>(lanes)] + ", blocks " + names[static_cast<int>(blocks)] +
          ", threads " + std::to_string(threads));
      }
    }
  }
#else
  for (int run = 1; run <= 3; ++run) f("run " + std::to_string(run));
#endif
}

}  // namespace galrec::test
