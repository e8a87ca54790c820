#pragma once
// Devices for tests of whole models: the same test runs on every backend that the build has, and is skipped, counted as
// skipped, where a CUDA build finds no device.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/context.h"

namespace galrec::test {

/// Contexts that a test owns, and the device made of them.
struct OwnedDevice {
  explicit OwnedDevice(int threads = 2) : host(threads) {}
  CpuContext host;
  std::shared_ptr<CudaContext> cuda;
  Device device() { return cuda == nullptr ? Device(host) : Device(*cuda, host); }
};

/// Null where there is no such device.
inline std::unique_ptr<OwnedDevice> open_device(DeviceKind kind, int threads = 2) {
  auto owned = std::make_unique<OwnedDevice>(threads);
  if (kind == DeviceKind::kCpu) return owned;
  // The executor then denies the host access to device memory: a crossing that nobody named ends the test. A GPU does so anyway.
  ::setenv("GALREC_SIMT_GUARD_HOST", "1", 0);
  try {
    owned->cuda = open_cuda();
  } catch (const UsageError&) {
    return nullptr;
  }
  return owned;
}

/// The backends of this build, for testing::ValuesIn.
inline std::vector<DeviceKind> built_devices() {
#if defined(GALREC_WITH_CUDA)
  return {DeviceKind::kCpu, DeviceKind::kCuda};
#else
  return {DeviceKind::kCpu};
#endif
}

inline std::string device_name(DeviceKind kind) { return kind == DeviceKind::kCpu ? "Cpu" : "Cuda"; }

}  // namespace galrec::test

/// Declares `name`, a Device of that kind with host and device contexts, or skips the test.
#define GALREC_REQUIRE_DEVICE(kind, name)                                   \
  const auto name##_owner = ::galrec::test::open_device(kind);              \
  if (name##_owner == nullptr) GTEST_SKIP() << "no CUDA device";            \
  const ::galrec::Device name = name##_owner->device()
