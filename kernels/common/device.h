#pragma once
// The one header that a .cu file includes to be CUDA: nvcc's own runtime, or, for a C++ compiler (GALREC_CUDA=EMULATED), the
// executor's stand-in for the same names. docs/executor.md says how it works.

#include "kernels/common/dtype.h"
#include "kernels/common/host_device.h"
#include "kernels/common/place.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "kernels/simt/simt.h"
#endif

namespace galrec {

#if defined(__CUDACC__)
/// Where a device function was called. Costs nothing on the device; the executor names it in its messages.
struct DevicePlace {
  __device__ static constexpr DevicePlace here() { return {}; }
};
#else
using DevicePlace = Place;
#endif

}  // namespace galrec
