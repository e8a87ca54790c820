#pragma once
// Execution contexts. A kernel's first argument says where it runs: device selection is by overload. Contexts own
// what kernels share (threads or stream, library handles, scratch) and are neither copied nor global.

#include <cstdint>
#include <memory>
#include <type_traits>
#include <typeindex>
#include <unordered_map>

#include "kernels/common/buffer.h"
#include "kernels/common/dtype.h"

struct CUstream_st;  // what a cudaStream_t points to, without CUDA's headers

namespace galrec {

struct DeviceStatus;

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
  MemoryResource& memory() const { return host_memory(); }
  void synchronize() {}

 private:
  int threads_;
  GemmPrecision precision_;
  Arena scratch_;
};

/// The CUDA backend: one device, one non-blocking stream that orders everything, scratch in device memory, library handles.
/// On machines without a GPU the same kernels run on the executor of kernels/simt (GALREC_CUDA=EMULATED).
class CudaContext {
 public:
  /// UsageError that says what is missing where no device can be used. `precision` kBf16 rounds the operands of matrix
  /// products of fp32 matrices to bf16; bf16 matrices are multiplied as they are.
  explicit CudaContext(GemmPrecision precision = GemmPrecision::kFull, int device = 0);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  CUstream_st* stream() const { return stream_; }
  GemmPrecision gemm_precision() const { return precision_; }
  void set_gemm_precision(GemmPrecision p) { precision_ = p; }
  /// Scratch in device memory for the duration of one kernel: open a ScratchScope. The stream orders its reuse.
  Arena& scratch() { return scratch_; }
  /// Device memory whose transfers are ordered with this context's kernels.
  MemoryResource& memory() const { return *memory_; }
  /// Waits for everything queued; then throws what check_status() throws.
  void synchronize();
  /// Where kernels report what they cannot throw (an id out of range, a NaN); in device memory.
  DeviceStatus* status() const { return status_; }
  /// CheckError or NumericalError where a kernel that has finished reported something. Waits for the stream.
  void check_status();
  /// What a library needs per context (a cuBLASLt handle with its workspace), made at its first use.
  template <class State>
  State& library_state() {
    std::shared_ptr<void>& slot = library_states_[typeid(State)];
    if (!slot) slot = std::make_shared<State>();
    return *static_cast<State*>(slot.get());
  }

 private:
  GemmPrecision precision_;
  CUstream_st* stream_ = nullptr;
  std::unique_ptr<MemoryResource> memory_;
  Arena scratch_;
  DeviceStatus* status_ = nullptr;
  std::unordered_map<std::type_index, std::shared_ptr<void>> library_states_;
};

enum class DeviceKind { kCpu, kCuda };

/// What everything above the kernels holds: one context of one kind, resolved to the concrete type by dispatch(). A reference
/// to contexts that live longer; copied freely, and made from a context without ceremony.
class Device {
 public:
  Device(CpuContext& cpu) : kind_(DeviceKind::kCpu), cpu_(&cpu) {}  // NOLINT(google-explicit-constructor)
  /// `host` does the work that stays on the host beside the device (building batches, sampling).
  Device(CudaContext& cuda, CpuContext& host) : kind_(DeviceKind::kCuda), cpu_(&host), cuda_(&cuda) {}
  Device(CudaContext& cuda) : kind_(DeviceKind::kCuda), cuda_(&cuda) {}  // NOLINT(google-explicit-constructor)
  DeviceKind kind() const { return kind_; }
  /// Where host work runs; CheckError for a CUDA device that was given no host context.
  CpuContext& host() const {
    GALREC_CHECK(cpu_ != nullptr, "this device has no context for host work");
    return *cpu_;
  }
  CpuContext& cpu() const { return *cpu_; }
  CudaContext& cuda() const { return *cuda_; }

 private:
  DeviceKind kind_;
  CpuContext* cpu_ = nullptr;
  CudaContext* cuda_ = nullptr;
};

/// Calls f with the concrete context, for an operation on elements of type T. The only place that knows which backends were
/// built; double, the oracle's type, has no CUDA kernels, bfloat16 has no others.
template <class T, class F>
decltype(auto) dispatch(const Device& device, F&& f) {
#if defined(GALREC_WITH_CUDA)
  if constexpr (!std::is_same_v<T, double>) {
    if (device.kind() == DeviceKind::kCuda) return f(device.cuda());
  }
#endif
  if constexpr (std::is_same_v<T, bfloat16>) {
    throw CheckError("bf16 storage runs on CUDA only");
  } else {
    GALREC_CHECK(device.kind() == DeviceKind::kCpu, "this precision runs on the CPU only");
    return f(device.cpu());
  }
}

/// A CUDA context; UsageError that says what is missing: the backend in this build, or a usable GPU on this machine.
std::shared_ptr<CudaContext> open_cuda(GemmPrecision precision = GemmPrecision::kFull);

/// Waits for all work queued on the device, then throws what its kernels reported (a bad id, a score that is not a number).
template <class T>
void synchronize(const Device& device) {
  dispatch<T>(device, [](auto& ctx) { ctx.synchronize(); });
}

/// The memory that a device's kernels work on.
inline MemoryResource& memory_of(const Device& device) {
  return device.kind() == DeviceKind::kCuda ? device.cuda().memory() : device.cpu().memory();
}

}  // namespace galrec
