// Plain products on real devices go to cuBLASLt, with one algorithm per shape. The executor has no libraries: there this file only
// says so.

#include "kernels/gemm/gemm_device.h"

#if defined(__CUDACC__)

#include <cublasLt.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>

namespace galrec::gemm_cuda {

namespace {

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;
constexpr std::uint32_t kAlignmentBytes = 16;

void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(fmt::format("{}: {}", what, cublasLtGetStatusName(status)));
}
#define GALREC_CUBLAS_CHECK(expression) check_cublas((expression), #expression)

template <auto Destroy>
struct Destroyer {
  template <class Handle>
  void operator()(Handle handle) const {
    Destroy(handle);
  }
};
template <class Handle, auto Destroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<Destroy>>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

template <class T>
constexpr cudaDataType_t kType = std::is_same_v<T, bfloat16> ? CUDA_R_16BF : CUDA_R_32F;

/// cuBLASLt counts columns first: our row-major (rows, columns) is its (columns, rows).
Layout make_layout(cudaDataType_t type, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  GALREC_CUBLAS_CHECK(
      cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(rows), stride));
  return Layout(layout);
}

struct Plan {
  Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation;
  Layout a, b, c;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: the library does not take this shape
};

/// What determines a plan; alpha, and whether c is added to, do not.
using Key = std::array<std::int64_t, 10>;

struct CublasLt {
  Owned<cublasLtHandle_t, cublasLtDestroy> handle;
  Buffer<std::byte> workspace;
  std::map<Key, Plan> plans;

  CublasLt() {
    cublasLtHandle_t created = nullptr;
    GALREC_CUBLAS_CHECK(cublasLtCreate(&created));
    handle.reset(created);
  }
};

std::optional<cublasLtMatmulAlgo_t> choose_algorithm(const CublasLt& lt, const Plan& plan) {
  cublasLtMatmulPreference_t created = nullptr;
  GALREC_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&created));
  const Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference(created);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    GALREC_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(created, attribute, &value, sizeof(value)));
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(kWorkspaceBytes));
  // Slices of the depth only where their sums are kept in fp32 and added by a second step.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(attribute, kAlignmentBytes);
  }
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const auto status = cublasLtMatmulAlgoGetHeuristic(lt.handle.get(), plan.operation.get(), plan.b.get(), plan.a.get(), plan.c.get(),
                                                     plan.c.get(), created, 1, &best, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0 || best.state != CUBLAS_STATUS_SUCCESS) return std::nullopt;
  return best.algo;
}

template <class In, class Out>
Plan make_plan(const CublasLt& lt, const Product<In>& p, std::int64_t c_stride) {
  const bool a_as_is = p.a.major == Major::kDepth, b_as_is = p.b.major == Major::kEdge;
  Plan plan;
  cublasLtMatmulDesc_t operation = nullptr;
  GALREC_CUBLAS_CHECK(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  plan.operation.reset(operation);
  // c^T = op(b)^T op(a)^T: b is the library's first operand.
  const cublasOperation_t first = b_as_is ? CUBLAS_OP_N : CUBLAS_OP_T, second = a_as_is ? CUBLAS_OP_N : CUBLAS_OP_T;
  GALREC_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first)));
  GALREC_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second)));
  plan.a = make_layout(kType<In>, a_as_is ? p.m : p.k, a_as_is ? p.k : p.m, p.a.stride);
  plan.b = make_layout(kType<In>, b_as_is ? p.k : p.n, b_as_is ? p.n : p.k, p.b.stride);
  plan.c = make_layout(kType<Out>, p.m, p.n, c_stride);
  plan.algorithm = choose_algorithm(lt, plan);
  return plan;
}

}  // namespace

template <class In, class Out>
bool multiply_cublaslt(CudaContext& ctx, View<Out, 2> c, const Product<In>& p, const GemmOptions& options) {
  const std::int64_t c_stride = c.rows() <= 1 ? pieces(c.cols(), 16) * 16 : c.stride[0];
  if (p.a.access == Access::kScalar || p.b.access == Access::kScalar || access_of(c.data, c_stride) == Access::kScalar) return false;
  auto& lt = ctx.library_state<CublasLt>();
  if (lt.workspace.size() == 0) lt.workspace = Buffer<std::byte>(static_cast<std::int64_t>(kWorkspaceBytes), ctx.memory());
  const Key key = {p.m, p.n, p.k, p.a.stride, p.b.stride, c_stride, static_cast<std::int64_t>(p.a.major),
                   static_cast<std::int64_t>(p.b.major), kType<In>, kType<Out>};
  auto at = lt.plans.find(key);
  if (at == lt.plans.end()) at = lt.plans.emplace(key, make_plan<In, Out>(lt, p, c_stride)).first;
  const Plan& plan = at->second;
  if (!plan.algorithm) return false;
  const auto alpha = static_cast<float>(options.alpha);
  const float beta = options.accumulate == Accumulate::kAdd ? 1.0f : 0.0f;
  GALREC_CUBLAS_CHECK(cublasLtMatmul(lt.handle.get(), plan.operation.get(), &alpha, p.b.data, plan.b.get(), p.a.data, plan.a.get(), &beta,
                                     c.data, plan.c.get(), c.data, plan.c.get(), &*plan.algorithm, lt.workspace.data(), kWorkspaceBytes,
                                     ctx.stream()));
  return true;
}

}  // namespace galrec::gemm_cuda

#else

namespace galrec::gemm_cuda {

template <class In, class Out>
bool multiply_cublaslt(CudaContext&, View<Out, 2>, const Product<In>&, const GemmOptions&) {
  return false;
}

}  // namespace galrec::gemm_cuda

#endif

namespace galrec::gemm_cuda {

template bool multiply_cublaslt<float, float>(CudaContext&, View<float, 2>, const Product<float>&, const GemmOptions&);
template bool multiply_cublaslt<bfloat16, float>(CudaContext&, View<float, 2>, const Product<bfloat16>&, const GemmOptions&);
template bool multiply_cublaslt<bfloat16, bfloat16>(CudaContext&, View<bfloat16, 2>, const Product<bfloat16>&, const GemmOptions&);

}  // namespace galrec::gemm_cuda
