#pragma once
// Marks functions that run on the host and on the device alike.

#if defined(__CUDACC__)
#define GALREC_HOST_DEVICE __host__ __device__
#else
#define GALREC_HOST_DEVICE
#endif
