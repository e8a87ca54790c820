#include "gal/negative_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/compare.h"
#include "tests/support/devices.h"
#include "tests/support/expect_error.h"
#include "tests/support/random.h"
#include "tests/support/temporary_folder.h"

namespace galrec::gal {
namespace {

using Ids = std::vector<std::int32_t>;

/// Keys whose row b of queue q is filled with 100 q + first + b.
template <class T>
struct NumberedKeys {
  std::array<std::vector<T>, kQueues> values;
  Keys<T> keys;
  NumberedKeys(std::int64_t rows, std::int64_t d, int first) {
    for (std::size_t q = 0; q < kQueues; ++q) {
      for (std::int64_t b = 0; b < rows; ++b)
        values[q].insert(values[q].end(), static_cast<std::size_t>(d),
                         static_cast<T>(100 * static_cast<int>(q) + first + b));
      keys.rows[q] = View<const T, 2>(values[q].data(), {rows, d});
    }
  }
};

TEST(NegativeQueues, GrowThenWrap) {
  NegativeQueues<float> queues(5, 3);
  EXPECT_EQ(queues.keys(Queue::kU0).rows(), 0);
  queues.push(NumberedKeys<float>(3, 3, 1).keys, Ids{1, 2, 3}, Ids{11, 12, 13});
  EXPECT_EQ(queues.count(), 3);
  EXPECT_EQ(queues.keys(Queue::kI2)(2, 1), 303.0f);
  EXPECT_EQ(queues.mean_age(), 0.0);
  queues.push(NumberedKeys<float>(4, 3, 4).keys, Ids{4, 5, 6, 7}, Ids{14, 15, 16, 17});
  EXPECT_EQ(queues.count(), 5);
  EXPECT_EQ(queues.pointer(), 2);
  const std::array<std::int32_t, 5> expected{6, 7, 3, 4, 5};
  for (std::int64_t r = 0; r < 5; ++r) {
    const auto id = expected[static_cast<std::size_t>(r)];
    EXPECT_EQ(queues.ids(Queue::kU2)[r], id);
    EXPECT_EQ(queues.ids(Queue::kI0)[r], id + 10);
    EXPECT_EQ(queues.keys(Queue::kU2)(r, 0), static_cast<float>(100 + id));
  }
  EXPECT_DOUBLE_EQ(queues.mean_age(), 1.0 / 5);
}

TEST(NegativeQueues, ABatchLargerThanTheRingLeavesItsLastRows) {
  NegativeQueues<double> queues(2, 1);
  queues.push(NumberedKeys<double>(5, 1, 1).keys, Ids{1, 2, 3, 4, 5}, Ids{1, 2, 3, 4, 5});
  EXPECT_EQ(queues.count(), 2);
  EXPECT_EQ(queues.ids(Queue::kU0)[0], 5);
  EXPECT_EQ(queues.ids(Queue::kU0)[1], 4);
  EXPECT_EQ(queues.pointer(), 1);
}

/// The halves of a push, with the rows named on the device, leave what a push leaves.
class NegativeQueuesOn : public ::testing::TestWithParam<DeviceKind> {};
INSTANTIATE_TEST_SUITE_P(Devices, NegativeQueuesOn, ::testing::ValuesIn(galrec::test::built_devices()),
                         [](const auto& info) { return galrec::test::device_name(info.param); });

TEST_P(NegativeQueuesOn, TheHalvesOfAPushAreAPush) {
  GALREC_REQUIRE_DEVICE(GetParam(), device);
  MemoryResource& memory = memory_of(device);
  for (const std::int64_t capacity : {2, 5, 8}) {
    NegativeQueues<float> whole(capacity, 3, memory), halves(capacity, 3, memory);
    Arena arena(memory);
    for (int batch = 0; batch < 4; ++batch) {
      const NumberedKeys<float> numbered(3, 3, 3 * batch);
      const Ids users{3 * batch, 3 * batch + 1, 3 * batch + 2}, items{9, 8, batch};
      Keys<float> keys;
      for (std::size_t q = 0; q < kQueues; ++q) keys.rows[q] = View<const float, 2>(upload(arena, numbered.values[q]).data, {3, 3});
      whole.push(keys, users, items);
      halves.write(device, keys, upload(arena, users), upload(arena, items), upload(arena, halves.next_rows(3)));
      halves.remember(users, items);
      EXPECT_EQ(halves.pointer(), whole.pointer());
      EXPECT_EQ(halves.count(), whole.count());
      EXPECT_EQ(halves.mean_age(), whole.mean_age());
      for (const auto q : {Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2}) {
        const auto a = on_host(device, whole.keys(q)), b = on_host(device, halves.keys(q));
        EXPECT_TRUE(std::equal(a->data, a->data + a->size(), b->data));
        const auto ids = on_host(device, halves.ids(q));
        EXPECT_TRUE(std::equal(ids->data, ids->data + ids->size(), whole.host_ids(q).begin()));
        EXPECT_TRUE(std::equal(ids->data, ids->data + ids->size(), halves.host_ids(q).begin()));
      }
    }
  }
}

TEST(NegativeQueues, RandomStartIsFullOfUnitRowsOfNobody) {
  NegativeQueues<double> queues(7, 9);
  queues.fill_random(3);
  EXPECT_EQ(queues.count(), 7);
  for (const auto q : {Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2}) {
    for (std::int64_t r = 0; r < 7; ++r) {
      double norm = 0;
      for (std::int64_t c = 0; c < 9; ++c) norm += queues.keys(q)(r, c) * queues.keys(q)(r, c);
      EXPECT_NEAR(norm, 1.0, 1e-12);
      EXPECT_EQ(queues.ids(q)[r], -1);
    }
  }
  EXPECT_NE(queues.keys(Queue::kU0)(0, 0), queues.keys(Queue::kU2)(0, 0));
}

TEST(NegativeQueues, SurviveACheckpoint) {
  NegativeQueues<float> queues(5, 3), loaded(5, 3);
  queues.push(NumberedKeys<float>(4, 3, 1).keys, Ids{1, 2, 3, 4}, Ids{11, 12, 13, 14});
  queues.push(NumberedKeys<float>(3, 3, 5).keys, Ids{5, 6, 7}, Ids{15, 16, 17});
  const test::TemporaryFolder folder;
  data::SafetensorsWriter writer;
  queues.add_to(writer);
  writer.write(folder / "queues.safetensors");
  loaded.load(data::CheckpointReader(folder / "queues.safetensors"));
  EXPECT_EQ(loaded.count(), queues.count());
  EXPECT_EQ(loaded.pointer(), queues.pointer());
  EXPECT_EQ(loaded.mean_age(), queues.mean_age());
  for (const auto* q : {&queues, &loaded})
    const_cast<NegativeQueues<float>*>(q)->push(NumberedKeys<float>(1, 3, 8).keys, Ids{8}, Ids{18});
  EXPECT_EQ(loaded.mean_age(), queues.mean_age());
  for (const auto q : {Queue::kU0, Queue::kU2, Queue::kI0, Queue::kI2}) {
    for (std::int64_t r = 0; r < 5; ++r) {
      EXPECT_EQ(loaded.ids(q)[r], queues.ids(q)[r]);
      for (std::int64_t c = 0; c < 3; ++c) EXPECT_EQ(loaded.keys(q)(r, c), queues.keys(q)(r, c));
    }
  }
  NegativeQueues<float> larger(6, 3);
  test::expect_error<DataError>([&] { larger.load(data::CheckpointReader(folder / "queues.safetensors")); },
                                {"queue.u0", "[5, 3]", "[6, 3]"});
}

}  // namespace
}  // namespace galrec::gal
