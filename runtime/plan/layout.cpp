#include "runtime/plan/layout.h"

#include <bit>
#include <cstring>

#include "ir/base/blocks.h"
#include "runtime/plan/panels.h"

namespace heddle::plan {
namespace {

static_assert(std::endian::native == std::endian::little, "blocks are little-endian, and words below are read as they lie");

constexpr Plane planes_of_q4_0[] = {{"qs", 16, 32}, {"d", 2, 32}};
constexpr Plane planes_of_q4_1[] = {{"qs", 16, 32}, {"dm", 4, 32}};
constexpr Plane planes_of_q5_0[] = {{"qs", 16, 32}, {"qh", 4, 32}, {"d", 2, 32}};
constexpr Plane planes_of_q5_1[] = {{"qs", 16, 32}, {"qh", 4, 32}, {"dm", 4, 32}};
constexpr Plane planes_of_q8_0[] = {{"qs", 32, 32}, {"d", 2, 32}};
constexpr Plane planes_of_q2_K[] = {{"qs", 8, 32}, {"scales", 2, 32}, {"dm", 4, 256}};
constexpr Plane planes_of_q3_K[] = {{"qs", 8, 32}, {"qh", 4, 32}, {"header", 16, 256}};
constexpr Plane planes_of_q4_K[] = {{"qs", 16, 32}, {"header", 16, 256}};
constexpr Plane planes_of_q5_K[] = {{"qs", 16, 32}, {"qh", 4, 32}, {"header", 16, 256}};
constexpr Plane planes_of_q6_K[] = {{"ql", 16, 32}, {"qh", 8, 32}, {"scales", 2, 32}, {"d", 4, 256}};
constexpr Plane planes_of_iq4_nl[] = {{"qs", 16, 32}, {"d", 2, 32}};
constexpr Plane planes_of_iq4_xs[] = {{"qs", 16, 32}, {"header", 8, 256}};
constexpr Plane planes_of_mxfp4[] = {{"qs", 16, 32}, {"e", 1, 32}};

constexpr std::int64_t plane_alignment = 256;
std::int64_t aligned(std::int64_t bytes) { return (bytes + plane_alignment - 1) / plane_alignment * plane_alignment; }

template <class T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

/// 32 bytes that hold elements 0..31 of one group in their low nibbles and of another in their high ones become the 16-byte pieces of
/// both groups.
void split_nibbles(const std::uint8_t* in, std::byte* low_group, std::byte* high_group) {
  constexpr std::uint64_t low = 0x0f0f0f0f0f0f0f0fu, high = ~low;
  for (int i = 0; i < 16; i += 8) {
    const auto a = load<std::uint64_t>(in + i), b = load<std::uint64_t>(in + 16 + i);
    store(low_group + i, (a & low) | (b & low) << 4);
    store(high_group + i, (a & high) >> 4 | (b & high));
  }
}

/// f16 d, f16 dmin, 8 scales and 8 minima of 6 bits one after the other.
template <class Block>
void pack_header(const Block& block, std::byte* out) {
  std::uint64_t scales = 0, mins = 0;
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = scale_min(block.scales, j);
    scales |= std::uint64_t(s.scale) << (6 * j);
    mins |= std::uint64_t(s.min) << (6 * j);
  }
  store(out, block.d);
  store(out + 2, block.dmin);
  std::memcpy(out + 4, &scales, 6);
  std::memcpy(out + 10, &mins, 6);
}

/// The lowest bits of 8 bytes, byte 0's first.
std::uint8_t gather_bits(std::uint64_t bytes) { return std::uint8_t((bytes & 0x0101010101010101u) * 0x0102040810204080u >> 56); }

/// 32 bytes with one bit of eight times 32 elements become eight times 4 bytes.
void split_bits(const std::uint8_t* in, std::byte* out) {
  for (int i = 0; i < 32; i += 8) {
    const auto bytes = load<std::uint64_t>(in + i);
    for (int j = 0; j < 8; ++j) out[4 * j + i / 8] = std::byte(gather_bits(bytes >> j));
  }
}

/// 64 bytes, of which each 32 have two bits of four times 32 elements, become eight times 8 bytes.
void split_pairs(const std::uint8_t* in, std::byte* out) {
  for (int b = 0; b < 8; ++b)
    for (int part = 0; part < 2; ++part) {
      std::uint32_t word = 0;
      for (int w = 0; w < 4; ++w)
        word |= (load<std::uint32_t>(in + b / 4 * 32 + 16 * part + 4 * w) >> (b % 4 * 2) & 0x03030303u) << (2 * w);
      store(out + 8 * b + 4 * part, word);
    }
}

/// Each `take_apart` writes one block's pieces; `out` has one pointer per plane, to the pieces of this block.
void take_apart(const BlockQ4_0& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  store(out[1], block.d);
}

void take_apart(const BlockIQ4_NL& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  store(out[1], block.d);
}

void take_apart(const BlockQ4_1& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  store(out[1], block.d);
  store(out[1] + 2, block.m);
}

void take_apart(const BlockQ5_0& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  std::memcpy(out[1], block.qh, 4);
  store(out[2], block.d);
}

void take_apart(const BlockQ5_1& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  std::memcpy(out[1], block.qh, 4);
  store(out[2], block.d);
  store(out[2] + 2, block.m);
}

void take_apart(const BlockQ8_0& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 32);
  store(out[1], block.d);
}

void take_apart(const BlockQ2_K& block, std::byte* const* out) {
  split_pairs(block.qs, out[0]);
  std::memcpy(out[1], block.scales, 16);
  store(out[2], block.d);
  store(out[2] + 2, block.dmin);
}

void take_apart(const BlockQ3_K& block, std::byte* const* out) {
  split_pairs(block.qs, out[0]);
  split_bits(block.hmask, out[1]);
  std::uint64_t low = 0;
  std::uint32_t high = 0;
  for (int j = 0; j < 16; ++j) {
    const auto scale = std::uint32_t(q3_K_scale(block, j) + 32);
    low |= std::uint64_t(scale & 15) << (4 * j);
    high |= (scale >> 4) << (2 * j);
  }
  store(out[2], std::uint32_t(block.d.bits));
  store(out[2] + 4, low);
  store(out[2] + 12, high);
}

void take_apart(const BlockQ4_K& block, std::byte* const* out) {
  for (int pair = 0; pair < 4; ++pair) split_nibbles(block.qs + 32 * pair, out[0] + 32 * pair, out[0] + 32 * pair + 16);
  pack_header(block, out[1]);
}

void take_apart(const BlockQ5_K& block, std::byte* const* out) {
  for (int pair = 0; pair < 4; ++pair) split_nibbles(block.qs + 32 * pair, out[0] + 32 * pair, out[0] + 32 * pair + 16);
  split_bits(block.qh, out[1]);
  pack_header(block, out[2]);
}

void take_apart(const BlockQ6_K& block, std::byte* const* out) {
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t* low = block.ql + 64 * half;
    std::byte* ql = out[0] + 64 * half;
    split_nibbles(low, ql, ql + 32);            // quarters 0 and 2
    split_nibbles(low + 32, ql + 16, ql + 48);  // quarters 1 and 3
  }
  split_pairs(block.qh, out[1]);
  std::memcpy(out[2], block.scales, 16);
  store(out[3], to_float(block.d));
}

void take_apart(const BlockIQ4_XS& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 128);
  std::memcpy(out[1], &block, 8);
}

void take_apart(const BlockMXFP4& block, std::byte* const* out) {
  std::memcpy(out[0], block.qs, 16);
  store(out[1], block.e);
}

template <class Block>
void blocks_to_planes(std::span<const Plane> planes, int block_elements, const std::byte* in, std::int64_t first_block, std::int64_t blocks,
                      std::byte* const* plane_begin) {
  std::byte* at[4];
  std::int64_t step[4];
  for (std::size_t p = 0; p < planes.size(); ++p) {
    step[p] = std::int64_t(block_elements / planes[p].per) * planes[p].bytes;
    at[p] = plane_begin[p] + first_block * step[p];
  }
  for (std::int64_t i = 0; i < blocks; ++i) {
    take_apart(load<Block>(in + i * std::int64_t(sizeof(Block))), at);
    for (std::size_t p = 0; p < planes.size(); ++p) at[p] += step[p];
  }
}

}  // namespace

std::span<const Plane> planes_of(DType type) {
  switch (type) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) \
  case DType::name:                                              \
    return planes_of_##name;
#include "ir/base/dtype.def"
    default:
      return {};
  }
}

std::int64_t plane_offset(DType type, std::int64_t rows, std::int64_t columns, std::size_t index) {
  const auto planes = planes_of(type);
  HEDDLE_CHECK(index < planes.size(), "plane {} of {}", index, name(type));
  std::int64_t offset = 0;
  for (const Plane& plane : planes.first(index)) offset = aligned(offset + rows * (columns / plane.per) * plane.bytes);
  return offset;
}

Result<std::int64_t> stored_bytes(Layout layout, DType type, std::int64_t rows, std::int64_t columns) {
  if (layout == Layout::rows) return bytes_of(type, rows * columns);
  const auto planes = planes_of(type);
  if (layout == Layout::planes ? planes.empty() : !has_panels(type)) return error("layout '{}' is not defined for {}", layout, name(type));
  if (columns % info(type).elements != 0)
    return error("layout '{}' of {} needs whole blocks of {} a row, {} columns are none", layout, name(type), info(type).elements, columns);
  if (layout == Layout::panels) return panels_bytes(type, rows, columns);
  const Plane& last = planes.back();
  return plane_offset(type, rows, columns, planes.size() - 1) + rows * (columns / last.per) * last.bytes;
}

void to_planes(DType type, const std::byte* in, std::int64_t row_begin, std::int64_t rows, std::int64_t columns, std::int64_t total_rows,
               std::byte* out) {
  const auto planes = planes_of(type);
  const int block_elements = info(type).elements;
  HEDDLE_CHECK(!planes.empty() && columns % block_elements == 0 && row_begin >= 0 && rows >= 0 && row_begin + rows <= total_rows,
               "planes of {}: rows {} + {} of {}, {} columns", name(type), row_begin, rows, total_rows, columns);
  std::byte* begin[4];
  for (std::size_t p = 0; p < planes.size(); ++p) begin[p] = out + plane_offset(type, total_rows, columns, p);
  const std::int64_t row_blocks = columns / block_elements, first = row_begin * row_blocks, count = rows * row_blocks;
  switch (type) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(dtype, elements, bytes, ggml, Block) \
  case DType::dtype:                                              \
    return blocks_to_planes<Block>(planes, elements, in, first, count, begin);
#include "ir/base/dtype.def"
    default:
      HEDDLE_CHECK(false, "planes of {}", name(type));
  }
}

}  // namespace heddle::plan
