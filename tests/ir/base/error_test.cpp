#include "ir/base/error.h"

#include <gtest/gtest.h>

#include <memory>

namespace heddle {
namespace {

Result<int> half(int n) {
  if (n % 2) return error("{} is odd, wanted an even number", n);
  return n / 2;
}
Result<void> must_be_even(int n) {
  HEDDLE_TRY(half(n));
  return {};
}
Result<int> quarter(int n) {
  HEDDLE_ASSIGN(const int h, half(n));
  HEDDLE_ASSIGN(const int q, half(h));
  return q;
}
Result<std::unique_ptr<int>> boxed(int n) {
  HEDDLE_ASSIGN(const int h, half(n));
  return std::make_unique<int>(h);
}

TEST(Error, ValuesAndErrorsPass) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(6).error().message(), "3 is odd, wanted an even number");
  EXPECT_TRUE(must_be_even(2).ok());
  EXPECT_EQ(must_be_even(5).error().message(), "5 is odd, wanted an even number");
  EXPECT_EQ(**boxed(4), 2);
  EXPECT_FALSE(boxed(3));
}

TEST(Error, PlacesComeInFront) {
  EXPECT_EQ(half(3).take_error().at("line 7").at("a.txt").message(), "a.txt: line 7: 3 is odd, wanted an even number");
}

TEST(Error, TakingTheValueOfAnErrorIsABrokenInvariant) { EXPECT_DEATH(half(3).value(), "check failed: ok\\(\\): 3 is odd"); }

TEST(Check, SaysWhereAndWhat) {
  EXPECT_DEATH(HEDDLE_CHECK(1 + 1 == 3, "sum is {}", 2), "error_test.cpp:[0-9]+: check failed: 1 \\+ 1 == 3: sum is 2\n");
  EXPECT_DEATH(HEDDLE_CHECK(false), "check failed: false\n");
}

}  // namespace
}  // namespace heddle
