// The warp's matrix instructions, fragments made by hand from the layouts of kernels/common/mma.h: a wrong layout shows
// as well as a wrong sum.

#include <bit>
#include <cmath>
#include <functional>

#include "kernels/common/buffer.h"
#include "kernels/common/launch.h"
#include "kernels/common/mma.h"
#include "kernels/common/philox.h"
#include "kernels/common/warp.h"
#include "tests/conformance/probe.h"

namespace galrec::conformance {

namespace {

constexpr int kRows = 16, kCols = 8;

// One warp a tile. a (16, K), b (K, 8), d (16, 8) row-major fp32; operands are rounded to bf16 or TF32 by the device.
__global__ void multiply_bf16(float* d, const float* a, const float* b) {
  a += blockIdx.x * kRows * 16, b += blockIdx.x * 16 * kCols, d += blockIdx.x * kRows * kCols;
  const int g = lane_id() / 4, t = lane_id() % 4;
  const auto at = [&](int m, int k) { return pack_bf16x2(a[m * 16 + k], a[m * 16 + k + 1]); };
  const auto bt = [&](int k) { return pack_bf16x2(b[k * kCols + g], b[(k + 1) * kCols + g]); };
  const std::uint32_t fa[4] = {at(g, 2 * t), at(g + 8, 2 * t), at(g, 2 * t + 8), at(g + 8, 2 * t + 8)};
  const std::uint32_t fb[2] = {bt(2 * t), bt(2 * t + 8)};
  float* low = d + g * kCols + 2 * t;
  float* high = low + 8 * kCols;
  float fd[4] = {low[0], low[1], high[0], high[1]};
  mma_m16n8k16_bf16(fd, fa, fb);
  low[0] = fd[0], low[1] = fd[1], high[0] = fd[2], high[1] = fd[3];
}

__global__ void multiply_tf32(float* d, const float* a, const float* b) {
  a += blockIdx.x * kRows * 8, b += blockIdx.x * 8 * kCols, d += blockIdx.x * kRows * kCols;
  const int g = lane_id() / 4, t = lane_id() % 4;
  const std::uint32_t fa[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                               to_tf32(a[(g + 8) * 8 + t + 4])};
  const std::uint32_t fb[2] = {to_tf32(b[t * kCols + g]), to_tf32(b[(t + 4) * kCols + g])};
  float* low = d + g * kCols + 2 * t;
  float* high = low + 8 * kCols;
  float fd[4] = {low[0], low[1], high[0], high[1]};
  mma_m16n8k8_tf32(fd, fa, fb);
  low[0] = fd[0], low[1] = fd[1], high[0] = fd[2], high[1] = fd[3];
}

struct Tile {
  alignas(16) std::uint16_t at[32][8];
};

/// Loads four, two and one 8 x 8 matrices; row r of the tile holds r * 8 + column. out (7, 32) words.
template <MatrixOrder Order>
__global__ void load_matrices(std::uint32_t* out) {
  Tile& tile = block_shared<Tile>();
  const int l = lane_id();
  for (int c = 0; c < 8; ++c) tile.at[l][c] = static_cast<std::uint16_t>(l * 8 + c);
  __syncwarp();
  std::uint32_t four[4], two[2], one[1];
  // Rows in another order than the lanes': 31, 30, …
  ldmatrix_x4<Order>(four, &tile.at[31 - l][0]);
  ldmatrix_x2<Order>(two, &tile.at[l ^ 5][0]);
  ldmatrix_x1<Order>(one, &tile.at[l ^ 3][0]);
  for (int i = 0; i < 4; ++i) out[i * 32 + l] = four[i];
  for (int i = 0; i < 2; ++i) out[(4 + i) * 32 + l] = two[i];
  out[6 * 32 + l] = one[0];
}

struct Copied {
  alignas(16) std::uint32_t at[32][4];
};

/// Copies 0 to 16 bytes of each 16; the rest must become zeros. out (32, 4).
__global__ void copy_async(std::uint32_t* out, const std::uint32_t* in) {
  Copied& to = block_shared<Copied>();
  const int l = lane_id();
  for (int i = 0; i < 4; ++i) to.at[l][i] = 0xffffffffu;
  __syncwarp();
  cp_async16(&to.at[l][0], in + l * 4, l % 17);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  for (int i = 0; i < 4; ++i) out[l * 4 + i] = to.at[l][i];
}

template <class T>
std::vector<std::uint32_t> words(CudaContext& ctx, const Buffer<T>& from) {
  static_assert(sizeof(T) == 4);
  std::vector<std::uint32_t> out(static_cast<std::size_t>(from.size()));
  ctx.memory().download(out.data(), from.data(), out.size() * 4);
  return out;
}

enum class Product { kBf16, kTf32 };

/// What the operand becomes; the oracle of the scale.
float rounded(Product product, float x) {
  if (product == Product::kBf16) return static_cast<float>(bfloat16(x));
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(x) + 0x1000u) & 0xffffe000u);
}

Probe multiply(CudaContext& ctx, Product product, const std::string& name, Claim claim, double bound,
               const std::function<float(PhiloxStream&)>& draw) {
  constexpr std::int64_t kTiles = 4;
  const std::int64_t depth = product == Product::kBf16 ? 16 : 8;
  PhiloxStream stream({.seed = 7, .step = 0, .stream = static_cast<std::uint32_t>(depth)});
  const auto values = [&](std::int64_t n) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (auto& x : v) x = draw(stream);
    return v;
  };
  const auto a = values(kTiles * kRows * depth), b = values(kTiles * depth * kCols), c = values(kTiles * kRows * kCols);
  Buffer<float> da(std::span<const float>(a), ctx.memory()), db(std::span<const float>(b), ctx.memory()),
      d(std::span<const float>(c), ctx.memory());
  launch(product == Product::kBf16 ? multiply_bf16 : multiply_tf32, kTiles, dim3(32), 0, ctx.stream(), d.data(),
         da.data(), db.data());
  Probe p{.name = name, .claim = claim, .bound = bound, .in = {}, .out = words(ctx, d), .scale = {}};
  if (claim != Claim::kScaled) return p;
  for (std::int64_t i = 0; i < kTiles * kRows; ++i) {
    for (std::int64_t n = 0; n < kCols; ++n) {
      double sum = std::abs(c[static_cast<std::size_t>(i * kCols + n)]);
      for (std::int64_t k = 0; k < depth; ++k) {
        sum += std::abs(static_cast<double>(rounded(product, a[static_cast<std::size_t>(i * depth + k)])) *
                        rounded(product, b[static_cast<std::size_t>(((i / kRows) * depth + k) * kCols + n)]));
      }
      p.scale.push_back(static_cast<float>(sum));
    }
  }
  return p;
}

void add_products(CudaContext& ctx, Product product, const std::string& name, std::vector<Probe>& out) {
  const auto integers = [](PhiloxStream& s) { return static_cast<float>(s.below(31)) - 15; };
  const auto plain = [](PhiloxStream& s) { return static_cast<float>(2 * s.uniform() - 1); };
  // Exponents are drawn before, not beside, the digits: compilers differ in the order of arguments.
  const auto wide = [plain](PhiloxStream& s) {
    const int exponent = static_cast<int>(s.below(25)) - 12;
    return std::ldexp(plain(s), exponent);
  };
  const auto denormal = [plain](PhiloxStream& s) {
    const int exponent = -64 - static_cast<int>(s.below(16));
    return std::ldexp(plain(s), exponent);
  };
  const auto special = [plain](PhiloxStream& s) {
    constexpr float kOdd[] = {HUGE_VALF, -HUGE_VALF, 0.0f, -0.0f, 3.0e38f, 1.0f};
    return s.below(24) == 0 ? kOdd[s.below(6)] : plain(s);
  };
  // The executor rounds each of K additions; hardware adds groups of products with few bits to spare and cuts off. Both
  // stay within K 2^-24, and a few units of 2^-24 for the cuts, of the sum of magnitudes.
  constexpr double kSum = 0x1p-19;
  out.push_back(multiply(ctx, product, name + " integers", Claim::kExact, 0, integers));
  out.push_back(multiply(ctx, product, name + " uniform", Claim::kScaled, kSum, plain));
  out.push_back(multiply(ctx, product, name + " wide exponents", Claim::kScaled, kSum, wide));
  out.push_back(multiply(ctx, product, name + " denormal products", Claim::kObserved, 0, denormal));
  out.push_back(multiply(ctx, product, name + " infinities", Claim::kObserved, 0, special));
}

}  // namespace

std::vector<Probe> matrix_probes(CudaContext& ctx) {
  std::vector<Probe> out;
  add_products(ctx, Product::kBf16, "mma.m16n8k16.bf16", out);
  add_products(ctx, Product::kTf32, "mma.m16n8k8.tf32", out);

  Buffer<std::uint32_t> loaded(7 * 32, ctx.memory());
  launch(load_matrices<MatrixOrder::kRow>, 1, dim3(32), sizeof(Tile), ctx.stream(), loaded.data());
  out.push_back({.name = "ldmatrix x4 x2 x1",
                 .claim = Claim::kExact,
                 .bound = 0,
                 .in = {},
                 .out = words(ctx, loaded),
                 .scale = {}});
  launch(load_matrices<MatrixOrder::kTransposed>, 1, dim3(32), sizeof(Tile), ctx.stream(), loaded.data());
  out.push_back({.name = "ldmatrix.trans x4 x2 x1",
                 .claim = Claim::kExact,
                 .bound = 0,
                 .in = {},
                 .out = words(ctx, loaded),
                 .scale = {}});

  std::vector<std::uint32_t> pattern(128);
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = 0x01010101u * static_cast<std::uint32_t>(i + 1);
  const Buffer<std::uint32_t> from(std::span<const std::uint32_t>(pattern), ctx.memory());
  Buffer<std::uint32_t> copied(128, ctx.memory());
  launch(copy_async, 1, dim3(32), sizeof(Copied), ctx.stream(), copied.data(), from.data());
  out.push_back({.name = "cp.async.cg 16, 0 to 16 bytes valid",
                 .claim = Claim::kExact,
                 .bound = 0,
                 .in = {},
                 .out = words(ctx, copied),
                 .scale = {}});
  return out;
}

}  // namespace galrec::conformance
