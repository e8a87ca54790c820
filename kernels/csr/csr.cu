// CUDA kernels: not written yet.
