#include "ir/base/timing.h"

#include <gtest/gtest.h>

namespace heddle {
namespace {

TEST(Timing, TheMedianOfAnEvenNumberIsTheUpperOne) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 3);
  EXPECT_EQ(median({}), 0);
}

}  // namespace
}  // namespace heddle
