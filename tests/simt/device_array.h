#pragma once
// Little helpers for tests that launch kernels of their own. They use nothing but the CUDA runtime, so tests that include only
// this can be built with nvcc and run on a GPU as well.

#include <gtest/gtest.h>

#include <vector>

#include "kernels/common/launch.h"

namespace galrec::testing {

class Stream {
 public:
  Stream() { GALREC_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Device memory with a way there and back.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size, T value = T{}) : DeviceArray(std::vector<T>(size, value)) {}
  explicit DeviceArray(const std::vector<T>& values) : size_(values.size()) {
    GALREC_CUDA_CHECK(cudaMalloc(&data_, size_ * sizeof(T)));
    GALREC_CUDA_CHECK(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::vector<T> host() const {
    std::vector<T> values(size_);
    GALREC_CUDA_CHECK(cudaDeviceSynchronize());
    GALREC_CUDA_CHECK(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// What a kernel with one output array wrote there.
template <class T, class... More>
std::vector<T> results_of(void (*kernel)(T*, More...), int blocks, dim3 block, std::size_t shared, std::size_t size,
                          std::type_identity_t<More>... more) {
  Stream stream;
  DeviceArray<T> out(size);
  launch(kernel, blocks, block, shared, stream, out.data(), more...);
  return out.host();
}

}  // namespace galrec::testing
