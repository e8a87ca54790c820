#pragma once
// The only way to launch a kernel: always checked, always on a stream that the caller names.

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/common/device.h"

#if !defined(__CUDACC__)
#include "kernels/simt/grid.h"
#endif

namespace galrec {

/// Throws galrec::Error with the runtime's words unless `code` is success.
inline void check_cuda(cudaError_t code, const char* expression, Place where) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // a sticky error comes back by itself; others should be reported once
  throw Error(fmt::format("{}:{}: {}: {} ({})", where.file, where.line, expression, cudaGetErrorString(code), cudaGetErrorName(code)));
}

/// The extent of a grid, which also remembers where launch() was called.
struct GridExtent {
  dim3 size;
  Place where;
  GridExtent(dim3 blocks, Place at = Place::here()) : size(blocks), where(at) {}
  template <class Integer>
    requires std::is_integral_v<Integer>
  GridExtent(Integer blocks, Place at = Place::here()) : size(static_cast<unsigned>(blocks)), where(at) {
    GALREC_CHECK(blocks >= 0 && static_cast<unsigned long long>(blocks) <= 0x7fffffffULL, "a grid of {} blocks", blocks);
  }
};

/// Runs `kernel` on grid x block threads with `shared_bytes` of dynamic shared memory (block_shared() in warp.h), ordered by
/// `stream`. Arguments convert to the kernel's parameters. Throws galrec::Error that names the kernel and its configuration.
/// On a device and without NDEBUG it waits for the kernel, so that an error is reported where it was made.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), GridExtent grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument for each parameter of the kernel");
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "kernel parameters are copied to the device as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "kernel parameters take at most 4 KiB");
  GALREC_CHECK(stream != nullptr, "a launch on the default stream, which waits for everything: name one");
#if defined(__CUDACC__)
  const auto check = [&](cudaError_t code) {
    if (code == cudaSuccess) return;
    cudaGetLastError();
    const char* name = nullptr;
    if (cudaFuncGetName(&name, reinterpret_cast<const void*>(kernel)) != cudaSuccess) name = "kernel";
    throw Error(fmt::format("{}:{}: launch of {} with grid ({},{},{}), block ({},{},{}), {} bytes of shared memory: {}", grid.where.file,
                            grid.where.line, name, grid.size.x, grid.size.y, grid.size.z, block.x, block.y, block.z, shared_bytes,
                            cudaGetErrorString(code)));
  };
  constexpr std::size_t kWithoutOptIn = 48 * 1024;
  if (shared_bytes > kWithoutOptIn) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid.size;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
#if !defined(NDEBUG)
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capturing));
  if (capturing == cudaStreamCaptureStatusNone) check(cudaStreamSynchronize(stream));
#endif
#else
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
    static void run(void* p) { std::apply(static_cast<Call*>(p)->kernel, static_cast<Call*>(p)->arguments); }
  } call{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)};
  const simt::Launch what{
      reinterpret_cast<const void*>(kernel), grid.where, grid.size, block, shared_bytes, &Call::run, &call};
  if (!simt::postpones(stream)) return simt::run_grid(what);
  std::vector<std::byte> bytes;
  std::apply([&bytes](const auto&... argument) { (simt::append_argument(bytes, argument), ...); }, call.arguments);
  simt::postpone(stream, what, std::make_shared<Call>(call), std::move(bytes));
#endif
}

}  // namespace galrec

/// For calls of the CUDA runtime outside of launch().
#define GALREC_CUDA_CHECK(expression) ::galrec::check_cuda((expression), #expression, ::galrec::Place::here())
