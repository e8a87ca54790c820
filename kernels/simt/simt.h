#pragma once
// CUDA C++ for an ordinary C++20 compiler: what a .cu file sees under GALREC_CUDA=EMULATED (through kernels/common/device.h).
// What is not here does not compile. On purpose absent: atomics on floats, __shared__ (see block_shared() in
// kernels/common/warp.h), __constant__, <<<>>> (see kernels/common/launch.h).

#include "kernels/simt/atomics.h"
#include "kernels/simt/collectives.h"
#include "kernels/simt/device_math.h"
#include "kernels/simt/lane.h"
#include "kernels/simt/loads.h"
#include "kernels/simt/qualifiers.h"
#include "kernels/simt/runtime.h"
#include "kernels/simt/vector_types.h"
