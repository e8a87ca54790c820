// Convolution by cuDNN on real devices, with one deterministic algorithm per shape. Elsewhere this file says that there is none.

#include "kernels/convolution/convolution_device.h"

#if defined(__CUDACC__) && defined(GALREC_WITH_CUDNN)

#include <cudnn.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "kernels/common/device.h"

namespace galrec::convolution_cuda {

namespace {

constexpr std::size_t kMostWorkspace = std::size_t{64} << 20;

void check_cudnn(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) throw Error(fmt::format("{}: {}", what, cudnnGetErrorString(status)));
}
#define GALREC_CUDNN_CHECK(expression) check_cudnn((expression), #expression)

template <auto Destroy>
struct Destroyer {
  template <class Handle>
  void operator()(Handle handle) const {
    Destroy(handle);
  }
};
template <class Handle, auto Create, auto Destroy>
class Owned {
 public:
  Owned() {
    Handle created = nullptr;
    GALREC_CUDNN_CHECK(Create(&created));
    handle_.reset(created);
  }
  Handle get() const { return handle_.get(); }

 private:
  std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<Destroy>> handle_;
};
using Tensor = Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using Filter = Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using Convolution = Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;

template <class T>
constexpr cudnnDataType_t kType = std::is_same_v<T, bfloat16> ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;

int narrow(std::int64_t n) {
  GALREC_CHECK(n >= 0 && n <= INT32_MAX, "an extent of {}", n);
  return static_cast<int>(n);
}

struct Choice {
  int algorithm;
  std::size_t workspace;
};

/// The library's first algorithm that always gives the same bits, in the arithmetic that was asked for.
template <class Performance, class Query>
std::optional<Choice> choose(const Convolution& convolution, cudnnMathType_t wanted, const Query& query) {
  std::array<Performance, 16> found;
  int count = 0;
  if (query(static_cast<int>(found.size()), &count, found.data()) != CUDNN_STATUS_SUCCESS) return std::nullopt;
  for (int i = 0; i < count; ++i) {
    const Performance& p = found[static_cast<std::size_t>(i)];
    const bool fits = p.status == CUDNN_STATUS_SUCCESS && p.determinism == CUDNN_DETERMINISTIC && p.memory <= kMostWorkspace;
    // Exact fp32 must not become TF32.
    if (!fits || (wanted == CUDNN_FMA_MATH && p.mathType != CUDNN_FMA_MATH)) continue;
    GALREC_CUDNN_CHECK(cudnnSetConvolutionMathType(convolution.get(), p.mathType));
    return Choice{static_cast<int>(p.algo), p.memory};
  }
  return std::nullopt;
}

enum class Pass { kForward, kInput, kWeight };

struct Plan {
  Tensor x, y;
  Filter w;
  Convolution convolution;
  std::optional<Choice> choice;  // none: not for this library
};

using Key = std::array<std::int64_t, 18>;

struct Cudnn {
  Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy> handle;
  std::map<Key, Plan> plans;
};

void describe(const Tensor& tensor, cudnnDataType_t type, std::int64_t images, std::int64_t channels, Extent2 extent,
              std::int64_t stride) {
  GALREC_CUDNN_CHECK(cudnnSetTensor4dDescriptorEx(tensor.get(), type, narrow(images), narrow(channels), narrow(extent.h),
                                                  narrow(extent.w), narrow(extent.h * extent.w * stride), 1,
                                                  narrow(extent.w * stride), narrow(stride)));
}

/// Descriptors and algorithm of one pass over one geometry.
template <class T>
Plan& plan_of(CudaContext& ctx, Cudnn& library, Pass pass, const ConvolutionGeometry& g, std::int64_t x_stride,
              std::int64_t y_stride) {
  const bool tf32 = ctx.gemm_precision() == GemmPrecision::kTf32;
  const Key key = {static_cast<std::int64_t>(pass),
                   kType<T>,
                   tf32,
                   g.images,
                   g.channels,
                   g.filters,
                   g.image.h,
                   g.image.w,
                   g.kernel.h,
                   g.kernel.w,
                   g.stride.h,
                   g.stride.w,
                   g.padding.h,
                   g.padding.w,
                   g.dilation.h,
                   g.dilation.w,
                   x_stride,
                   y_stride};
  const auto [at, is_new] = library.plans.try_emplace(key);
  Plan& plan = at->second;
  if (!is_new) return plan;
  describe(plan.x, kType<T>, g.images, g.channels, g.image, x_stride);
  describe(plan.y, kType<T>, g.images, g.filters, g.out, y_stride);
  GALREC_CUDNN_CHECK(cudnnSetFilter4dDescriptor(plan.w.get(), kType<T>, CUDNN_TENSOR_NHWC, narrow(g.filters), narrow(g.channels),
                                                narrow(g.kernel.h), narrow(g.kernel.w)));
  GALREC_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(plan.convolution.get(), narrow(g.padding.h), narrow(g.padding.w),
                                                     narrow(g.stride.h), narrow(g.stride.w), narrow(g.dilation.h),
                                                     narrow(g.dilation.w), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  const cudnnMathType_t math = std::is_same_v<T, float> && !tf32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
  GALREC_CUDNN_CHECK(cudnnSetConvolutionMathType(plan.convolution.get(), math));
  const auto handle = library.handle.get();
  const auto x = plan.x.get(), y = plan.y.get();
  const auto w = plan.w.get();
  const auto how = plan.convolution.get();
  switch (pass) {
    case Pass::kForward:
      plan.choice = choose<cudnnConvolutionFwdAlgoPerf_t>(plan.convolution, math, [&](int room, int* count, auto* found) {
        return cudnnGetConvolutionForwardAlgorithm_v7(handle, x, w, how, y, room, count, found);
      });
      break;
    case Pass::kInput:
      plan.choice = choose<cudnnConvolutionBwdDataAlgoPerf_t>(plan.convolution, math, [&](int room, int* count, auto* found) {
        return cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, w, y, how, x, room, count, found);
      });
      break;
    case Pass::kWeight:
      plan.choice = choose<cudnnConvolutionBwdFilterAlgoPerf_t>(plan.convolution, math, [&](int room, int* count, auto* found) {
        return cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, x, y, how, w, room, count, found);
      });
      break;
  }
  return plan;
}

/// Strides that the library is told for views of one row, whose own need not make sense.
template <class V>
std::int64_t stride_of(const V& v) {
  return v.rows() <= 1 ? v.cols() : v.stride[0];
}

/// run(handle, plan, workspace, alpha, beta) with the context's scratch as workspace; false where there is no algorithm.
template <class T, class X, class Y, class W, class Run>
bool with_plan(CudaContext& ctx, Pass pass, const ConvolutionGeometry& g, const X& x, const Y& y, const W& w, Accumulate accumulate,
               const Run& run) {
  if (!w.is_dense()) return false;
  const std::int64_t x_stride = stride_of(x), y_stride = stride_of(y);
  if (x.rows() * x_stride > INT32_MAX || y.rows() * y_stride > INT32_MAX || w.size() > INT32_MAX) return false;
  auto& library = ctx.library_state<Cudnn>();
  GALREC_CUDNN_CHECK(cudnnSetStream(library.handle.get(), ctx.stream()));
  const Plan& plan = plan_of<T>(ctx, library, pass, g, x_stride, y_stride);
  if (!plan.choice) return false;
  ScratchScope scratch(ctx.scratch());
  void* workspace =
      plan.choice->workspace > 0 ? scratch->template alloc<std::byte>(static_cast<std::int64_t>(plan.choice->workspace)) : nullptr;
  const float alpha = 1.0f, beta = accumulate == Accumulate::kAdd ? 1.0f : 0.0f;
  GALREC_CUDNN_CHECK(run(library.handle.get(), plan, workspace, &alpha, &beta));
  return true;
}

}  // namespace

template <class T>
bool forward_cudnn(CudaContext& ctx, View<T, 2> y, View<const T, 2> x, View<const T, 2> w, const ConvolutionGeometry& g) {
  return with_plan<T>(ctx, Pass::kForward, g, x, y, w, Accumulate::kOverwrite,
                      [&](cudnnHandle_t handle, const Plan& p, void* workspace, const float* alpha, const float* beta) {
                        return cudnnConvolutionForward(handle, alpha, p.x.get(), x.data, p.w.get(), w.data, p.convolution.get(),
                                                       static_cast<cudnnConvolutionFwdAlgo_t>(p.choice->algorithm), workspace,
                                                       p.choice->workspace, beta, p.y.get(), y.data);
                      });
}

template <class T>
bool backward_input_cudnn(CudaContext& ctx, View<T, 2> dx, View<const T, 2> dy, View<const T, 2> w, const ConvolutionGeometry& g,
                          Accumulate accumulate) {
  return with_plan<T>(ctx, Pass::kInput, g, dx, dy, w, accumulate,
                      [&](cudnnHandle_t handle, const Plan& p, void* workspace, const float* alpha, const float* beta) {
                        return cudnnConvolutionBackwardData(handle, alpha, p.w.get(), w.data, p.y.get(), dy.data,
                                                            p.convolution.get(),
                                                            static_cast<cudnnConvolutionBwdDataAlgo_t>(p.choice->algorithm),
                                                            workspace, p.choice->workspace, beta, p.x.get(), dx.data);
                      });
}

bool backward_weight_cudnn(CudaContext& ctx, View<float, 2> dw, View<const float, 2> dy, View<const float, 2> x,
                           const ConvolutionGeometry& g, Accumulate accumulate) {
  return with_plan<float>(ctx, Pass::kWeight, g, x, dy, dw, accumulate,
                          [&](cudnnHandle_t handle, const Plan& p, void* workspace, const float* alpha, const float* beta) {
                            return cudnnConvolutionBackwardFilter(handle, alpha, p.x.get(), x.data, p.y.get(), dy.data,
                                                                  p.convolution.get(),
                                                                  static_cast<cudnnConvolutionBwdFilterAlgo_t>(p.choice->algorithm),
                                                                  workspace, p.choice->workspace, beta, p.w.get(), dw.data);
                          });
}

}  // namespace galrec::convolution_cuda

#else

namespace galrec::convolution_cuda {

template <class T>
bool forward_cudnn(CudaContext&, View<T, 2>, View<const T, 2>, View<const T, 2>, const ConvolutionGeometry&) {
  return false;
}
template <class T>
bool backward_input_cudnn(CudaContext&, View<T, 2>, View<const T, 2>, View<const T, 2>, const ConvolutionGeometry&, Accumulate) {
  return false;
}
bool backward_weight_cudnn(CudaContext&, View<float, 2>, View<const float, 2>, View<const float, 2>, const ConvolutionGeometry&,
                           Accumulate) {
  return false;
}

}  // namespace galrec::convolution_cuda

#endif

namespace galrec::convolution_cuda {

#define GALREC_INSTANTIATE(T)                                                                                                     \
  template bool forward_cudnn<T>(CudaContext&, View<T, 2>, View<const T, 2>, View<const T, 2>, const ConvolutionGeometry&);       \
  template bool backward_input_cudnn<T>(CudaContext&, View<T, 2>, View<const T, 2>, View<const T, 2>, const ConvolutionGeometry&, \
                                        Accumulate);
GALREC_INSTANTIATE(float)
GALREC_INSTANTIATE(bfloat16)
#undef GALREC_INSTANTIATE

}  // namespace galrec::convolution_cuda
