#include "ir/base/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "ir/base/blocks.h"

namespace heddle {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

std::vector<std::byte> quantized(DType type, const std::vector<float>& x) {
  std::vector<std::byte> bytes(std::size_t(bytes_of(type, std::int64_t(x.size()))));
  info(type).quantize(x.data(), bytes.data(), std::int64_t(x.size()) / info(type).elements);
  return bytes;
}

std::vector<float> dequantized(DType type, const std::vector<std::byte>& bytes) {
  const std::int64_t blocks = std::int64_t(bytes.size()) / info(type).bytes;
  std::vector<float> x(std::size_t(blocks * info(type).elements));
  info(type).dequantize(bytes.data(), x.data(), blocks);
  return x;
}

std::vector<float> round_trip(DType type, const std::vector<float>& x) { return dequantized(type, quantized(type, x)); }

template <class Block>
Block first_block(const std::vector<std::byte>& bytes) {
  Block block;
  std::memcpy(&block, bytes.data(), sizeof(block));
  return block;
}

template <class Block>
std::vector<float> values_of(DType type, const Block& block) {
  std::vector<std::byte> bytes(sizeof(block));
  std::memcpy(bytes.data(), &block, sizeof(block));
  return dequantized(type, bytes);
}

/// 256 elements, normal with standard deviation 1.
std::vector<float> random_row(unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(256);
  for (float& v : x) v = normal(generator);
  return x;
}

std::vector<DType> written_types() {
  std::vector<DType> types;
  for (std::size_t i = 0; i < all_dtypes().size(); ++i) {
    if (all_dtypes()[i].quantize) types.push_back(DType(i));
  }
  return types;
}

TEST(DType, TableIsConsistent) {
  ASSERT_GE(all_dtypes().size(), 12u);
  for (std::size_t i = 0; i < all_dtypes().size(); ++i) {
    const DTypeInfo& d = all_dtypes()[i];
    EXPECT_EQ(&info(DType(i)), &d);
    EXPECT_EQ(dtype_named(d.name), DType(i)) << d.name;
    if (d.ggml >= 0) {
      EXPECT_EQ(dtype_of_ggml(d.ggml), DType(i)) << d.name;
    }
    EXPECT_EQ(is_block_type(DType(i)), d.elements != 1) << d.name;
    EXPECT_NE(d.dequantize, nullptr) << d.name;
  }
  EXPECT_EQ(name(DType::q4_K), "q4_K");
  EXPECT_EQ(dtype_named("q4_k"), std::nullopt);
  EXPECT_EQ(dtype_named(""), std::nullopt);
  EXPECT_EQ(dtype_of_ggml(16), std::nullopt);  // iq2_xxs
  EXPECT_EQ(dtype_of_ggml(-1), std::nullopt);
  EXPECT_EQ(dtype_of_ggml(1000), std::nullopt);
}

TEST(DType, BytesOf) {
  EXPECT_EQ(bytes_of(DType::f32, 7), 28);
  EXPECT_EQ(bytes_of(DType::bf16, 7), 14);
  EXPECT_EQ(bytes_of(DType::q8_0, 64), 68);
  EXPECT_EQ(bytes_of(DType::q8_1, 32), 36);
  EXPECT_EQ(bytes_of(DType::q4_K, 4096), 2304);
  EXPECT_EQ(bytes_of(DType::q6_K, 0), 0);
  EXPECT_EQ(bytes_of(DType::q6_K, std::int64_t(256) << 40), std::int64_t(210) << 40);
  EXPECT_DEATH(bytes_of(DType::q4_K, 128), "128 elements of q4_K");
  EXPECT_DEATH(bytes_of(DType::f32, -1), "-1 elements of f32");
  EXPECT_DEATH(info(DType(200)), "dtype 200");
}

TEST(DType, PlainTypesComeBackExactly) {
  const std::vector<float> x = {0.0f, -1.5f, 0.25f, 384.0f, -0.0f, inf};
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) EXPECT_EQ(round_trip(type, x), x) << name(type);
  EXPECT_EQ(round_trip(DType::f16, {1.0f / 3}), std::vector{0.333251953125f});
  EXPECT_EQ(round_trip(DType::bf16, {1.0f / 3}), std::vector{0.333984375f});
  EXPECT_EQ(values_of(DType::i32, std::int32_t(-70000)), std::vector{-70000.0f});
}

TEST(DType, NothingIsWrittenForNoBlocks) {
  for (const DType type : written_types()) {
    info(type).quantize(nullptr, nullptr, 0);
    info(type).dequantize(nullptr, nullptr, 0);
  }
}

/// Largest error of a round trip, relative to the largest magnitude of the row.
struct Bound {
  DType type;
  float error;
};

TEST(DType, RoundTripErrorIsBelowHalfAStep) {
  const Bound bounds[] = {{DType::f16, 0x1p-11f},     {DType::bf16, 0x1p-8f},   {DType::q8_0, 0.51f / 127}, {DType::q8_1, 0.51f / 127},
                          {DType::q8_K, 0.51f / 127}, {DType::q4_0, 1.01f / 8}, {DType::q4_K, 1.2f / 15}, {DType::f16_128, 0x1p-11f}};
  for (unsigned seed = 0; seed < 20; ++seed) {
    const std::vector<float> x = random_row(seed);
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::fabs(v));
    for (const Bound& b : bounds) {
      const std::vector<float> y = round_trip(b.type, x);
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_LE(std::fabs(x[i] - y[i]), b.error * largest) << name(b.type) << " " << i;
    }
  }
}

TEST(DType, QuantizingTwiceChangesNothing) {  // 8 bits: a value that the format holds is written as it is (f16 scales allowing)
  std::vector<float> x(256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.5f * float(int(i % 32 == 0 ? 127 : i % 255) - int(i % 32 == 0 ? 0 : 127));
  for (const DType type : {DType::q8_0, DType::q8_1, DType::q8_K}) EXPECT_EQ(round_trip(type, x), x) << name(type);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.25f * float(int(i % 16) - 8);
  EXPECT_EQ(round_trip(DType::q4_0, x), x);
}

TEST(DType, ZerosAreZeros) {
  for (const DType type : written_types()) {
    for (const float v : round_trip(type, std::vector<float>(256, 0.0f))) ASSERT_EQ(v, 0.0f) << name(type);
  }
}

TEST(DType, TinyValuesBecomeZeros) {  // the f16 scale underflows, 1 / d overflows
  for (const DType type : {DType::q4_0, DType::q8_0, DType::q8_1}) {
    for (const float v : round_trip(type, std::vector<float>(256, 1e-42f))) ASSERT_EQ(v, 0.0f) << name(type);
  }
}

TEST(DType, NonFiniteElementsStayVisible) {
  for (const DType type : written_types()) {
    for (const float bad : {inf, -inf, nan}) {
      for (const std::size_t at : {0u, 17u, 255u}) {
        std::vector<float> x = random_row(1);
        x[at] = bad;
        EXPECT_FALSE(std::isfinite(round_trip(type, x)[at])) << name(type) << " " << bad << " at " << at;
      }
    }
  }
}

TEST(DType, Q8_0RoundsHalvesAwayFromZero) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127, x[1] = 0.5f, x[2] = 1.5f, x[3] = -0.5f, x[4] = -2.5f, x[5] = 2.4f, x[6] = -127;
  const auto block = first_block<BlockQ8_0>(quantized(DType::q8_0, x));
  EXPECT_EQ(to_float(block.d), 1.0f);
  const int wanted[] = {127, 1, 2, -1, -3, 2, -127, 0};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(block.qs[i], wanted[i]) << i;
}

TEST(DType, Q8_1RoundsHalvesToEvenAndStoresTheSum) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127, x[1] = 0.5f, x[2] = 1.5f, x[3] = -0.5f, x[4] = -2.5f, x[5] = 2.4f, x[6] = -100;
  const auto block = first_block<BlockQ8_1>(quantized(DType::q8_1, x));
  EXPECT_EQ(to_float(block.d), 1.0f);
  const int wanted[] = {127, 0, 2, 0, -2, 2, -100, 0};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(block.qs[i], wanted[i]) << i;
  EXPECT_EQ(to_float(block.s), 29.0f);
}

TEST(DType, F16_128HoldsEveryElementOnceInTheOrderOfASteps16Columns) {
  std::vector<float> x(128);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  const auto block = first_block<BlockF16_128>(quantized(DType::f16_128, x));
  // Step 0: elements 0, 2 of each of the four pieces of 32, then 1, 3; step 1 begins with element 4.
  const int wanted[] = {0, 2, 32, 34, 64, 66, 96, 98, 1, 3, 33, 35, 65, 67, 97, 99, 4, 6};
  for (int i = 0; i < 18; ++i) EXPECT_EQ(to_float(block.halves[i]), float(wanted[i])) << i;
  EXPECT_EQ(round_trip(DType::f16_128, x), x);
}

TEST(DType, Q8_1UsesTheUnroundedScale) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::vector<float> x = random_row(seed);
    x.resize(32);
    const auto block = first_block<BlockQ8_1>(quantized(DType::q8_1, x));
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::fabs(v));
    const float d = largest / 127, inverse = 1 / d;
    int sum = 0;
    for (int i = 0; i < 32; ++i) {
      ASSERT_EQ(block.qs[i], std::lrint(x[std::size_t(i)] * inverse));
      sum += block.qs[i];
    }
    EXPECT_EQ(block.d.bits, to_f16(d).bits);
    EXPECT_EQ(block.s.bits, to_f16(d * float(sum)).bits);
  }
}

TEST(DType, Q4_0GivesTheExtremeTheWholeNegativeRange) {
  std::vector<float> x(32, 0.0f);
  x[3] = 8, x[4] = -8, x[19] = 1, x[20] = -7;
  const auto block = first_block<BlockQ4_0>(quantized(DType::q4_0, x));
  EXPECT_EQ(to_float(block.d), -1.0f);
  EXPECT_EQ(block.qs[3], 0x70);  // 8 -> q 0; element 19: 1 -> q 7
  EXPECT_EQ(block.qs[4], 0xff);  // -8 would need q 16: cut to 15; element 20: -7 -> q 15
  EXPECT_EQ(block.qs[0], 0x88);
}

TEST(DType, Q8_KSumsItsQuantsBySixteen) {
  const auto block = first_block<BlockQ8_K>(quantized(DType::q8_K, random_row(3)));
  for (int g = 0; g < 16; ++g) {
    int sum = 0;
    for (int i = 0; i < 16; ++i) sum += block.qs[g * 16 + i];
    EXPECT_EQ(block.bsums[g], sum) << g;
  }
}

// Blocks with one distinct quant, to pin down which bits belong to which element.

TEST(DType, Q4_KLayout) {
  BlockQ4_K block{to_f16(2), to_f16(0.5f), {}, {}};
  block.scales[0] = 3, block.scales[4] = 5;  // sub-block 0: scale 3, min 5
  block.scales[7] = 0x80;                    // sub-block 3: min 0; the two upper bits belong to sub-block 7: min 2 << 4
  block.scales[11] = 0x21;                   // sub-block 7: scale 1, min 2
  block.qs[0] = 0x0a, block.qs[127] = 0xb0;  // element 0: 10, element 255: 11
  const std::vector<float> x = values_of(DType::q4_K, block);
  EXPECT_EQ(x[0], 2 * 3 * 10 - 0.5f * 5);
  EXPECT_EQ(x[1], -0.5f * 5);
  EXPECT_EQ(x[96], 0.0f);
  EXPECT_EQ(x[255], 2 * 1 * 11 - 0.5f * (2 | 2 << 4));
  EXPECT_EQ(x[254], -0.5f * (2 | 2 << 4));
}

TEST(DType, Q5_KLayout) {
  BlockQ5_K block{to_f16(1), to_f16(0), {}, {}, {}};
  block.scales[2] = 1, block.scales[1] = 1;  // sub-blocks 2 and 1
  block.qs[32 + 6] = 0x07;                   // element 64 + 6: low bits 7
  block.qh[6] = 1 << 2 | 1 << 1;             // and its fifth bit; also the one of element 32 + 6
  const std::vector<float> x = values_of(DType::q5_K, block);
  EXPECT_EQ(x[70], 23.0f);
  EXPECT_EQ(x[38], 16.0f);
  for (std::size_t i = 0; i < 256; ++i) {
    ASSERT_TRUE(x[i] == 0 || i == 70 || i == 38) << i;
  }
}

TEST(DType, Q6_KLayout) {
  BlockQ6_K block{};
  block.d = to_f16(0.5f);
  for (int i = 0; i < 16; ++i) block.scales[i] = std::int8_t(i == 15 ? -2 : 1);
  block.ql[64 + 32 + 31] = 0x90;  // element 128 + 96 + 31 = 255: low bits 9
  block.qh[32 + 31] = 3 << 6;     // its high bits: 3
  const std::vector<float> x = values_of(DType::q6_K, block);
  EXPECT_EQ(x[255], 0.5f * -2 * ((9 | 3 << 4) - 32));
  EXPECT_EQ(x[0], 0.5f * -32);
  EXPECT_EQ(x[127], 0.5f * -32);
  EXPECT_EQ(x[240], 0.5f * -2 * -32);
}

}  // namespace
}  // namespace heddle
