// Approximate functions and conversions on values over the whole range, with zeros, denormals, infinities and NaN among
// them.

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/common/buffer.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/philox.h"
#include "kernels/common/warp.h"
#include "tests/conformance/probe.h"

namespace galrec::conformance {

namespace {

struct Exp2Approx {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(exp2_approx(x)); }
};
struct Log2Approx {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(log2_approx(x)); }
};
struct RsqrtApprox {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(rsqrt_approx(x)); }
};
struct RcpApprox {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(rcp_approx(x)); }
};
struct TanhApprox {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(tanh_approx(x)); }
};
struct Expf {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(expf(x)); }
};
struct Erfcf {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(erfcf(x)); }
};
struct ToTf32 {
  __device__ std::uint32_t operator()(float x) const { return to_tf32(x); }
};
struct ToBf16 {
  __device__ std::uint32_t operator()(float x) const { return to_bf16(x).bits; }
};
struct PackBf16 {
  __device__ std::uint32_t operator()(float x) const { return pack_bf16x2(x, -3 * x); }
};
struct UnpackBf16 {
  __device__ std::uint32_t operator()(float x) const {
    const FloatPair p = unpack_bf16x2(__float_as_uint(x));
    return __float_as_uint(p.lo) ^ (__float_as_uint(p.hi) >> 1);
  }
};
struct ShuffleXor {
  __device__ std::uint32_t operator()(float x) const { return shuffle_xor(__float_as_uint(x), 13); }
};
/// An expression that a compiler may contract to one FMA: what it makes of it is its own affair, but should be known.
struct MultiplyAdd {
  __device__ std::uint32_t operator()(float x) const { return __float_as_uint(x * 1.1f + 0.3f); }
};

/// A block of one warp for each 32 inputs.
template <class F>
__global__ void apply(std::uint32_t* out, const float* in) {
  const auto i = blockIdx.x * 32 + threadIdx.x;
  out[i] = F()(in[i]);
}

template <class F>
Probe probe(CudaContext& ctx, const std::string& name, Claim claim, double bound, const std::vector<float>& in) {
  const Buffer<float> from(std::span<const float>(in), ctx.memory());
  const auto n = static_cast<std::int64_t>(in.size());
  Buffer<std::uint32_t> to(n, ctx.memory());
  launch(apply<F>, n / 32, dim3(32), 0, ctx.stream(), to.data(), from.data());
  Probe p{.name = name,
          .claim = claim,
          .bound = bound,
          .in = {},
          .out = std::vector<std::uint32_t>(in.size()),
          .scale = {}};
  ctx.memory().download(p.out.data(), to.data(), p.out.size() * 4);
  for (const float x : in) p.in.push_back(std::bit_cast<std::uint32_t>(x));
  return p;
}

/// A multiple of 32 values: `spread` around 0, and every kind of oddity.
std::vector<float> values(double low, double high) {
  using Limits = std::numeric_limits<float>;
  std::vector<float> v = {0.0f,
                          -0.0f,
                          1.0f,
                          -1.0f,
                          2.0f,
                          0.5f,
                          Limits::infinity(),
                          -Limits::infinity(),
                          Limits::quiet_NaN(),
                          Limits::max(),
                          Limits::lowest(),
                          Limits::min(),
                          -Limits::min(),
                          Limits::denorm_min(),
                          0x1p-130f,
                          -0x1p-130f,
                          126.0f,
                          127.999f,
                          128.0f,
                          -126.0f,
                          -126.5f,
                          -149.0f,
                          -150.0f,
                          0.99999994f,
                          1.0000001f,
                          0x1.008p0f,
                          0x1.018p0f,
                          0x1.001p0f,
                          0x1.003p0f,
                          0x1.ffep0f,
                          0x1.fffffep0f,
                          0x1.fep127f};
  PhiloxStream stream({.seed = 11, .step = 0, .stream = 0xc0f});
  while (v.size() < 256) v.push_back(static_cast<float>(low + (high - low) * stream.uniform()));
  // Any bits at all.
  while (v.size() < 384) v.push_back(std::bit_cast<float>(stream.next_u32()));
  return v;
}

}  // namespace

std::vector<Probe> scalar_probes(CudaContext& ctx) {
  const auto around = values(-4, 4), narrow = values(0.25, 4), exponents = values(-160, 140);
  // Bounds: the documented error of the instruction, and the half unit in the last place by which the executor rounds.
  constexpr double kHalf = 0x1p-24;
  return {
      probe<Exp2Approx>(ctx, "ex2.approx.ftz", Claim::kRelative, 0x1p-22 + kHalf, exponents),
      probe<Exp2Approx>(ctx, "ex2.approx.ftz, small", Claim::kRelative, 0x1p-22 + kHalf, around),
      probe<Log2Approx>(ctx, "lg2.approx.ftz", Claim::kNearOne, 0x1p-22 + kHalf, narrow),
      probe<RsqrtApprox>(ctx, "rsqrt.approx.ftz", Claim::kRelative, 0x1.13p-23 + kHalf, narrow),
      probe<RcpApprox>(ctx, "rcp.approx.ftz", Claim::kUlps, 2, around),
      probe<TanhApprox>(ctx, "tanh.approx", Claim::kRelative, 0x1.02p-11 + kHalf, around),
      probe<Expf>(ctx, "expf", Claim::kUlps, 3, values(-100, 90)),
      probe<Erfcf>(ctx, "erfcf", Claim::kUlps, 6, around),
      probe<ToTf32>(ctx, "cvt.rna.tf32", Claim::kExact, 0, around),
      probe<ToBf16>(ctx, "cvt.rn.bf16", Claim::kExact, 0, around),
      probe<PackBf16>(ctx, "cvt.rn.bf16x2", Claim::kExact, 0, around),
      probe<UnpackBf16>(ctx, "unpack bf16x2", Claim::kExact, 0, around),
      probe<ShuffleXor>(ctx, "shfl.bfly", Claim::kExact, 0, around),
      probe<MultiplyAdd>(ctx, "a * b + c, contracted or not", Claim::kObserved, 0, around),
  };
}

}  // namespace galrec::conformance
