#pragma once
// Execution contexts. A kernel's first argument says where it runs: device selection is by overload. Contexts own
// what kernels share (threads or stream, library handles, scratch) and are neither copied nor global.

#include <cstdint>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"

namespace galrec {

/// The CPU backend: a number of threads, scratch memory and the precision of matrix products.
class CpuContext {
 public:
  /// `threads` 0 takes what OpenMP would (OMP_NUM_THREADS or the processors). Results never depend on it.
  explicit CpuContext(int threads = 0, GemmPrecision precision = GemmPrecision::kFull);
  CpuContext(const CpuContext&) = delete;
  CpuContext& operator=(const CpuContext&) = delete;

  int threads() const { return threads_; }
  GemmPrecision gemm_precision() const { return precision_; }
  void set_gemm_precision(GemmPrecision p) { precision_ = p; }
  /// Scratch for the duration of one kernel: open a ScratchScope, allocate outside parallel regions.
  Arena& scratch() { return scratch_; }

 private:
  int threads_;
  GemmPrecision precision_;
  Arena scratch_;
};

enum class DeviceKind { kCpu, kCuda };

/// What autograd and layers hold: one context of one kind, resolved to the concrete type by dispatch().
class Device {
 public:
  explicit Device(CpuContext& cpu) : kind_(DeviceKind::kCpu), cpu_(&cpu) {}
  DeviceKind kind() const { return kind_; }
  CpuContext& cpu() const { return *cpu_; }

 private:
  DeviceKind kind_;
  CpuContext* cpu_ = nullptr;
};

/// Calls f with the concrete context. The only place that knows which backends were built.
template <class F>
decltype(auto) dispatch(const Device& device, F&& f) {
#if defined(GALREC_WITH_CUDA)
  if (device.kind() == DeviceKind::kCuda) return f(device.cuda());
#endif
  return f(device.cpu());
}

}  // namespace galrec
