// Crossings between host and device, and what gathers small results for them.
#include "kernels/common/host_view.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "kernels/common/pack.h"
#include "tests/support/devices.h"

namespace galrec {
namespace {

class Crossing : public testing::TestWithParam<DeviceKind> {};

std::vector<float> numbers(std::size_t n) {
  std::vector<float> out(n);
  std::iota(out.begin(), out.end(), 1.0f);
  return out;
}

TEST_P(Crossing, ViewsComeBackWithTheirStrides) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  const auto values = numbers(20);
  const Buffer<float> memory(std::span<const float>(values), memory_of(device));
  const auto columns = memory.view(4, 5).slice_cols(1, 3);
  const auto host = on_host(device, columns);
  for (std::int64_t r = 0; r < 4; ++r)
    for (std::int64_t c = 0; c < 3; ++c) EXPECT_EQ((*host)(r, c), values[static_cast<std::size_t>(r * 5 + c + 1)]);
  EXPECT_EQ(host->data == columns.data, memory_of(device).host_accessible()) << "a copy where none is needed, or none where one is";
  EXPECT_EQ(on_host(device, View<float, 1>())->size(), 0);
}

TEST_P(Crossing, RowsAreCopiedBetweenStrides) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  MemoryResource& memory = memory_of(device);
  Arena arena(memory);
  const auto values = numbers(12);
  const View<float, 2> from(upload(arena, values).data, {3, 4});
  const auto wide = arena.matrix<float>(3, 6), dense = arena.matrix<float>(3, 4);
  memory.clear(wide.data, 18 * sizeof(float));
  copy_rows<float>(memory, wide.slice_cols(1, 4), from);
  copy_rows<float>(memory, dense, from);
  const auto w = on_host(memory, wide), d = on_host(memory, dense);
  for (std::int64_t r = 0; r < 3; ++r) {
    EXPECT_EQ((*w)(r, 0), 0.0f);
    EXPECT_EQ((*w)(r, 5), 0.0f);
    for (std::int64_t c = 0; c < 4; ++c) {
      EXPECT_EQ((*w)(r, c + 1), values[static_cast<std::size_t>(r * 4 + c)]);
      EXPECT_EQ((*d)(r, c), values[static_cast<std::size_t>(r * 4 + c)]);
    }
  }
  EXPECT_THROW(copy_rows<float>(memory, wide, from), CheckError);
}

TEST_P(Crossing, PiecesArePackedInOrder) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  Arena arena(memory_of(device));
  const auto values = numbers(2000);
  const auto source = upload(arena, values);
  std::vector<View<const float, 1>> pieces;  // more than one launch takes, of hostile lengths, the last ones first
  std::vector<float> expected;
  std::int64_t end = 2000;
  for (int i = 0; i < 131; ++i) {
    const std::int64_t n = std::array{1, 0, 31, 7, 2}[static_cast<std::size_t>(i % 5)];
    end -= n;
    pieces.push_back(View<const float, 1>(source).slice(end, n));
    expected.insert(expected.end(), values.begin() + end, values.begin() + end + n);
  }
  pieces.push_back(View<const float, 1>(source).slice(0, 777));
  expected.insert(expected.end(), values.begin(), values.begin() + 777);
  const auto out = arena.vector<float>(static_cast<std::int64_t>(expected.size()));
  dispatch<float>(device, [&](auto& ctx) { pack<float>(ctx, out, pieces); });
  const auto host = on_host(device, out);
  EXPECT_EQ(std::vector<float>(host->data, host->data + host->size()), expected);
  const auto check = [&](View<float, 1> other) { dispatch<float>(device, [&](auto& ctx) { pack<float>(ctx, other, pieces); }); };
  EXPECT_THROW(check(out.slice(0, 5)), CheckError);
  EXPECT_THROW(check(arena.vector<float>(out.extent(0) + 1)), CheckError);
}

INSTANTIATE_TEST_SUITE_P(Devices, Crossing, testing::ValuesIn(test::built_devices()),
                         [](const auto& info) { return test::device_name(info.param); });

}  // namespace
}  // namespace galrec
