#include "runtime/plan/panels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "ir/base/blocks.h"
#include "tests/support/weight_formats.h"

namespace heddle::plan {
namespace {

std::vector<std::byte> random_rows(DType type, std::int64_t rows, std::int64_t columns) {
  std::mt19937 random(unsigned(rows * 1000 + columns));
  return testing::random_blocks(type, rows * columns / info(type).elements, 3, random);
}

/// A matrix in panels, read by the words of panels.h.
struct Reader {
  DType type;
  std::int64_t columns;
  const std::byte* data;

  float at(std::int64_t row, std::int64_t column) const {
    const std::int64_t width = std::min<std::int64_t>(256, columns - column / 256 * 256), n = width / 32;
    const std::byte* panel = data + row / 16 * panel_bytes(type, columns);
    const auto* group = reinterpret_cast<const std::uint8_t*>(panel) + column / 256 * panel_group_bytes(type, 256);
    const std::int64_t lane = row % 16, b = column % 256 / 32, e = column % 32, w = e / 4;
    const auto half = [&](std::int64_t offset) { return to_float(f16{std::uint16_t(group[offset] | group[offset + 1] << 8)}); };
    const auto byte = [&](std::int64_t offset, std::int64_t v) { return int(group[offset + v * 64 + lane * 4 + e % 4]); };
    const auto nibble = [&](std::int64_t offset) { return w < 4 ? byte(offset, w) & 15 : byte(offset, w - 4) >> 4; };
    const auto value = [&](std::int64_t i) {
      std::uint32_t words[3];
      for (std::int64_t v = 0; v < 3; ++v) std::memcpy(&words[v], group + 64 + v * 64 + lane * 4, 4);
      if (i < 15) return int(words[i / 5] >> (6 * (i % 5)) & 63u);
      return int(words[0] >> 30 | words[1] >> 30 << 2 | words[2] >> 30 << 4);
    };
    const auto bit = [&](std::int64_t offset) { return byte(offset, 0) >> w & 1; };
    const auto pair = [&](std::int64_t offset) { return byte(offset, w / 4) >> (2 * (w % 4)) & 3; };
    const std::int64_t header = (n * 32 + 63) / 64 * 64, at_16s = (2 * b + e / 16) * 16 + lane;
    switch (type) {
      case DType::q8_0:
        return half(b * 32 + 2 * lane) * float(std::int8_t(byte(header + b * 512, w)));
      case DType::q4_0:
        return half(b * 32 + 2 * lane) * float(nibble(header + b * 256) - 8);
      case DType::q4_1:
        return half(b * 32 + 2 * lane) * float(nibble(n * 64 + b * 256)) + half(n * 32 + b * 32 + 2 * lane);
      case DType::q5_0:
        return half(b * 32 + 2 * lane) * float((nibble(header + b * 320) | bit(header + b * 320 + 256) << 4) - 16);
      case DType::q5_1:
        return half(b * 32 + 2 * lane) * float(nibble(n * 64 + b * 320) | bit(n * 64 + b * 320 + 256) << 4) +
               half(n * 32 + b * 32 + 2 * lane);
      case DType::iq4_nl:
        return half(b * 32 + 2 * lane) * float(iq4_values[nibble(header + b * 256)]);
      case DType::mxfp4:
        return e8m0_half(group[b * 16 + lane]) * float(fp4_values[nibble((n * 16 + 63) / 64 * 64 + b * 256)]);
      case DType::q2_K: {
        const int scales = group[64 + at_16s];
        return half(2 * lane) * float(scales & 15) * float(pair(320 + b * 128)) - half(32 + 2 * lane) * float(scales >> 4);
      }
      case DType::q3_K: {
        const auto scales = [&](std::int64_t i) { return int(group[32 + i / 4 * 64 + lane * 4 + i % 4]); };
        const std::int64_t j = 2 * b + e / 16;
        const int scale = (scales(j % 8) >> (j / 8 * 4) & 15) | (scales(8 + j % 4) >> (j / 4 * 2) & 3) << 4;
        return half(2 * lane) * float(scale - 32) * float((pair(224 + b * 192) | bit(224 + b * 192 + 128) << 2) - 4);
      }
      case DType::iq4_xs: {
        const int high = group[32 + 2 * lane] | group[33 + 2 * lane] << 8, low = group[64 + 4 * lane + b / 2];
        const int scale = (low >> (b % 2 * 4) & 15) | (high >> (2 * b) & 3) << 4;
        return half(2 * lane) * float(scale - 32) * float(iq4_values[nibble(128 + b * 256)]);
      }
      case DType::q4_K:
        return half(2 * lane) * float(value(b)) * float(nibble(256 + b * 256)) - half(32 + 2 * lane) * float(value(8 + b));
      case DType::q5_K:
        return half(2 * lane) * float(value(b)) * float(nibble(256 + b * 320) | bit(256 + b * 320 + 256) << 4) -
               half(32 + 2 * lane) * float(value(8 + b));
      case DType::q6_K:
        return half(2 * lane) * float(std::int8_t(group[32 + at_16s])) *
               float((nibble(288 + b * 384) | pair(288 + b * 384 + 256) << 4) - 32);
      default:
        return NAN;
    }
  }
};

class Panels : public ::testing::TestWithParam<DType> {
 protected:
  std::vector<std::int64_t> widths() const {
    if (info(GetParam()).elements == 256) return {256, 768};
    return {32, 96, 256, 320, 544};
  }
};

TEST_P(Panels, HoldEveryElementWhereTheyPromise) {
  for (const std::int64_t rows : {1, 16, 37})
    for (const std::int64_t columns : widths()) {
      const auto in = random_rows(GetParam(), rows, columns);
      std::vector<std::byte> out(std::size_t(panels_bytes(GetParam(), rows, columns)));
      to_panels(GetParam(), in.data(), 0, rows, columns, out.data());
      std::vector<float> wanted(std::size_t(rows * columns));
      info(GetParam()).dequantize(in.data(), wanted.data(), rows * columns / info(GetParam()).elements);
      const Reader reader{GetParam(), columns, out.data()};
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < columns; ++c)
          ASSERT_EQ(reader.at(r, c), wanted[std::size_t(r * columns + c)]) << columns << " columns: " << r << ", " << c;
    }
}

TEST_P(Panels, GiveARowBackBitForBit) {
  for (const std::int64_t columns : widths()) {
    const std::int64_t rows = 21, row_bytes = bytes_of(GetParam(), columns);
    const auto in = random_rows(GetParam(), rows, columns);
    std::vector<std::byte> out(std::size_t(panels_bytes(GetParam(), rows, columns))), row(static_cast<std::size_t>(row_bytes));
    to_panels(GetParam(), in.data(), 0, rows, columns, out.data());
    for (std::int64_t r = 0; r < rows; ++r) {
      row_from_panels(GetParam(), out.data(), r, columns, row.data());
      ASSERT_EQ(std::memcmp(row.data(), in.data() + r * row_bytes, row.size()), 0) << columns << " columns, row " << r;
    }
  }
}

TEST_P(Panels, RangesFromSeveralThreadsEqualTheWhole) {
  const std::int64_t rows = 45, columns = widths().back(), row_bytes = bytes_of(GetParam(), columns);
  const auto in = random_rows(GetParam(), rows, columns);
  std::vector<std::byte> wanted(std::size_t(panels_bytes(GetParam(), rows, columns))), out(wanted.size());
  to_panels(GetParam(), in.data(), 0, rows, columns, wanted.data());
  std::vector<std::thread> threads;
  for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 5}, {5, 30}, {30, 30}, {30, 45}})
    threads.emplace_back(
        [&, begin = begin, end = end] { to_panels(GetParam(), in.data() + begin * row_bytes, begin, end - begin, columns, out.data()); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(out, wanted);
}

TEST_P(Panels, TakeNoMoreThanTheFileBesideThePadding) {
  const std::int64_t columns = widths().back(), groups = (columns + 255) / 256;
  EXPECT_GE(panels_bytes(GetParam(), 32, columns), 32 * bytes_of(GetParam(), columns));
  EXPECT_LE(panels_bytes(GetParam(), 32, columns), 32 * bytes_of(GetParam(), columns) + 2 * groups * 48);
  EXPECT_EQ(panels_bytes(GetParam(), 33, columns), 3 * panel_bytes(GetParam(), columns));
}

INSTANTIATE_TEST_SUITE_P(Types, Panels, ::testing::ValuesIn(testing::weight_formats()),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace heddle::plan
