#include "kernels/common/context.h"

#include <omp.h>

namespace galrec {

CpuContext::CpuContext(int threads, GemmPrecision precision)
    : threads_(threads > 0 ? threads : omp_get_max_threads()), precision_(precision) {}

std::shared_ptr<CudaContext> open_cuda(GemmPrecision precision) {
#if defined(GALREC_WITH_CUDA)
  return std::make_shared<CudaContext>(precision);
#else
  (void)precision;
  throw UsageError("--device cuda: this build has no CUDA backend (configured with GALREC_CUDA=OFF); configure with -DGALREC_CUDA=ON");
#endif
}

}  // namespace galrec
