// One block of one row at a time: `put` writes its words into the panel, `take` gathers them again.
#include "runtime/plan/panels.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "ir/base/blocks.h"
#include "ir/base/check.h"

namespace heddle::plan {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian, and words below are read as they lie");

template <class T = std::uint32_t>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

constexpr std::uint32_t low_nibbles = 0x0f0f0f0fu, high_nibbles = 0xf0f0f0f0u;
constexpr std::int64_t vector_bytes = 64;

/// Where the pieces of one row lie in a group.
struct Place {
  std::byte* group;
  std::int64_t columns;  // of the group
  std::int64_t lane;     // the row in its panel

  std::byte* word(std::int64_t offset, std::int64_t vector) const { return group + offset + vector * vector_bytes + 4 * lane; }
};

std::int64_t header_of_32s(std::int64_t columns) { return (columns / 32 * 32 + 63) / 64 * 64; }

// ---- Types of 32 columns; `index` is the block in its group.

void put(const BlockQ8_0& block, const Place& to, std::int64_t index) {
  store(to.group + index * 32 + 2 * to.lane, block.d);
  for (int w = 0; w < 8; ++w) store(to.word(header_of_32s(to.columns), index * 8 + w), load(block.qs + 4 * w));
}
void take(BlockQ8_0& block, const Place& from, std::int64_t index) {
  block.d = load<f16>(from.group + index * 32 + 2 * from.lane);
  for (int w = 0; w < 8; ++w) store(block.qs + 4 * w, load(from.word(header_of_32s(from.columns), index * 8 + w)));
}

void put(const BlockQ4_0& block, const Place& to, std::int64_t index) {
  store(to.group + index * 32 + 2 * to.lane, block.d);
  for (int w = 0; w < 4; ++w) store(to.word(header_of_32s(to.columns), index * 4 + w), load(block.qs + 4 * w));  // nibbles lie as here
}
void take(BlockQ4_0& block, const Place& from, std::int64_t index) {
  block.d = load<f16>(from.group + index * 32 + 2 * from.lane);
  for (int w = 0; w < 4; ++w) store(block.qs + 4 * w, load(from.word(header_of_32s(from.columns), index * 4 + w)));
}

// ---- Types of 256 columns: a group is a block.

template <class Block>
void put_header(const Block& block, const Place& to) {
  store(to.group + 2 * to.lane, block.d);
  store(to.group + 32 + 2 * to.lane, block.dmin);
  std::uint32_t values[16], words[3] = {};
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = scale_min(block.scales, j);
    values[j] = s.scale, values[8 + j] = s.min;
  }
  for (unsigned i = 0; i < 15; ++i) words[i / 5] |= values[i] << (6 * (i % 5));
  for (unsigned v = 0; v < 3; ++v) store(to.word(64, v), words[v] | (values[15] >> (2 * v) & 3u) << 30);
}
template <class Block>
void take_header(Block& block, const Place& from) {
  block.d = load<f16>(from.group + 2 * from.lane);
  block.dmin = load<f16>(from.group + 32 + 2 * from.lane);
  std::uint32_t words[3], values[16] = {};
  for (unsigned v = 0; v < 3; ++v) {
    words[v] = load(from.word(64, v));
    values[15] |= words[v] >> 30 << (2 * v);
  }
  for (unsigned i = 0; i < 15; ++i) values[i] = words[i / 5] >> (6 * (i % 5)) & 63u;
  for (unsigned j = 0; j < 4; ++j) {
    block.scales[j] = std::uint8_t(values[j] | values[4 + j] >> 4 << 6);
    block.scales[4 + j] = std::uint8_t(values[8 + j] | values[12 + j] >> 4 << 6);
    block.scales[8 + j] = std::uint8_t((values[4 + j] & 15u) | (values[12 + j] & 15u) << 4);
  }
}

/// 32 bytes that hold one 32 columns in their low nibbles and the next in their high ones; `first`, `second`: vector 0 of each.
void put_nibbles(const std::uint8_t* in, const Place& to, std::int64_t first, std::int64_t second) {
  for (int w = 0; w < 4; ++w) {
    const std::uint32_t a = load(in + 4 * w), b = load(in + 16 + 4 * w);
    store(to.word(first, w), (a & low_nibbles) | (b & low_nibbles) << 4);
    store(to.word(second, w), (a & high_nibbles) >> 4 | (b & high_nibbles));
  }
}
void take_nibbles(std::uint8_t* out, const Place& from, std::int64_t first, std::int64_t second) {
  for (int w = 0; w < 4; ++w) {
    const std::uint32_t a = load(from.word(first, w)), b = load(from.word(second, w));
    store(out + 4 * w, (a & low_nibbles) | (b & low_nibbles) << 4);
    store(out + 16 + 4 * w, (a & high_nibbles) >> 4 | (b & high_nibbles));
  }
}

constexpr std::int64_t k_header = 256;

void put(const BlockQ4_K& block, const Place& to, std::int64_t) {
  put_header(block, to);
  for (int pair = 0; pair < 4; ++pair) put_nibbles(block.qs + 32 * pair, to, k_header + 512 * pair, k_header + 512 * pair + 256);
}
void take(BlockQ4_K& block, const Place& from, std::int64_t) {
  take_header(block, from);
  for (int pair = 0; pair < 4; ++pair) take_nibbles(block.qs + 32 * pair, from, k_header + 512 * pair, k_header + 512 * pair + 256);
}

void put(const BlockQ5_K& block, const Place& to, std::int64_t) {
  put_header(block, to);
  for (int pair = 0; pair < 4; ++pair) put_nibbles(block.qs + 32 * pair, to, k_header + 640 * pair, k_header + 640 * pair + 320);
  for (unsigned j = 0; j < 8; ++j) {
    std::uint32_t word = 0;
    for (unsigned w = 0; w < 8; ++w) word |= (load(block.qh + 4 * w) >> j & 0x01010101u) << w;
    store(to.word(k_header + 320 * j + 256, 0), word);
  }
}
void take(BlockQ5_K& block, const Place& from, std::int64_t) {
  take_header(block, from);
  for (int pair = 0; pair < 4; ++pair) take_nibbles(block.qs + 32 * pair, from, k_header + 640 * pair, k_header + 640 * pair + 320);
  std::uint32_t high[8] = {};
  for (unsigned j = 0; j < 8; ++j) {
    const std::uint32_t word = load(from.word(k_header + 320 * j + 256, 0));
    for (unsigned w = 0; w < 8; ++w) high[w] |= (word >> w & 0x01010101u) << j;
  }
  std::memcpy(block.qh, high, 32);
}

constexpr std::int64_t q6_header = 288, q6_step = 384;

/// Of half `half` (128 columns) of a block, quarters 0 and 2 share bytes of ql, and quarters 1 and 3; qh has two bits of each quarter.
void put(const BlockQ6_K& block, const Place& to, std::int64_t) {
  store(to.group + 2 * to.lane, block.d);
  for (int s = 0; s < 16; ++s) store(to.group + 32 + 16 * s + to.lane, block.scales[s]);
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = q6_header + half * 4 * q6_step;
    put_nibbles(block.ql + 64 * half, to, at, at + 2 * q6_step);
    put_nibbles(block.ql + 64 * half + 32, to, at + q6_step, at + 3 * q6_step);
    for (int quarter = 0; quarter < 4; ++quarter)
      for (int part = 0; part < 2; ++part) {
        std::uint32_t word = 0;
        for (int w = 0; w < 4; ++w) word |= (load(block.qh + 32 * half + 16 * part + 4 * w) >> (2 * quarter) & 0x03030303u) << (2 * w);
        store(to.word(at + quarter * q6_step + 256, part), word);
      }
  }
}
void take(BlockQ6_K& block, const Place& from, std::int64_t) {
  block.d = load<f16>(from.group + 2 * from.lane);
  for (int s = 0; s < 16; ++s) block.scales[s] = load<std::int8_t>(from.group + 32 + 16 * s + from.lane);
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = q6_header + half * 4 * q6_step;
    take_nibbles(block.ql + 64 * half, from, at, at + 2 * q6_step);
    take_nibbles(block.ql + 64 * half + 32, from, at + q6_step, at + 3 * q6_step);
    std::uint32_t high[8] = {};
    for (int quarter = 0; quarter < 4; ++quarter)
      for (int part = 0; part < 2; ++part) {
        const std::uint32_t word = load(from.word(at + quarter * q6_step + 256, part));
        for (int w = 0; w < 4; ++w) high[4 * part + w] |= (word >> (2 * w) & 0x03030303u) << (2 * quarter);
      }
    std::memcpy(block.qh + 32 * half, high, 32);
  }
}

/// Calls `visit(Block())` for the type's block.
template <class Visit>
void visit_block(DType type, const Visit& visit) {
  switch (type) {
    case DType::q8_0:
      return visit(BlockQ8_0());
    case DType::q4_0:
      return visit(BlockQ4_0());
    case DType::q4_K:
      return visit(BlockQ4_K());
    case DType::q5_K:
      return visit(BlockQ5_K());
    case DType::q6_K:
      return visit(BlockQ6_K());
    default:
      HEDDLE_CHECK(false, "panels of {}", name(type));
  }
}

}  // namespace

bool has_panels(DType type) {
  return type == DType::q8_0 || type == DType::q4_0 || type == DType::q4_K || type == DType::q5_K || type == DType::q6_K;
}

std::int64_t panel_group_bytes(DType type, std::int64_t columns) {
  if (info(type).elements == 256) return panel_rows * bytes_of(type, columns);
  return header_of_32s(columns) + panel_rows * (bytes_of(type, columns) - columns / 32 * 2);
}

std::int64_t panel_bytes(DType type, std::int64_t columns) {
  const std::int64_t rest = columns % panel_columns;
  return columns / panel_columns * panel_group_bytes(type, panel_columns) + (rest > 0 ? panel_group_bytes(type, rest) : 0);
}

std::int64_t panels_bytes(DType type, std::int64_t rows, std::int64_t columns) {
  return (rows + panel_rows - 1) / panel_rows * panel_bytes(type, columns);
}

void to_panels(DType type, const std::byte* in, std::int64_t row_begin, std::int64_t rows, std::int64_t columns, std::byte* out) {
  HEDDLE_CHECK(has_panels(type) && columns % info(type).elements == 0 && row_begin >= 0, "panels of {}: {} columns", name(type), columns);
  const std::int64_t row_bytes = bytes_of(type, columns), panel = panel_bytes(type, columns);
  visit_block(type, [&](auto block) {
    constexpr std::int64_t size = sizeof(block);
    const std::int64_t elements = info(type).elements;
    // The rows of a panel group by group, so that a group is written while it is in the first-level cache.
    for (std::int64_t row = row_begin; row < row_begin + rows;) {
      const std::int64_t count = std::min(panel_rows - row % panel_rows, row_begin + rows - row);
      std::byte* group = out + row / panel_rows * panel;
      const std::byte* from = in + (row - row_begin) * row_bytes;
      for (std::int64_t column = 0; column < columns; column += panel_columns) {
        const std::int64_t width = std::min(panel_columns, columns - column), blocks = width / elements;
        for (std::int64_t r = 0; r < count; ++r) {
          const Place place{group, width, (row + r) % panel_rows};
          for (std::int64_t b = 0; b < blocks; ++b) {
            std::memcpy(&block, from + r * row_bytes + b * size, size);
            put(block, place, b);
          }
        }
        group += panel_group_bytes(type, width);
        from += blocks * size;
      }
      row += count;
    }
  });
}

void row_from_panels(DType type, const std::byte* panels, std::int64_t row, std::int64_t columns, std::byte* out) {
  visit_block(type, [&](auto block) {
    auto* group = const_cast<std::byte*>(panels + row / panel_rows * panel_bytes(type, columns));
    for (std::int64_t column = 0; column < columns; column += panel_columns) {
      const std::int64_t width = std::min(panel_columns, columns - column);
      for (std::int64_t b = 0; b < width / info(type).elements; ++b, out += sizeof(block)) {
        take(block, {group, width, row % panel_rows}, b);
        std::memcpy(out, &block, sizeof(block));
      }
      group += panel_group_bytes(type, width);
    }
  });
}

}  // namespace heddle::plan
