#include "kernels/common/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/common/context.h"

namespace galrec {
namespace {

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % kAlignment == 0; }

TEST(BufferTest, OwnsAlignedMemoryAndMoves) {
  Buffer<float> a(100, 2.5f);
  EXPECT_TRUE(aligned(a.data()));
  EXPECT_EQ(a[99], 2.5f);
  const float* kept = a.data();
  const Buffer<float> b = std::move(a);
  EXPECT_EQ(b.data(), kept);
  EXPECT_EQ(b.size(), 100);
  static_assert(!std::is_copy_constructible_v<Buffer<float>>);
  EXPECT_EQ(Buffer<double>(0).data(), nullptr);
  EXPECT_THROW(Buffer<double>(-1), CheckError);
  EXPECT_THROW(b.view(11, 10), CheckError);
  EXPECT_EQ(b.view(10, 10).rows(), 10);
}

TEST(ArenaTest, BlocksAreAlignedAndDisjoint) {
  Arena arena;
  std::vector<std::pair<char*, std::size_t>> blocks;
  for (std::int64_t n : {1, 63, 64, 65, 1000, 2000000, 3, 5000000, 7}) {
    char* p = arena.alloc<char>(n);
    EXPECT_TRUE(aligned(p));
    std::memset(p, static_cast<int>(blocks.size() + 1), static_cast<std::size_t>(n));
    blocks.emplace_back(p, n);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    for (std::size_t j = 0; j < blocks[i].second; ++j) ASSERT_EQ(blocks[i].first[j], static_cast<char>(i + 1)) << "block " << i << " was overwritten";
  }
  EXPECT_NE(arena.alloc<float>(0), nullptr);
}

// The promise of a step without allocation: the same workload allocates from the system in its first rounds only.
TEST(ArenaTest, RepeatedWorkAllocatesOnlyAtFirst) {
  Arena arena;
  const auto step = [&] {
    for (int i = 1; i < 20; ++i) arena.alloc<double>(i * 20000);
  };
  step();
  const auto peak = arena.peak_bytes();
  EXPECT_GT(arena.system_allocations(), 1);
  arena.reset();  // merges the chunks
  const auto settled = arena.system_allocations();
  for (int round = 0; round < 5; ++round) {
    step();
    arena.reset();
    EXPECT_EQ(arena.system_allocations(), settled);
  }
  EXPECT_LE(arena.peak_bytes(), 2 * peak);
}

TEST(ArenaTest, RewindGivesTheSameMemoryAgain) {
  Arena arena;
  arena.alloc<float>(10);
  const auto mark = arena.mark();
  float* first = arena.alloc<float>(100);
  arena.alloc<float>(10000000);
  const auto allocations = arena.system_allocations();
  arena.rewind(mark);
  EXPECT_EQ(arena.alloc<float>(100), first);
  arena.alloc<float>(10000000);
  EXPECT_EQ(arena.system_allocations(), allocations);
}

TEST(ArenaTest, ScopesNest) {
  CpuContext ctx(1);
  float *outer_second, *inner_first;
  {
    ScratchScope outer(ctx.scratch());
    outer->alloc<float>(10);
    {
      ScratchScope inner(ctx.scratch());
      inner_first = inner->alloc<float>(10);
    }
    outer_second = outer->alloc<float>(10);
  }
  EXPECT_EQ(outer_second, inner_first) << "the inner scope gave its block back";
  ScratchScope again(ctx.scratch());
  EXPECT_LT(again->alloc<float>(10), outer_second);
}

}  // namespace
}  // namespace galrec
