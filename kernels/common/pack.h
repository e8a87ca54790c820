#pragma once
// Many small results side by side, so that they cross to the host in one transfer.

#include <span>

#include "kernels/common/context.h"
#include "kernels/common/view.h"

namespace galrec {

/// out = the pieces one after the other; together they have the elements of `out`.
template <class T>
void pack(CpuContext& ctx, View<T, 1> out, std::span<const View<const T, 1>> pieces);
template <class T>
void pack(CudaContext& ctx, View<T, 1> out, std::span<const View<const T, 1>> pieces);

}  // namespace galrec
