#include "runtime/plan/panels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "ir/base/half.h"

namespace heddle::plan {
namespace {

/// Random bytes with scales that are numbers, so that values compare.
std::vector<std::byte> random_rows(DType type, std::int64_t rows, std::int64_t columns) {
  std::mt19937 random(unsigned(rows * 1000 + columns));
  std::vector<std::byte> out(std::size_t(rows * bytes_of(type, columns)));
  for (std::byte& byte : out) byte = std::byte(random());
  const std::int64_t size = info(type).bytes, blocks = std::int64_t(out.size()) / size;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const auto put = [&](std::int64_t at) {
      const f16 value = to_f16(float(random() % 1000) / 1024 + 0.01f);
      std::memcpy(out.data() + b * size + at, &value, 2);
    };
    if (type == DType::q6_K) put(208);
    else put(0);
    if (type == DType::q4_K || type == DType::q5_K) put(2);
  }
  return out;
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
    const std::int64_t header = (n * 32 + 63) / 64 * 64;
    switch (type) {
      case DType::q8_0:
        return half(b * 32 + 2 * lane) * float(std::int8_t(byte(header + b * 512, w)));
      case DType::q4_0:
        return half(b * 32 + 2 * lane) * float(nibble(header + b * 256) - 8);
      case DType::q4_K:
        return half(2 * lane) * float(value(b)) * float(nibble(256 + b * 256)) - half(32 + 2 * lane) * float(value(8 + b));
      case DType::q5_K: {
        const int high = byte(256 + b * 320 + 256, 0) >> w & 1;
        return half(2 * lane) * float(value(b)) * float(nibble(256 + b * 320) + 16 * high) - half(32 + 2 * lane) * float(value(8 + b));
      }
      default: {
        const int high = byte(288 + b * 384 + 256, w / 4) >> (2 * (w % 4)) & 3;
        const int scale = std::int8_t(group[32 + (2 * b + e / 16) * 16 + lane]);
        return half(2 * lane) * float(scale) * float(nibble(288 + b * 384) + 16 * high - 32);
      }
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
          ASSERT_FLOAT_EQ(reader.at(r, c), wanted[std::size_t(r * columns + c)]) << columns << " columns: " << r << ", " << c;
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
  EXPECT_LE(panels_bytes(GetParam(), 32, columns), 32 * bytes_of(GetParam(), columns) + 2 * groups * 32);
  EXPECT_EQ(panels_bytes(GetParam(), 33, columns), 3 * panel_bytes(GetParam(), columns));
}

INSTANTIATE_TEST_SUITE_P(Types, Panels, ::testing::Values(DType::q8_0, DType::q4_0, DType::q4_K, DType::q5_K, DType::q6_K),
                         [](const auto& info) { return std::string(name(info.param)); });

}  // namespace
}  // namespace heddle::plan
