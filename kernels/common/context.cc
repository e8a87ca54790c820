#include "kernels/common/context.h"

#include <omp.h>

namespace galrec {

CpuContext::CpuContext(int threads, GemmPrecision precision)
    : threads_(threads > 0 ? threads : omp_get_max_threads()), precision_(precision) {}

}  // namespace galrec
