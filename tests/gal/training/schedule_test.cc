#include "gal/training/schedule.h"

#include <gtest/gtest.h>

#include "kernels/common/check.h"

namespace galrec::gal {
namespace {

TEST(LinearSchedule, WarmsUpThenDecays) {
  const LinearSchedule s(2.0, 100, 0.05);
  EXPECT_EQ(s.warmup_steps(), 5);
  EXPECT_DOUBLE_EQ(s.at(0), 2.0 / 5);
  EXPECT_DOUBLE_EQ(s.at(4), 2.0);
  EXPECT_DOUBLE_EQ(s.at(5), 2.0);
  EXPECT_DOUBLE_EQ(s.at(99), 2.0 / 95);
  EXPECT_EQ(s.at(100), 0);
  for (int step = 5; step < 99; ++step) EXPECT_NEAR(s.at(step) - s.at(step + 1), 2.0 / 95, 1e-12);
}

TEST(LinearSchedule, EdgesOfWarmup) {
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 10, 0).at(0), 1);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 10, 1).at(9), 1);
  EXPECT_DOUBLE_EQ(LinearSchedule(1, 10, 1).at(0), 0.1);
  EXPECT_EQ(LinearSchedule(1, 3, 0.05).warmup_steps(), 1);
  EXPECT_EQ(LinearSchedule(1, 0, 0.05).at(0), 0);
  EXPECT_THROW(LinearSchedule(1, 10, 1.5), CheckError);
  EXPECT_THROW(LinearSchedule(1, 10, 0.5).at(-1), CheckError);
}

}  // namespace
}  // namespace galrec::gal
