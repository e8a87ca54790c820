#pragma once
// A fiber: a stack of its own and a place in the code at which it was left. A switch saves six registers and jumps (x86-64);
// elsewhere, or with GALREC_SIMT_UCONTEXT, it goes through ucontext.

#include <cstddef>
#include <memory>

#include "kernels/simt/sanitizers.h"

#if defined(__x86_64__) && !defined(GALREC_SIMT_UCONTEXT)
#define GALREC_SIMT_ASSEMBLY 1
/// Keeps the callee-saved registers on the running stack and its pointer in *save, then goes on with the stack at `load`.
extern "C" void galrec_simt_switch(void** save, void* load);
#else
#define GALREC_SIMT_ASSEMBLY 0
#endif

namespace galrec::simt {

class Fiber {
 public:
  /// Stands for the OS thread that creates it, on the stack that the thread has.
  Fiber();
  /// Runs `entry`, which must not return, when it is first switched to. `color` spreads the tops of many stacks over cache sets.
  Fiber(void (*entry)(), unsigned color);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves `from`, which must be running, and goes on where `to` was left. Both belong to one OS thread.
  static void switch_to(Fiber& from, Fiber& to);
  /// Forgets where the fiber was left: it starts anew. Nothing on its stack is unwound.
  void restart();
  /// What sanitizers want to know when a fiber runs for the first time. `entry` calls it first.
  void started();
  /// Whether `p` points into its stack; false for the OS thread's.
  bool holds(const void* p) const {
    const auto* at = static_cast<const std::byte*>(p);
    return at >= stack_ && at < stack_ + stack_bytes_;
  }

 private:
  struct Context;
  static void swap_contexts(Fiber& from, Fiber& to);
  void* stack_pointer_ = nullptr;
  void* sanitizer_state_ = nullptr;
  std::byte* stack_ = nullptr;  // lowest usable byte; a guard page lies below
  std::size_t stack_bytes_ = 0;
  void (*entry_)() = nullptr;
  std::size_t color_bytes_ = 0;
  std::unique_ptr<Context> context_;
};

inline void Fiber::switch_to(Fiber& from, Fiber& to) {
  start_switch(&from.sanitizer_state_, to.stack_, to.stack_bytes_);
#if GALREC_SIMT_ASSEMBLY
  galrec_simt_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  swap_contexts(from, to);
#endif
  finish_switch(from.sanitizer_state_);
}

}  // namespace galrec::simt
