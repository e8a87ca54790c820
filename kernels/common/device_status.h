#pragma once
// How a kernel says that its input was bad: kernels cannot throw, so the first report is kept in device memory and becomes an
// exception when the host next looks (CudaContext::check_status).

#include "kernels/common/device.h"

namespace galrec {

enum class DeviceFault : int { kNone = 0, kIdOutOfRange, kOffsetsOutOfOrder, kNotANumber };

struct DeviceStatus {
  int fault = 0;         // a DeviceFault; the first report wins
  int operation = 0;     // which kernel family, see DeviceOperation
  long long value = 0;   // the offending value
  long long limit = 0;   // what it should have been below
};

enum class DeviceOperation : int { kNone = 0, kEmbedding, kCrossEntropy, kTopK, kPooling, kAttention, kInfoNce, kSampling, kSpmm, kAdamW };

/// Called by one thread that found `value` where something in [0, limit) was expected.
__device__ inline void report_fault(DeviceStatus* status, DeviceFault fault, DeviceOperation operation, long long value,
                                    long long limit) {
  if (atomicCAS(&status->fault, 0, static_cast<int>(fault)) == 0) {
    status->operation = static_cast<int>(operation);
    status->value = value;
    status->limit = limit;
  }
}

}  // namespace galrec
