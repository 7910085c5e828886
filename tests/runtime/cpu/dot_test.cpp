#include "runtime/cpu/dot/dot.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernel_case.h"
#include "runtime/cpu/memory.h"
#include "targets.h"
#include "tests/support/weight_formats.h"

namespace heddle::runtime::cpu {
namespace {

using testing::random_elements;

struct Case {
  DType weight;
  std::int64_t k, columns, rows;
};

/// Weight rows times activation rows, against double sums over dequantised elements.
void check(const Case& c, bool integers) {
  SCOPED_TRACE(fmt::format("{} k {} columns {} rows {} {}", name(c.weight), c.k, c.columns, c.rows, integers ? "q8_1" : "f32"));
  std::mt19937 random(7);
  const auto w = random_elements(c.weight, c.columns * c.k, random);
  const auto x = random_elements(integers ? DType::q8_1 : DType::f32, c.rows * c.k, random);
  std::vector<float> w_values(std::size_t(c.columns * c.k)), x_values(std::size_t(c.rows * c.k));
  info(c.weight).dequantize(w.data(), w_values.data(), c.columns * c.k / info(c.weight).elements);
  const DTypeInfo& activation = info(integers ? DType::q8_1 : DType::f32);
  activation.dequantize(x.data(), x_values.data(), c.rows * c.k / activation.elements);

  const std::int64_t stride = c.columns + 3;
  std::vector<float> out(std::size_t(c.rows * stride), -1000.0f);
  if (integers) {
    std::vector<Q8Group> groups(std::size_t(q8_rows(c.rows) * q8_groups(c.k)));
    for (std::int64_t r = 0; r < c.rows; ++r)
      unpack_q8_1(x.data() + r * bytes_of(DType::q8_1, c.k), c.k, groups.data() + r, q8_rows(c.rows));
    const auto panels = testing::panels_of(c.weight, w, c.k);
    dot_panels(c.weight, panels.data(), c.columns / 16, c.k, groups.data(), q8_rows(c.rows), c.rows, out.data(), stride);
  } else {
    dot_f32(c.weight, w.data(), c.columns, c.k, x_values.data(), c.k, c.rows, out.data(), stride);
  }
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t i = 0; i < c.columns; ++i) {
      double sum = 0, size = 0;
      for (std::int64_t j = 0; j < c.k; ++j) {
        const double term = double(w_values[std::size_t(i * c.k + j)]) * x_values[std::size_t(r * c.k + j)];
        sum += term, size += std::fabs(term);
      }
      ASSERT_NEAR(out[std::size_t(r * stride + i)], sum, size * 2e-6 + 1e-6) << "row " << r << ", column " << i;
    }
    for (std::int64_t i = c.columns; i < stride; ++i) ASSERT_EQ(out[std::size_t(r * stride + i)], -1000.0f) << "wrote past the columns";
  }
}

TEST(dot, quantised_weights_with_q8_1_activations) {
  testing::on_every_target([] {
    for (const std::int64_t rows : {1, 2, 3, 8, 13, 16, 33, 70}) {
      for (const DType weight : testing::weight_formats()) {
        if (info(weight).elements == 32)
          for (const std::int64_t k : {32, 64, 96, 256, 288, 736}) check({weight, k, 32, rows}, true);
        else
          for (const std::int64_t k : {256, 768}) check({weight, k, 48, rows}, true);
      }
    }
  });
}

TEST(dot, every_weight_format_with_float_activations) {
  testing::on_every_target([] {
    for (const std::int64_t rows : {1, 2, 3, 8, 32}) {
      for (const DType weight : {DType::f32, DType::f16, DType::bf16})
        for (const std::int64_t k : {1, 7, 64, 172, 288}) check({weight, k, 5, rows}, false);
      std::vector<DType> formats = testing::weight_formats();
      formats.insert(formats.end(), {DType::q8_1, DType::q8_K});
      for (const DType weight : formats) {
        if (info(weight).elements == 32)
          for (const std::int64_t k : {32, 64, 256, 288}) check({weight, k, 5, rows}, false);
        else check({weight, 512, 7, rows}, false);
      }
    }
  });
}

TEST(dot, sixteen_bit_weights_in_the_matrix_unit) {
  if (!has_dot_tiles(DType::bf16, 16, 32)) GTEST_SKIP() << "this processor has no matrix unit for bf16";
  std::mt19937 random(9);
  for (const DType weight : {DType::bf16, DType::f16}) {
    for (const std::int64_t k : {32, 96, 256, 288, 800}) {
      for (const std::int64_t columns : {16, 32, 80}) {
        for (const std::int64_t rows : {1, 9, 16, 17, 40, 64}) {
          SCOPED_TRACE(fmt::format("{} k {} columns {} rows {}", name(weight), k, columns, rows));
          const auto bytes = random_elements(weight, columns * k, random), x = random_elements(DType::f32, rows * k, random);
          const auto* const x_values = reinterpret_cast<const float*>(x.data());
          std::vector<float> w_values(std::size_t(columns * k));
          info(weight).dequantize(bytes.data(), w_values.data(), columns * k);
          const auto split = Region::make(split_bytes(rows, k)), scratch = Region::make(dot_tiles_scratch_bytes(weight, columns, k));
          std::vector<float> out(std::size_t((rows + 15) / 16 * 16 * columns));
          for (std::int64_t r = 0; r < rows; ++r) split_row(x_values + r * k, k, r, split->data());
          dot_tiles(weight, bytes.data(), columns, k, split->data(), rows, scratch->data(), out.data(), columns);
          for (std::int64_t r = 0; r < rows; ++r) {
            for (std::int64_t c = 0; c < columns; ++c) {
              double sum = 0, size = 0;
              for (std::int64_t j = 0; j < k; ++j) {
                const double term = double(w_values[std::size_t(c * k + j)]) * x_values[r * k + j];
                sum += term, size += std::fabs(term);
              }
              ASSERT_NEAR(out[std::size_t(r * columns + c)], sum, size * 2e-6 + 1e-6) << r << " " << c;
            }
          }
        }
      }
    }
  }
}

TEST(dot, the_matrix_unit_keeps_what_is_not_finite) {
  if (!has_dot_tiles(DType::bf16, 16, 32)) GTEST_SKIP() << "this processor has no matrix unit for bf16";
  std::vector<float> ones(16 * 32, 1.0f);
  alignas(64) std::uint16_t w[16 * 32];
  info(DType::bf16).quantize(ones.data(), reinterpret_cast<std::byte*>(w), 16 * 32);
  alignas(64) static std::byte split[16 * 32 * 6], scratch[16 * 32 * 2 + 16 * 128];
  alignas(64) float out[16 * 16];
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::int64_t r = 0; r < 16; ++r) {
    std::vector<float> row(32, 1.0f);
    if (r == 1) row[7] = infinity;
    if (r == 2) row[8] = -infinity;
    if (r == 3) row[31] = std::nanf("");
    split_row(row.data(), 32, r, split);
  }
  ASSERT_LE(dot_tiles_scratch_bytes(DType::bf16, 16, 32), sizeof scratch);
  dot_tiles(DType::bf16, reinterpret_cast<const std::byte*>(w), 16, 32, split, 16, scratch, out, 16);
  for (std::int64_t r = 4; r < 16; ++r) EXPECT_EQ(out[r * 16 + 5], 32);
  EXPECT_EQ(out[16 + 5], infinity);
  EXPECT_EQ(out[32 + 5], -infinity);
  EXPECT_TRUE(std::isnan(out[48 + 5]));
}

TEST(dot, largest_quants_do_not_saturate) {
  // All weights and activations at the ends of their ranges: sums of two products need more than 16 bits with plain bytes.
  testing::on_every_target([] {
    for (const int sign : {1, -1}) {
      std::vector<float> w(256, -128.0f), x(256, float(sign) * 127);
      std::vector<std::byte> w_bytes(std::size_t(bytes_of(DType::q8_0, 256))), x_bytes(std::size_t(bytes_of(DType::q8_1, 256)));
      info(DType::q8_0).quantize(w.data(), w_bytes.data(), 8);
      for (std::size_t b = 0; b < 8; ++b)  // the quantiser stops at -127
        for (std::size_t i = 0; i < 32; ++i) w_bytes[b * 34 + 2 + i] = std::byte(0x80);
      info(DType::q8_0).dequantize(w_bytes.data(), w.data(), 8);
      info(DType::q8_1).quantize(x.data(), x_bytes.data(), 8);
      Q8Group group;
      unpack_q8_1(x_bytes.data(), 256, &group, 1);
      const auto panels = testing::panels_of(DType::q8_0, w_bytes, 256);
      for (const std::int64_t rows : {1, 16}) {  // the same row in each
        const std::vector<Q8Group> groups(std::size_t(rows), group);
        std::vector<float> out(std::size_t(16 * rows));
        dot_panels(DType::q8_0, panels.data(), 1, 256, groups.data(), rows, rows, out.data(), 16);
        const double wanted = 256.0 * w[0] * 127 * sign;
        for (std::int64_t r = 0; r < rows; ++r) EXPECT_NEAR(out[std::size_t(16 * r)], wanted, std::fabs(wanted) * 1e-6);
        EXPECT_EQ(out[1], 0);  // rows that are not there
      }
    }
  });
}

TEST(dot, a_row_of_panels_does_not_see_its_neighbours) {
  // Steps of one row and of many agree bit for bit, on any instruction set with the same order of float operations.
  std::mt19937 random(4);
  const std::int64_t k = 768, rows = 41;
  for (const DType weight : testing::weight_formats()) {
    const auto panels = testing::panels_of(weight, random_elements(weight, 16 * k, random), k);
    const auto x = random_elements(DType::q8_1, rows * k, random);
    std::vector<Q8Group> groups(std::size_t(q8_rows(rows) * q8_groups(k))), one(std::size_t(q8_groups(k)));
    for (std::int64_t r = 0; r < rows; ++r) unpack_q8_1(x.data() + r * bytes_of(DType::q8_1, k), k, groups.data() + r, q8_rows(rows));
    std::vector<float> all(std::size_t(16 * rows)), alone(16);
    dot_panels(weight, panels.data(), 1, k, groups.data(), q8_rows(rows), rows, all.data(), 16);
    for (std::int64_t r = 0; r < rows; ++r) {
      unpack_q8_1(x.data() + r * bytes_of(DType::q8_1, k), k, one.data(), 1);
      dot_panels(weight, panels.data(), 1, k, one.data(), 1, 1, alone.data(), 16);
      for (std::int64_t c = 0; c < 16; ++c) ASSERT_EQ(alone[std::size_t(c)], all[std::size_t(r * 16 + c)]) << name(weight) << " row " << r;
    }
  }
}

TEST(dot, a_block_of_activation_rows_does_not_change_a_column) {
  // Columns are cut into work items anywhere: a column's result may not depend on its neighbours.
  std::mt19937 random(3);
  const auto w = random_elements(DType::q4_K, 9 * 512, random);
  const auto x = random_elements(DType::f32, 3 * 512, random);
  const auto* activations = reinterpret_cast<const float*>(x.data());
  std::vector<float> whole(27), one(3);
  dot_f32(DType::q4_K, w.data(), 9, 512, activations, 512, 3, whole.data(), 9);
  for (std::int64_t c = 0; c < 9; ++c) {
    dot_f32(DType::q4_K, w.data() + c * bytes_of(DType::q4_K, 512), 1, 512, activations, 512, 3, one.data(), 1);
    for (std::int64_t r = 0; r < 3; ++r) EXPECT_EQ(one[std::size_t(r)], whole[std::size_t(r * 9 + c)]);
  }
}

}  // namespace
}  // namespace heddle::runtime::cpu
