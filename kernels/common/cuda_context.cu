// CudaContext: stream, device memory, staging. The only file that asks the runtime for memory.

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "kernels/common/context.h"
#include "kernels/common/device.h"
#include "kernels/common/device_status.h"
#include "kernels/common/launch.h"

namespace galrec {

namespace {

constexpr std::size_t kStagingBytes = std::size_t{4} << 20;

/// Pinned host memory through which uploads pass, so that the caller's bytes may change at once and the host need not wait:
/// two halves, each reused only after the copies out of it have finished.
class Staging {
 public:
  explicit Staging(cudaStream_t stream) : stream_(stream) {
    GALREC_CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&data_), 2 * kStagingBytes));
    for (auto& event : reusable_) GALREC_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  }
  ~Staging() {
    for (auto event : reusable_) cudaEventDestroy(event);
    cudaFreeHost(data_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Pinned memory for at most kStagingBytes; the copy out of it must be queued before the next call.
  std::byte* take(std::size_t bytes) {
    if (used_ + bytes > kStagingBytes) {
      GALREC_CUDA_CHECK(cudaEventRecord(reusable_[half_], stream_));
      half_ = 1 - half_;
      used_ = 0;
      GALREC_CUDA_CHECK(cudaEventSynchronize(reusable_[half_]));
    }
    std::byte* at = data_ + static_cast<std::size_t>(half_) * kStagingBytes + used_;
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  }

 private:
  cudaStream_t stream_;
  std::byte* data_ = nullptr;
  cudaEvent_t reusable_[2]{};
  int half_ = 0;
  std::size_t used_ = 0;
};

class CudaMemory final : public MemoryResource {
 public:
  explicit CudaMemory(cudaStream_t stream) : stream_(stream), staging_(stream) {}

  void* allocate(std::size_t bytes) override {
    refuse_while_capturing("allocates memory: the same work must run once before it is captured");
    void* p = nullptr;
    if (cudaMalloc(&p, bytes) != cudaSuccess) throw std::bad_alloc();
    return p;
  }
  void release(void* p) noexcept override {
    // Kernels that use the block may still be queued.
    cudaStreamSynchronize(stream_);
    cudaFree(p);
    ++releases_;
  }
  void upload(void* to, const void* from_host, std::size_t bytes) override {
    refuse_while_capturing("copies host values to the device: every replay would see those of today");
    auto* out = static_cast<std::byte*>(to);
    const auto* in = static_cast<const std::byte*>(from_host);
    while (bytes > 0) {
      const std::size_t part = std::min(bytes, kStagingBytes);
      std::byte* pinned = staging_.take(part);
      std::memcpy(pinned, in, part);
      GALREC_CUDA_CHECK(cudaMemcpyAsync(out, pinned, part, cudaMemcpyHostToDevice, stream_));
      in += part;
      out += part;
      bytes -= part;
    }
  }
  void download(void* to_host, const void* from, std::size_t bytes) override {
    if (bytes == 0) return;
    refuse_while_capturing("waits for values of the device");
    GALREC_CUDA_CHECK(cudaMemcpyAsync(to_host, from, bytes, cudaMemcpyDeviceToHost, stream_));
    GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  }
  void copy(void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) GALREC_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_));
  }
  void clear(void* to, std::size_t bytes) override {
    if (bytes > 0) GALREC_CUDA_CHECK(cudaMemsetAsync(to, 0, bytes, stream_));
  }
  bool host_accessible() const override { return false; }
  std::int64_t releases() const override { return releases_; }

 private:
  void refuse_while_capturing(const char* what) const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    GALREC_CUDA_CHECK(cudaStreamIsCapturing(stream_, &status));
    if (status != cudaStreamCaptureStatusNone) throw Error(std::string("a step that is being captured ") + what);
  }

  cudaStream_t stream_;
  Staging staging_;
  std::int64_t releases_ = 0;
};

/// A stream on the device; UsageError where there is none to be had.
cudaStream_t open_stream(int device) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || device >= count) {
    throw UsageError(fmt::format("--device cuda: {}; use --device cpu, or a machine with an NVIDIA GPU of compute capability 8.0 or higher and its driver",
                                 found != cudaSuccess ? cudaGetErrorString(found) : fmt::format("device {} of {}", device, count)));
  }
  GALREC_CUDA_CHECK(cudaSetDevice(device));
  cudaStream_t stream = nullptr;
  GALREC_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

const char* name_of(DeviceOperation operation) {
  constexpr const char* names[] = {"a kernel", "embedding", "linear_cross_entropy", "topk", "pooling", "attention", "info_nce", "csr", "spmm", "adamw"};
  return names[static_cast<int>(operation)];
}

}  // namespace

CudaContext::CudaContext(GemmPrecision precision, int device)
    : precision_(precision),
      stream_(open_stream(device)),
      memory_(std::make_unique<CudaMemory>(stream_)),
      scratch_(*memory_),
      status_(static_cast<DeviceStatus*>(memory_->allocate(sizeof(DeviceStatus)))) {
  memory_->clear(status_, sizeof(DeviceStatus));
}

CudaContext::~CudaContext() {
  cudaStreamSynchronize(stream_);
  library_states_.clear();
  memory_->release(status_);
  scratch_ = Arena(host_memory());
  memory_.reset();
  cudaStreamDestroy(stream_);
}

void CudaContext::synchronize() {
  GALREC_CUDA_CHECK(cudaStreamSynchronize(stream_));
  check_status();
}

void CudaContext::check_status() {
  DeviceStatus seen;
  memory_->download(&seen, status_, sizeof(seen));
  if (seen.fault == 0) return;
  memory_->clear(status_, sizeof(DeviceStatus));
  const char* where = name_of(static_cast<DeviceOperation>(seen.operation));
  switch (static_cast<DeviceFault>(seen.fault)) {
    case DeviceFault::kNotANumber: throw NumericalError(fmt::format("{}: a value is not a number (row {})", where, seen.value));
    case DeviceFault::kOffsetsOutOfOrder: throw CheckError(fmt::format("{}: offset {} is not below {}", where, seen.value, seen.limit));
    default: throw CheckError(fmt::format("{}: got id {}, expected 0 to {}", where, seen.value, seen.limit - 1));
  }
}

}  // namespace galrec
