#include "codegen/cuda/formats_mma.h"

#include <numeric>

#include "codegen/cuda/text.h"

namespace heddle::codegen::cuda {

// `scales`: d and d * sum of the first 16 activations, then of the last 16. `first`, `last`: the sums of products on top of `origin`, the
// bits of 1.5 * 2^23 in float32: they are below 2^22 in size, so that the sum's bits are those of the float 1.5 * 2^23 + sum, and a
// subtraction converts at twice the rate of the instruction for it.
namespace {

constexpr std::string_view tile_dot = R"(
constexpr int origin = 0x4b400000;
INLINE float number(int sum) { return __uint_as_float((u32)sum) - 12582912.0f; }
template <bool HALVES, bool OFFSET> INLINE float tile_dot(float sum, float2 f, const float4& scales, int first, int last) {
  if (HALVES) return sum + f.x * (scales.x * number(first) - 32 * scales.y) + f.y * (scales.z * number(last) - 32 * scales.w);
  sum += f.x * (scales.x * number(first) + scales.z * number(last));
  return OFFSET ? sum + f.y * (scales.y + scales.w) : sum;
}
)";

/// Blocks of 16 bytes. A row's pieces are turned round by the row's number, so that the words of eight rows lie in different banks.
constexpr std::string_view nibbles_text = R"(
INLINE int nibble_place(int r, int b) { return (r * $blocks + (b ^ ($blocks == 8 ? r & 7 : r >> 1 & 3))) * 16; }
INLINE void nibble_words(const char* from, int r, int b, int j, u32& low, u32& high) {
  const u32 w = *(const u32*)(from + nibble_place(r, b) + 4 * j);
  low = w & 0x0f0f0f0f, high = w >> 4 & 0x0f0f0f0f;
}
)";

constexpr std::string_view q4_K_text = R"(
INLINE void copy_rows_q4_K(char* to, int r, int b, const char* p0, const char* p1, u32 at) {
  copy16(to + nibble_place(r, b), p0 + 16ll * at);
  if (b == 0) copy16(to + $factors + 16 * r, p1 + 16ll * (at / 8));
}
INLINE void words_q4_K(const char* from, int r, int b, int j, u32& low, u32& high) { nibble_words(from, r, b, j, low, high); }
INLINE float2 factors_q4_K(const char* from, int r, int b, int first) {
  Block o;
  k_factors(o, *(const uint4*)(from + $factors + 16 * r), first + b);
  return make_float2(o.a, o.c);
}
)";

constexpr std::string_view q5_K_text = R"(
INLINE void copy_rows_q5_K(char* to, int r, int b, const char* p0, const char* p1, const char* p2, u32 at) {
  copy16(to + nibble_place(r, b), p0 + 16ll * at);
  copy4(to + $high + 4 * (r * $blocks + b), p1 + 4ll * at);
  if (b == 0) copy16(to + $factors + 16 * r, p2 + 16ll * (at / 8));
}
INLINE void words_q5_K(const char* from, int r, int b, int j, u32& low, u32& high) {
  nibble_words(from, r, b, j, low, high);
  const u32 bits = *(const u32*)(from + $high + 4 * (r * $blocks + b)) >> 4 * j;
  low |= ((bits & 15) * 0x00204081 & 0x01010101) << 4, high |= ((bits >> 16 & 15) * 0x00204081 & 0x01010101) << 4;
}
INLINE float2 factors_q5_K(const char* from, int r, int b, int first) {
  Block o;
  k_factors(o, *(const uint4*)(from + $factors + 16 * r), first + b);
  return make_float2(o.a, o.c);
}
)";

constexpr std::string_view q6_K_text = R"(
INLINE int high_place(int r, int pair) { return $high + (r * ($blocks / 2) + (pair ^ ($blocks == 8 ? r >> 1 & 3 : r >> 2 & 1))) * 16; }
INLINE void copy_rows_q6_K(char* to, int r, int b, const char* p0, const char* p1, const char* p2, const char* p3, u32 at) {
  copy16(to + nibble_place(r, b), p0 + 16ll * at);
  if (b % 2 == 0) copy16(to + high_place(r, b / 2), p1 + 8ll * at);
  if (b == 0) copy$scales(to + $factors + $scales * r, p2 + 2ll * at);
  if (b == 1) copy4(to + $factors + 16 * $scales + 4 * r, p3 + 4ll * (at / 8));
}
INLINE void words_q6_K(const char* from, int r, int b, int j, u32& low, u32& high) {
  nibble_words(from, r, b, j, low, high);
  const uint2 bits = *(const uint2*)(from + high_place(r, b / 2) + b % 2 * 8);
  low |= (bits.x >> 2 * j & 0x03030303) << 4, high |= (bits.y >> 2 * j & 0x03030303) << 4;
}
INLINE float2 factors_q6_K(const char* from, int r, int b, int) {
  const u32 scales = *(const u16*)(from + $factors + $scales * r + 2 * b);
  const float d = *(const float*)(from + $factors + 16 * $scales + 4 * r);
  return make_float2(d * (float)(signed char)(scales & 255), d * (float)(signed char)(scales >> 8));
}
)";

/// $together blocks' factors of f16 are one copy.
constexpr std::string_view q4_0_text = R"(
INLINE void copy_rows_q4_0(char* to, int r, int b, const char* p0, const char* p1, u32 at) {
  copy16(to + nibble_place(r, b), p0 + 16ll * at);
  if (b % $together == 0) copy$copied(to + $factors + 2 * (r * $blocks + b), p1 + 2ll * at);
}
INLINE void words_q4_0(const char* from, int r, int b, int j, u32& low, u32& high) { nibble_words(from, r, b, j, low, high); }
INLINE float2 factors_q4_0(const char* from, int r, int b, int) {
  const float d = low_f16(*(const u16*)(from + $factors + 2 * (r * $blocks + b)));
  return make_float2(d, -8 * d);
}
)";

constexpr std::string_view q8_0_text = R"(
INLINE int byte_place(int r, int piece) { return (r * (2 * $blocks) + (piece ^ (r & 7))) * 16; }
INLINE void copy_rows_q8_0(char* to, int r, int b, const char* p0, const char* p1, u32 at) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int piece = b % $together + i * $together + 2 * (b - b % $together);
    copy16(to + byte_place(r, piece), p0 + 32ll * (at - b % $together) + 16 * (b % $together + i * $together));
  }
  if (b % $together == 0) copy$copied(to + $factors + 2 * (r * $blocks + b), p1 + 2ll * at);
}
INLINE void words_q8_0(const char* from, int r, int b, int j, u32& low, u32& high) {
  low = *(const u32*)(from + byte_place(r, 2 * b) + 4 * j), high = *(const u32*)(from + byte_place(r, 2 * b + 1) + 4 * j);
}
INLINE float2 factors_q8_0(const char* from, int r, int b, int) {
  return make_float2(low_f16(*(const u16*)(from + $factors + 2 * (r * $blocks + b))), 0);
}
)";

}  // namespace

std::string tile_prelude(int blocks) {
  return std::string(tile_dot.substr(1)) + filled(nibbles_text.substr(1), {{"blocks", std::to_string(blocks)}});
}

std::optional<TileFormat> tile_format_of(const Format& format, std::int64_t columns, int blocks) {
  if (!format.integers) return std::nullopt;
  const int nibbles = 16 * blocks * 16, together = int(std::gcd(columns / 32, std::int64_t(blocks)));
  TileFormat out;
  out.dot = fmt::format("tile_dot<{}, {}>", format.halves, format.offset);
  int high = nibbles, factors = nibbles, scales = 2 * blocks;
  std::string_view text;
  switch (format.type) {
    case DType::q4_K:
      text = q4_K_text, out.stage_bytes = factors + 16 * 16;
      break;
    case DType::q5_K:
      text = q5_K_text, factors = high + 16 * blocks * 4, out.stage_bytes = factors + 16 * 16;
      break;
    case DType::q6_K:
      text = q6_K_text, factors = high + 16 * blocks * 8, out.stage_bytes = factors + 16 * scales + 64;
      break;
    case DType::q4_0:
      text = q4_0_text, out.stage_bytes = factors + 16 * scales;
      break;
    case DType::q8_0:
      text = q8_0_text, factors = 2 * nibbles, out.stage_bytes = factors + 16 * scales;
      break;
    default:
      return std::nullopt;
  }
  if (together == 1) return std::nullopt;  // a factor of two bytes cannot be copied on its way
  const Words words{{"blocks", std::to_string(blocks)}, {"high", std::to_string(high)},         {"factors", std::to_string(factors)},
                    {"scales", std::to_string(scales)}, {"together", std::to_string(together)}, {"copied", std::to_string(2 * together)}};
  out.text = filled(text.substr(1), words);
  return out;
}

}  // namespace heddle::codegen::cuda
