#include "ir/base/hash.h"

#include <gtest/gtest.h>

namespace heddle {
namespace {

TEST(Hash, IsXxh3AsItsAuthorsPrintIt) {
  EXPECT_EQ(hash128(std::string_view()).hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
}

TEST(Hash, OfPiecesIsThatOfTheWhole) {
  Hasher hasher;
  hasher.add("a piece, ");
  hasher.number(0x2020202020202020);
  hasher.add("and another");
  EXPECT_EQ(hasher.hash(), hash128("a piece,         and another"));
  EXPECT_NE(hasher.hash(), hash128("a piece,        and another"));
}

TEST(Hash, BytesStandInTheOrderOfTheDigits) {
  const auto bytes = Hash128{.low = 0x08090a0b0c0d0e0f, .high = 0x0001020304050607}.bytes();
  for (int i = 0; i < 16; ++i) EXPECT_EQ(bytes[i], i);
}

}  // namespace
}  // namespace heddle
