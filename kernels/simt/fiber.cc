#include "kernels/simt/fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <new>

#if !GALREC_SIMT_ASSEMBLY
#include <ucontext.h>
#endif

namespace galrec::simt {

namespace {
constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = kAddressSanitizer ? std::size_t{512} << 10 : std::size_t{128} << 10;
}  // namespace

#if GALREC_SIMT_ASSEMBLY

// Callee-saved registers go to the old stack, the stack pointer changes, registers come from the new one. It ends in a jump: a
// `ret` would miss the processor's return predictor each time (measured: 26 ns instead of 6 ns for a round trip).
asm(R"(
  .text
  .p2align 4
  .globl galrec_simt_switch
  .hidden galrec_simt_switch
  .type galrec_simt_switch, @function
galrec_simt_switch:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rdx
  jmp *%rdx
  .cfi_endproc
  .size galrec_simt_switch, .-galrec_simt_switch
)");

struct Fiber::Context {};
void Fiber::swap_contexts(Fiber&, Fiber&) {}

#else

struct Fiber::Context {
  ucontext_t at{};
};
void Fiber::swap_contexts(Fiber& from, Fiber& to) { swapcontext(&from.context_->at, &to.context_->at); }

#endif

Fiber::Fiber() : context_(std::make_unique<Context>()) {
  if constexpr (kAddressSanitizer) {
    pthread_attr_t attributes;
    void* lowest = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      pthread_attr_getstack(&attributes, &lowest, &stack_bytes_);
      pthread_attr_destroy(&attributes);
      stack_ = static_cast<std::byte*>(lowest);
    }
  }
}

Fiber::Fiber(void (*entry)(), unsigned color)
    : stack_bytes_(kStackBytes), entry_(entry), color_bytes_(color % 61 * 64), context_(std::make_unique<Context>()) {
  // Stacks at distances that are powers of two would fall into the same cache sets: the guard page makes the distance uneven,
  // the colour moves the top within its page.
  void* mapped = mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapped, kPage, PROT_NONE);
  stack_ = static_cast<std::byte*>(mapped) + kPage;
  restart();
}

Fiber::~Fiber() {
  if (entry_ == nullptr) return;
  unpoison(stack_, stack_bytes_);
  munmap(stack_ - kPage, stack_bytes_ + kPage);
}

void Fiber::restart() {
  unpoison(stack_, stack_bytes_);
  sanitizer_state_ = nullptr;
#if GALREC_SIMT_ASSEMBLY
  // The topmost word is the return address that `entry` never uses; the stack is 8 below a multiple of 16 at its entry.
  auto* top = reinterpret_cast<void**>(stack_ + stack_bytes_ - color_bytes_) - 2;
  top[0] = reinterpret_cast<void*>(entry_);
  top[1] = nullptr;
  for (int i = 1; i <= 6; ++i) top[-i] = nullptr;
  stack_pointer_ = top - 6;
#else
  getcontext(&context_->at);
  context_->at.uc_stack.ss_sp = stack_;
  context_->at.uc_stack.ss_size = stack_bytes_ - color_bytes_;
  context_->at.uc_link = nullptr;
  makecontext(&context_->at, entry_, 0);
#endif
}

void Fiber::started() { finish_switch(nullptr); }

}  // namespace galrec::simt
