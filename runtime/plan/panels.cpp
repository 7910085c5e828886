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

/// 32 bits, one an element, to the four bytes of a word: bit w of byte b is element 4w + b's.
std::uint32_t bits_of_words(std::uint32_t bits) {
  std::uint32_t word = 0;
  for (unsigned w = 0; w < 8; ++w) word |= ((bits >> (4 * w) & 15u) * 0x00204081u & 0x01010101u) << w;
  return word;
}
std::uint32_t bits_of_elements(std::uint32_t word) {
  std::uint32_t bits = 0;
  for (unsigned w = 0; w < 8; ++w) bits |= ((word >> w & 0x01010101u) * 0x01020408u >> 24 & 15u) << (4 * w);
  return bits;
}

// ---- Types of 32 columns; `index` is the block in its group. Its scales lie in the group's header, 16 rows side by side.

/// Bytes of a block that are not quants.
template <class Block>
constexpr std::int64_t scale_bytes() {
  std::size_t quants = sizeof(Block::qs);
  if constexpr (requires { Block::qh; }) quants += sizeof(Block::qh);
  return sizeof(Block) - quants;
}
template <class Block>
std::int64_t header_bytes(std::int64_t columns) {
  return (columns / 32 * panel_rows * scale_bytes<Block>() + 63) / 64 * 64;
}

/// One vector after the other, words 0 to 7 or nibbles as they lie in the file.
template <class Block>
void put_words(const Block& block, const Place& to, std::int64_t index) {
  constexpr std::int64_t words = sizeof(block.qs) / 4, vectors = words + (requires { block.qh; } ? 1 : 0);
  const std::int64_t at = header_bytes<Block>(to.columns) + index * vectors * vector_bytes;
  for (std::int64_t w = 0; w < words; ++w) store(to.word(at, w), load(block.qs + 4 * w));
  if constexpr (requires { block.qh; }) store(to.word(at, words), bits_of_words(load(block.qh)));
}
template <class Block>
void take_words(Block& block, const Place& from, std::int64_t index) {
  constexpr std::int64_t words = sizeof(block.qs) / 4, vectors = words + (requires { block.qh; } ? 1 : 0);
  const std::int64_t at = header_bytes<Block>(from.columns) + index * vectors * vector_bytes;
  for (std::int64_t w = 0; w < words; ++w) store(block.qs + 4 * w, load(from.word(at, w)));
  if constexpr (requires { block.qh; }) store(block.qh, bits_of_elements(load(from.word(at, words))));
}

template <class Block>
void put_scales(const Block& block, const Place& to, std::int64_t index) {
  store(to.group + index * 32 + 2 * to.lane, block.d);
  if constexpr (requires { block.m; }) store(to.group + to.columns + index * 32 + 2 * to.lane, block.m);
}
template <class Block>
void take_scales(Block& block, const Place& from, std::int64_t index) {
  block.d = load<f16>(from.group + index * 32 + 2 * from.lane);
  if constexpr (requires { block.m; }) block.m = load<f16>(from.group + from.columns + index * 32 + 2 * from.lane);
}

void put_scales(const BlockMXFP4& block, const Place& to, std::int64_t index) { store(to.group + index * 16 + to.lane, block.e); }
void take_scales(BlockMXFP4& block, const Place& from, std::int64_t index) {
  block.e = load<std::uint8_t>(from.group + index * 16 + from.lane);
}

template <class Block>
void put(const Block& block, const Place& to, std::int64_t index) {
  put_scales(block, to, index);
  put_words(block, to, index);
}
template <class Block>
void take(Block& block, const Place& from, std::int64_t index) {
  take_scales(block, from, index);
  take_words(block, from, index);
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

/// 32 bytes that hold eight times 32 columns, one bit each; `at`: the vector of the first.
void put_single_bits(const std::uint8_t* in, const Place& to, std::int64_t at, std::int64_t step) {
  for (unsigned j = 0; j < 8; ++j) {
    std::uint32_t word = 0;
    for (unsigned w = 0; w < 8; ++w) word |= (load(in + 4 * w) >> j & 0x01010101u) << w;
    store(to.word(at + j * step, 0), word);
  }
}
void take_single_bits(std::uint8_t* out, const Place& from, std::int64_t at, std::int64_t step) {
  std::uint32_t words[8] = {};
  for (unsigned j = 0; j < 8; ++j) {
    const std::uint32_t word = load(from.word(at + j * step, 0));
    for (unsigned w = 0; w < 8; ++w) words[w] |= (word >> w & 0x01010101u) << j;
  }
  std::memcpy(out, words, 32);
}

void put(const BlockQ5_K& block, const Place& to, std::int64_t) {
  put_header(block, to);
  for (int pair = 0; pair < 4; ++pair) put_nibbles(block.qs + 32 * pair, to, k_header + 640 * pair, k_header + 640 * pair + 320);
  put_single_bits(block.qh, to, k_header + 256, 320);
}
void take(BlockQ5_K& block, const Place& from, std::int64_t) {
  take_header(block, from);
  for (int pair = 0; pair < 4; ++pair) take_nibbles(block.qs + 32 * pair, from, k_header + 640 * pair, k_header + 640 * pair + 320);
  take_single_bits(block.qh, from, k_header + 256, 320);
}

/// Two bits of every element of 32 bytes, which hold four times 32: those of time `quarter`, words 4 * part .. 4 * part + 3.
std::uint32_t pairs_of_words(const std::uint8_t* in, int quarter, int part) {
  std::uint32_t word = 0;
  for (int w = 0; w < 4; ++w) word |= (load(in + 16 * part + 4 * w) >> (2 * quarter) & 0x03030303u) << (2 * w);
  return word;
}
/// 64 bytes, in which each 32 hold 128 columns; `at`: the vectors of the first 32 columns, those of the next are `step` bytes behind.
void put_pairs(const std::uint8_t* in, const Place& to, std::int64_t at, std::int64_t step) {
  for (int b = 0; b < 8; ++b)
    for (int part = 0; part < 2; ++part) store(to.word(at + b * step, part), pairs_of_words(in + b / 4 * 32, b % 4, part));
}
void take_pairs(std::uint8_t* out, const Place& from, std::int64_t at, std::int64_t step) {
  std::uint32_t words[16] = {};
  for (int b = 0; b < 8; ++b)
    for (int part = 0; part < 2; ++part) {
      const std::uint32_t word = load(from.word(at + b * step, part));
      for (int w = 0; w < 4; ++w) words[b / 4 * 8 + 4 * part + w] |= (word >> (2 * w) & 0x03030303u) << (b % 4 * 2);
    }
  std::memcpy(out, words, 64);
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
  }
  put_pairs(block.qh, to, q6_header + 256, q6_step);
}
void take(BlockQ6_K& block, const Place& from, std::int64_t) {
  block.d = load<f16>(from.group + 2 * from.lane);
  for (int s = 0; s < 16; ++s) block.scales[s] = load<std::int8_t>(from.group + 32 + 16 * s + from.lane);
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = q6_header + half * 4 * q6_step;
    take_nibbles(block.ql + 64 * half, from, at, at + 2 * q6_step);
    take_nibbles(block.ql + 64 * half + 32, from, at + q6_step, at + 3 * q6_step);
  }
  take_pairs(block.qh, from, q6_header + 256, q6_step);
}

constexpr std::int64_t q2_header = 320, q2_step = 128;

void put(const BlockQ2_K& block, const Place& to, std::int64_t) {
  store(to.group + 2 * to.lane, block.d);
  store(to.group + 32 + 2 * to.lane, block.dmin);
  for (int s = 0; s < 16; ++s) store(to.group + 64 + 16 * s + to.lane, block.scales[s]);
  put_pairs(block.qs, to, q2_header, q2_step);
}
void take(BlockQ2_K& block, const Place& from, std::int64_t) {
  block.d = load<f16>(from.group + 2 * from.lane);
  block.dmin = load<f16>(from.group + 32 + 2 * from.lane);
  for (int s = 0; s < 16; ++s) block.scales[s] = load<std::uint8_t>(from.group + 64 + 16 * s + from.lane);
  take_pairs(block.qs, from, q2_header, q2_step);
}

constexpr std::int64_t q3_header = 224, q3_step = 192;

void put(const BlockQ3_K& block, const Place& to, std::int64_t) {
  store(to.group + 2 * to.lane, block.d);
  for (int v = 0; v < 3; ++v) store(to.word(32, v), load(block.scales + 4 * v));
  put_pairs(block.qs, to, q3_header, q3_step);
  put_single_bits(block.hmask, to, q3_header + 128, q3_step);
}
void take(BlockQ3_K& block, const Place& from, std::int64_t) {
  block.d = load<f16>(from.group + 2 * from.lane);
  for (int v = 0; v < 3; ++v) store(block.scales + 4 * v, load(from.word(32, v)));
  take_pairs(block.qs, from, q3_header, q3_step);
  take_single_bits(block.hmask, from, q3_header + 128, q3_step);
}

void put(const BlockIQ4_XS& block, const Place& to, std::int64_t) {
  store(to.group + 2 * to.lane, block.d);
  store(to.group + 32 + 2 * to.lane, block.scales_h);
  store(to.word(64, 0), load(block.scales_l));
  for (int w = 0; w < 32; ++w) store(to.word(128, w), load(block.qs + 4 * w));
}
void take(BlockIQ4_XS& block, const Place& from, std::int64_t) {
  block.d = load<f16>(from.group + 2 * from.lane);
  block.scales_h = load<std::uint16_t>(from.group + 32 + 2 * from.lane);
  store(block.scales_l, load(from.word(64, 0)));
  for (int w = 0; w < 32; ++w) store(block.qs + 4 * w, load(from.word(128, w)));
}

/// Calls `visit(Block())` for the type's block.
template <class Visit>
auto visit_block(DType type, const Visit& visit) {
  switch (type) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) \
  case DType::name:                                              \
    return visit(Block());
#include "ir/base/dtype.def"
    default:
      HEDDLE_CHECK(false, "panels of {}", name(type));
  }
}

}  // namespace

bool has_panels(DType type) {
  switch (type) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) case DType::name:
#include "ir/base/dtype.def"
    return true;
    default:
      return false;
  }
}

std::int64_t panel_group_bytes(DType type, std::int64_t columns) {
  return visit_block(type, [&]<class Block>(Block) -> std::int64_t {
    if constexpr (sizeof(Block) >= 64) return columns / 256 * panel_rows * std::int64_t(sizeof(Block));
    else return header_bytes<Block>(columns) + columns / 32 * panel_rows * (std::int64_t(sizeof(Block)) - scale_bytes<Block>());
  });
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
