#pragma once
// The kernels of a GAL step at flan-t5-base widths, each with the least that its contract moves and multiplies: what
// `galrec bench kernels` runs and the traffic meter measures.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/common/context.h"

namespace galrec::apps {

/// One operation on one shape.
struct KernelWorkload {
  std::string name;         // operation, direction, storage
  std::string shape;        // in words
  double load_bytes = 0;    // each input read once
  double store_bytes = 0;   // each output written once
  double mma_flops = 0;     // of the tensor cores' products; 0 where none are used
  double fma_flops = 0;     // of products on the ordinary units
  double exps = 0;          // exponentials, one for each score or activation
  std::string remark = "";  // why the algorithm must miss a requirement, where it must
  std::function<void(CudaContext&)> run = {};
};

/// Buffers are made here, once; `run` may be called often.
std::vector<KernelWorkload> kernel_workloads(CudaContext& ctx);

}  // namespace galrec::apps
