#include "kernels/simt/warp_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/simt/collectives.h"
#include "kernels/simt/lane.h"
#include "kernels/simt/observer.h"

namespace galrec::simt {

namespace {

constexpr unsigned kAllLanes = 0xffffffffu;

// The arguments of one lane. The lane that arrives last does the work of the warp; layouts are those of kernels/common/mma.h.
struct Product {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

struct MatrixRead {
  std::uint32_t* r;
  const void* row;
  int matrices;
  MatrixLoad order;
};

void expect_whole_warp(const Warp& warp, const char* name, Place where) {
  if (warp.exists != kAllLanes) fail(std::string(name) + ": the warp has fewer than 32 lanes", where);
}

/// A column of 16 rows in a vector register (or several), which both compilers know.
using Column [[gnu::vector_size(64)]] = float;

/// D += A B over the gathered operands, stored by columns. Products of bf16 or TF32 are exact in fp32, so only the order of the
/// additions (k ascending) rounds, and contraction to FMA changes nothing.
template <int K>
void multiply(Column (&d)[8], const Column (&a)[K], const float (&b)[K][8]) {
  for (int k = 0; k < K; ++k) {
    for (int n = 0; n < 8; ++n) d[n] += a[k] * b[k][n];
  }
}

void gather_accumulators(const Warp& warp, Column (&d)[8]) {
  for (int l = 0; l < 32; ++l) {
    const float* from = argument_of<Product>(warp, l).d;
    const int g = l / 4, t = l % 4;
    d[2 * t][g] = from[0];
    d[2 * t + 1][g] = from[1];
    d[2 * t][g + 8] = from[2];
    d[2 * t + 1][g + 8] = from[3];
  }
}

void scatter_accumulators(const Warp& warp, const Column (&d)[8]) {
  for (int l = 0; l < 32; ++l) {
    float* to = argument_of<Product>(warp, l).d;
    const int g = l / 4, t = l % 4;
    to[0] = d[2 * t][g];
    to[1] = d[2 * t + 1][g];
    to[2] = d[2 * t][g + 8];
    to[3] = d[2 * t + 1][g + 8];
  }
}

float low_bf16(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float high_bf16(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000u); }
/// The tensor core does not see the lowest 13 bits.
float as_tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

void multiply_bf16(Warp& warp, unsigned, Place where) {
  Column a[16], d[8];
  float b[16][8];
  for (int l = 0; l < 32; ++l) {
    const Product& p = argument_of<Product>(warp, l);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + i % 2 * 8, k = 2 * t + i / 2 * 8;
      a[k][row] = low_bf16(p.a[i]);
      a[k + 1][row] = high_bf16(p.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + i * 8][g] = low_bf16(p.b[i]);
      b[2 * t + i * 8 + 1][g] = high_bf16(p.b[i]);
    }
  }
  gather_accumulators(warp, d);
  multiply<16>(d, a, b);
  scatter_accumulators(warp, d);
  if (Observer* o = observer()) o->mma(warp, MatrixShape::kM16N8K16Bf16, where);
}

void multiply_tf32(Warp& warp, unsigned, Place where) {
  Column a[8], d[8];
  float b[8][8];
  for (int l = 0; l < 32; ++l) {
    const Product& p = argument_of<Product>(warp, l);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) a[t + i / 2 * 4][g + i % 2 * 8] = as_tf32(p.a[i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = as_tf32(p.b[i]);
  }
  gather_accumulators(warp, d);
  multiply<8>(d, a, b);
  scatter_accumulators(warp, d);
  if (Observer* o = observer()) o->mma(warp, MatrixShape::kM16N8K8Tf32, where);
}

void product(const char* name, Combine combine, float* d, const std::uint32_t* a, const std::uint32_t* b, Place where) {
  Product mine{d, a, b};
  expect_whole_warp(*running_lane->warp, name, where);
  collective(name, kAllLanes, &mine, combine, where);
}

void read_matrices(Warp& warp, unsigned, Place where) {
  const MatrixRead& first = argument_of<MatrixRead>(warp, 0);
  const Block& block = *warp.block;
  const std::byte* rows[32] = {};
  for (int l = 0; l < first.matrices * 8; ++l) {
    const MatrixRead& read = argument_of<MatrixRead>(warp, l);
    rows[l] = static_cast<const std::byte*>(read.row);
    if (rows[l] < block.shared || rows[l] + 16 > block.shared + block.shared_bytes) {
      fail(fmt::format("ldmatrix: row {} of matrix {} is outside the block's shared memory", l % 8, l / 8), where);
    }
    check_aligned(rows[l], 16, "ldmatrix: a row's address", where);
  }
  for (int m = 0; m < first.matrices; ++m) {
    std::uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(matrix[row], rows[m * 8 + row], 16);
    for (int l = 0; l < 32; ++l) {
      const int g = l / 4, t = l % 4;
      std::uint32_t& to = argument_of<MatrixRead>(warp, l).r[m];
      if (first.order == MatrixLoad::kRow) {
        std::memcpy(&to, &matrix[g][2 * t], 4);
      } else {
        to = static_cast<std::uint32_t>(matrix[2 * t + 1][g]) << 16 | matrix[2 * t][g];
      }
    }
  }
  if (Observer* o = observer()) {
    const void* addresses[32];
    std::copy(rows, rows + 32, addresses);
    o->ldmatrix(warp, addresses, first.matrices, where);
  }
}

}  // namespace

void mma_m16n8k16_bf16(float* d, const std::uint32_t* a, const std::uint32_t* b, Place where) {
  product("mma.m16n8k16.bf16", multiply_bf16, d, a, b, where);
}

void mma_m16n8k8_tf32(float* d, const std::uint32_t* a, const std::uint32_t* b, Place where) {
  product("mma.m16n8k8.tf32", multiply_tf32, d, a, b, where);
}

void ldmatrix(std::uint32_t* r, int matrices, MatrixLoad order, const void* row, Place where) {
  MatrixRead mine{r, row, matrices, order};
  const char* name = order == MatrixLoad::kRow ? "ldmatrix" : "ldmatrix.trans";
  expect_whole_warp(*running_lane->warp, name, where);
  collective(name, kAllLanes, &mine, read_matrices, where);
}

void* block_shared_memory(std::size_t needed, Place where) {
  const Block& block = *running_lane->block;
  if (needed > block.shared_bytes) {
    fail(fmt::format("block_shared: the launch gave {} bytes of shared memory, {} are needed", block.shared_bytes, needed), where);
  }
  return block.shared;
}

void fail_alignment(const void* p, std::size_t bytes, const char* what, Place where) {
  fail(fmt::format("{}: {} is not a multiple of {}", what, p, bytes), where);
}

}  // namespace galrec::simt
