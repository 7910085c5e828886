#include "runtime/plan/layout.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "ir/base/blocks.h"
#include "tests/support/weight_formats.h"

namespace heddle::plan {
namespace {

/// A matrix in planes, read by the formulas of layout.h.
struct Reader {
  DType type;
  std::int64_t rows, columns;
  const std::byte* data;

  const std::uint8_t* piece(std::size_t plane, std::int64_t row, std::int64_t column) const {
    const Plane& p = planes_of(type)[plane];
    const std::int64_t index = row * (columns / p.per) + column / p.per;
    return reinterpret_cast<const std::uint8_t*>(data) + plane_offset(type, rows, columns, plane) + index * p.bytes;
  }
  float half_at(const std::uint8_t* at) const { return to_float(f16{std::uint16_t(at[0] | at[1] << 8)}); }
  static int nibble(const std::uint8_t* qs, int i) { return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4; }
  static int bit(const std::uint8_t* bytes, int i) { return bytes[i / 8] >> (i % 8) & 1; }
  static int pair(const std::uint8_t* words, int i) { return words[i / 16 * 4 + i % 4] >> (i % 16 / 4 * 2) & 3; }
  static int six_bits(const std::uint8_t* bytes, int j) {
    int value = 0;
    for (int bit = 0; bit < 6; ++bit) value |= (bytes[(6 * j + bit) / 8] >> ((6 * j + bit) % 8) & 1) << bit;
    return value;
  }

  float at(std::int64_t row, std::int64_t column) const {
    const int i = int(column % 32), sub = int(column % 256 / 32);
    const std::uint8_t* qs = piece(0, row, column);
    switch (type) {
      case DType::q4_0:
        return half_at(piece(1, row, column)) * float(nibble(qs, i) - 8);
      case DType::q4_1:
        return half_at(piece(1, row, column)) * float(nibble(qs, i)) + half_at(piece(1, row, column) + 2);
      case DType::q5_0:
        return half_at(piece(2, row, column)) * float((nibble(qs, i) | bit(piece(1, row, column), i) << 4) - 16);
      case DType::q5_1:
        return half_at(piece(2, row, column)) * float(nibble(qs, i) | bit(piece(1, row, column), i) << 4) +
               half_at(piece(2, row, column) + 2);
      case DType::iq4_nl:
        return half_at(piece(1, row, column)) * float(iq4_values[nibble(qs, i)]);
      case DType::mxfp4:
        return e8m0_half(*piece(1, row, column)) * float(fp4_values[nibble(qs, i)]);
      case DType::q8_0:
        return half_at(piece(1, row, column)) * float(std::int8_t(qs[i]));
      case DType::q2_K: {
        const int scales = piece(1, row, column)[i / 16];
        const std::uint8_t* dm = piece(2, row, column);
        return half_at(dm) * float(scales & 15) * float(pair(qs, i)) - half_at(dm + 2) * float(scales >> 4);
      }
      case DType::q3_K: {
        const std::uint8_t* header = piece(2, row, column);
        const int j = 2 * sub + i / 16;
        const int scale = (header[4 + j / 2] >> (j % 2 * 4) & 15) | (header[12 + j / 4] >> (j % 4 * 2) & 3) << 4;
        return half_at(header) * float(scale - 32) * float((pair(qs, i) | bit(piece(1, row, column), i) << 2) - 4);
      }
      case DType::iq4_xs: {
        const std::uint8_t* header = piece(1, row, column);
        const int scale = (header[4 + sub / 2] >> (sub % 2 * 4) & 15) | (header[2 + sub / 4] >> (sub % 4 * 2) & 3) << 4;
        return half_at(header) * float(scale - 32) * float(iq4_values[nibble(qs, i)]);
      }
      case DType::q4_K:
        return k_quant(piece(1, row, column), sub, nibble(qs, i));
      case DType::q5_K:
        return k_quant(piece(2, row, column), sub, nibble(qs, i) | bit(piece(1, row, column), i) << 4);
      case DType::q6_K: {
        float d;
        std::memcpy(&d, piece(3, row, column), 4);
        return d * float(std::int8_t(piece(2, row, column)[i / 16])) * float((nibble(qs, i) | pair(piece(1, row, column), i) << 4) - 32);
      }
      default:
        return NAN;
    }
  }
  float k_quant(const std::uint8_t* header, int sub, int q) const {
    const float scale = half_at(header) * float(six_bits(header + 4, sub)), min = half_at(header + 2) * float(six_bits(header + 10, sub));
    return scale * float(q) - min;
  }
};

std::vector<std::byte> random_blocks(DType type, std::int64_t blocks, unsigned seed) {
  std::mt19937 random(seed);
  return testing::random_blocks(type, blocks, 3, random);
}

std::vector<std::byte> planes_from(DType type, const std::vector<std::byte>& in, std::int64_t rows, std::int64_t columns) {
  std::vector<std::byte> out(std::size_t(*stored_bytes(heddle::Layout::planes, type, rows, columns)), std::byte(0xee));
  to_planes(type, in.data(), 0, rows, columns, rows, out.data());
  return out;
}

class Layout : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, Layout, ::testing::ValuesIn(testing::weight_formats()),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST_P(Layout, PlanesReadAsTheFormatMeans) {
  const DType type = GetParam();
  const std::int64_t block = info(type).elements;
  for (const std::int64_t rows : {1, 3, 8, 17}) {
    for (const std::int64_t row_blocks : {1, 2, 5}) {
      const std::int64_t columns = row_blocks * block;
      const auto in = random_blocks(type, rows * row_blocks, unsigned(rows * 31 + row_blocks));
      const auto out = planes_from(type, in, rows, columns);
      std::vector<float> wanted(std::size_t(rows * columns));
      info(type).dequantize(in.data(), wanted.data(), rows * row_blocks);
      const Reader reader{type, rows, columns, out.data()};
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c) ASSERT_EQ(reader.at(r, c), wanted[std::size_t(r * columns + c)]) << r << ", " << c;
    }
  }
}

TEST_P(Layout, PlanesStandApartAtMultiplesOf256) {
  const DType type = GetParam();
  const std::int64_t rows = 3, columns = 256;
  std::int64_t end = 0;
  for (std::size_t p = 0; p < planes_of(type).size(); ++p) {
    const std::int64_t offset = plane_offset(type, rows, columns, p);
    EXPECT_EQ(offset % 256, 0);
    EXPECT_GE(offset, end);
    EXPECT_LT(offset, end + 256);
    end = offset + rows * (columns / planes_of(type)[p].per) * planes_of(type)[p].bytes;
  }
  EXPECT_EQ(*stored_bytes(heddle::Layout::planes, type, rows, columns), end);
}

TEST_P(Layout, RangesFromSeveralThreadsEqualTheWhole) {
  const DType type = GetParam();
  const std::int64_t rows = 29, row_blocks = 3, columns = row_blocks * info(type).elements, row_bytes = row_blocks * info(type).bytes;
  const auto in = random_blocks(type, rows * row_blocks, 7);
  const auto wanted = planes_from(type, in, rows, columns);
  std::vector<std::byte> out(wanted.size(), std::byte(0xee));
  std::vector<std::thread> threads;
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {1, 12}, {12, 12}, {12, 28}, {28, 29}})
    threads.emplace_back(
        [&, begin = begin, end = end] { to_planes(type, in.data() + begin * row_bytes, begin, end - begin, columns, rows, out.data()); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(out, wanted);
}

TEST(StoredBytes, OfRowsIsTheFilesOwn) {
  EXPECT_EQ(*stored_bytes(heddle::Layout::rows, DType::q6_K, 3, 512), 3 * 2 * 210);
  EXPECT_EQ(*stored_bytes(heddle::Layout::rows, DType::f32, 1, 7), 28);
}

TEST(StoredBytes, RefusesWhatHasNoMeaning) {
  EXPECT_EQ(stored_bytes(heddle::Layout::planes, DType::f32, 1, 32).error().message(), "layout 'planes' is not defined for f32");
  EXPECT_EQ(stored_bytes(heddle::Layout::planes, DType::q4_K, 8, 32).error().message(),
            "layout 'planes' of q4_K needs whole blocks of 256 a row, 32 columns are none");
  EXPECT_TRUE(planes_of(DType::bf16).empty());
}

}  // namespace
}  // namespace heddle::plan
