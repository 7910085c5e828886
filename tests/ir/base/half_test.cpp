#include "ir/base/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace heddle {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// The value of binary16 `bits` from its definition.
double f16_value(unsigned bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

TEST(Half, EveryF16HasItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const f16 h{std::uint16_t(bits)};
    const float f = to_float(h);
    if ((bits & 0x7c00) == 0x7c00) {
      ASSERT_EQ(std::isnan(f), (bits & 1023) != 0) << bits;
      ASSERT_EQ(std::isinf(f), (bits & 1023) == 0) << bits;
    } else {
      ASSERT_EQ(double(f), f16_value(bits)) << bits;
    }
    ASSERT_EQ(std::signbit(f), (bits & 0x8000) != 0) << bits;
    if (std::isnan(f)) {
      ASSERT_EQ(to_f16(f).bits, (bits & 0x8000) | 0x7e00);
    } else {
      ASSERT_EQ(to_f16(f).bits, bits);
    }
  }
}

TEST(Half, F16RoundsToNearestBetweenAllNeighbours) {
  for (unsigned low = 0; low < 0x7bff; ++low) {  // the next one is low + 1
    const float middle = (to_float(f16{std::uint16_t(low)}) + to_float(f16{std::uint16_t(low + 1)})) / 2;
    const unsigned even = low + (low & 1);
    for (const unsigned sign : {0u, 0x8000u}) {
      const float s = sign ? -1 : 1;
      ASSERT_EQ(to_f16(s * std::nextafter(middle, 0.0f)).bits, sign | low) << low;
      ASSERT_EQ(to_f16(s * middle).bits, sign | even) << low;
      ASSERT_EQ(to_f16(s * std::nextafter(middle, inf)).bits, sign | (low + 1)) << low;
    }
  }
}

TEST(Half, F16Edges) {
  EXPECT_EQ(to_f16(0.0f).bits, 0x0000);
  EXPECT_EQ(to_f16(-0.0f).bits, 0x8000);
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0x0000);  // half of the smallest: to even
  EXPECT_EQ(to_f16(std::nextafter(0x1p-25f, 1.0f)).bits, 0x0001);
  EXPECT_EQ(to_f16(std::numeric_limits<float>::denorm_min()).bits, 0x0000);
  EXPECT_EQ(to_f16(std::nextafter(65520.0f, 0.0f)).bits, 0x7bff);  // the largest finite one
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_f16(std::numeric_limits<float>::max()).bits, 0x7c00);
  EXPECT_EQ(to_f16(-inf).bits, 0xfc00);
  EXPECT_EQ(to_f16(nan).bits & 0x7fff, 0x7e00);
  EXPECT_EQ(to_f16(std::bit_cast<float>(0x7f800001u)).bits, 0x7e00);  // a NaN whose payload is cut off stays one
}

TEST(Half, EveryBf16HasItsValueAndComesBack) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const float f = to_float(bf16{std::uint16_t(bits)});
    ASSERT_EQ(std::bit_cast<std::uint32_t>(f), bits << 16);
    if (std::isnan(f)) {
      ASSERT_EQ(to_bf16(f).bits, bits | 0x40u);
    } else {
      ASSERT_EQ(to_bf16(f).bits, bits);
    }
  }
}

TEST(Half, Bf16RoundsToNearestBetweenAllNeighbours) {
  for (std::uint32_t low = 0; low < 0x7f7f; ++low) {
    const std::uint32_t middle = low << 16 | 0x8000, even = low + (low & 1);
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const auto rounded = [&](std::uint32_t bits) { return std::uint32_t(to_bf16(std::bit_cast<float>(bits | sign << 16)).bits); };
      ASSERT_EQ(rounded(middle - 1), sign | low);
      ASSERT_EQ(rounded(middle), sign | even);
      ASSERT_EQ(rounded(middle + 1), sign | (low + 1));
    }
  }
}

TEST(Half, Bf16Edges) {
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7f80);  // rounds up to infinity
  EXPECT_EQ(to_bf16(-inf).bits, 0xff80);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(nan))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7fffffffu)))));  // must not wrap round to -0
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));
}

}  // namespace
}  // namespace heddle
