#pragma once
// The backends that a kernel test runs on: a test is written once, as a typed test over a list of these. CUDA cases run where
// the build has the backend (on a GPU, or on the executor) and are skipped, and counted as skipped, where no device is found.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>

#include "kernels/common/context.h"

namespace galrec::test {

/// A context type and the type of stored elements.
template <class Context_, class Value_>
struct Backend {
  using Context = Context_;
  using Value = Value_;
  static constexpr bool kCuda = std::is_same_v<Context_, CudaContext>;
};

using CpuFloat = Backend<CpuContext, float>;
using CpuDouble = Backend<CpuContext, double>;
using CudaFloat = Backend<CudaContext, float>;
using CudaBf16 = Backend<CudaContext, bfloat16>;

#if defined(GALREC_WITH_CUDA)
using FloatBackends = testing::Types<CpuFloat, CudaFloat>;                // operations on fp32 only
using Backends = testing::Types<CpuFloat, CpuDouble, CudaFloat, CudaBf16>;
using CudaBackends = testing::Types<CudaFloat, CudaBf16>;                 // what is compared with the double oracle
#else
using FloatBackends = testing::Types<CpuFloat>;
using Backends = testing::Types<CpuFloat, CpuDouble>;
#endif

/// Readable names in test listings: TYPED_TEST_SUITE(Suite, Backends, BackendNames).
struct BackendNames {
  template <class B>
  static std::string GetName(int) {
    if (std::is_same_v<B, CpuFloat>) return "CpuFloat";
    if (std::is_same_v<B, CpuDouble>) return "CpuDouble";
    if (std::is_same_v<B, CudaFloat>) return "CudaFloat";
    return "CudaBf16";
  }
};

/// A context of the backend; null where no device can be used (then the test skips: GALREC_REQUIRE_BACKEND).
template <class B>
std::unique_ptr<typename B::Context> make_context() {
  if constexpr (B::kCuda) {
    try {
      return std::make_unique<CudaContext>();
    } catch (const UsageError&) {
      return nullptr;
    }
  } else {
    return std::make_unique<CpuContext>(2);
  }
}

}  // namespace galrec::test

/// Declares `name`, a reference to a context of backend B, or skips the test where there is no device.
#define GALREC_REQUIRE_BACKEND(B, name)                                   \
  const auto name##_owner = ::galrec::test::make_context<B>();            \
  if (name##_owner == nullptr) GTEST_SKIP() << "no CUDA device";          \
  auto& name = *name##_owner
