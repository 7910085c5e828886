#include "codegen/cuda/device/tile_formats.h"

#include <algorithm>
#include <numeric>

#include "codegen/cuda/source_text.h"
#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {

// `scales`: d and d * sum of the first 16 activations, then of the last 16. `first`, `last`: the sums of products on top of `origin`, the
// bits of 1.5 * 2^23 in float32: they are below 2^22 in size, so that the sum's bits are those of the float 1.5 * 2^23 + sum, and a
// subtraction converts at twice the rate of the instruction for it.
namespace {

constexpr std::string_view tile_dot = R"(
constexpr int origin = 0x4b400000;
INLINE float number(int sum) { return __uint_as_float((u32)sum) - 12582912.0f; }
// HALVES: BIAS is taken from every weight
template <bool HALVES, bool OFFSET, int BIAS> INLINE float tile_dot(float sum, float2 f, const float4& scales, int first, int last) {
  if (HALVES) return sum + f.x * (scales.x * number(first) - BIAS * scales.y) + f.y * (scales.z * number(last) - BIAS * scales.w);
  sum += f.x * (scales.x * number(first) + scales.z * number(last));
  return OFFSET ? sum + f.y * (scales.y + scales.w) : sum;
}
)";

/// Pieces of 16 bytes, and pairs of 8 bytes. A row's are turned round by the row's number, so that the words of eight rows lie in different
/// banks.
constexpr std::string_view shared_text = R"(
INLINE int nibble_place(int r, int b) { return (r * $blocks + (b ^ ($blocks == 8 ? r & 7 : r >> 1 & 3))) * 16; }
INLINE int pair_place(int r, int pair) { return (r * ($blocks / 2) + (pair ^ ($blocks == 8 ? r >> 1 & 3 : r >> 2 & 1))) * 16; }
INLINE void split(u32 w, u32& low, u32& high) { low = w & 0x0f0f0f0f, high = w >> 4 & 0x0f0f0f0f; }
template <int TO> INLINE void add_bits(u32 bits, int j, u32& low, u32& high) {
  bits >>= 4 * j;
  low |= spread(bits) << TO, high |= spread(bits >> 16) << TO;
}
)";

/// What is particular to a format in planes. $plane stands for what its plane holds of block b of row r: uint4 (16 bytes of 256 elements),
/// uint2 (8 bytes), or u32; of 16 bytes of 32 elements the word j. `words` sets `low` and `high`, `factors` gives a float2.
struct TileText {
  DType type;
  std::string_view words, factors;
  int bias = 0;               // as in tile_dot
  std::string_view dot = {};  // text of a tile_dot of its own, named after the format
};

constexpr TileText tile_texts[] = {
    {DType::q4_0, "split($qs, low, high);", "const float d = low_f16($d); return make_float2(d, -8 * d);"},
    {DType::q4_1, "split($qs, low, high);", "return make_float2(low_f16($dm), high_f16($dm));"},
    {DType::q5_0, "split($qs, low, high); add_bits<4>($qh, j, low, high);", "const float d = low_f16($d); return make_float2(d, -16 * d);"},
    {DType::q5_1, "split($qs, low, high); add_bits<4>($qh, j, low, high);", "return make_float2(low_f16($dm), high_f16($dm));"},
    {.type = DType::q2_K,
     .words = "low = $qs.x >> 2 * j & 0x03030303, high = $qs.y >> 2 * j & 0x03030303;",
     .factors = "return make_float2(__uint_as_float($dm), __uint_as_float($scales));",
     .dot = R"(
INLINE float tile_dot_q2_K(float sum, float2 f, const float4& scales, int first, int last) {
  const u32 dm = __float_as_uint(f.x), s = __float_as_uint(f.y);  // both as in the file
  sum += low_f16(dm) * ((float)(int)(s & 15) * (scales.x * number(first)) + (float)(int)(s >> 8 & 15) * (scales.z * number(last)));
  return sum - high_f16(dm) * ((float)(int)(s >> 4 & 15) * scales.y + (float)(int)(s >> 12) * scales.w);
}
)"},
    {DType::q3_K, "low = $qs.x >> 2 * j & 0x03030303, high = $qs.y >> 2 * j & 0x03030303; add_bits<2>($qh, j, low, high);",
     "Block o; q3_factors(o, $header, first + b); return make_float2(o.a, o.b);", 4},
    {DType::q4_K, "split($qs, low, high);", "Block o; k_factors(o, $header, first + b); return make_float2(o.a, o.c);"},
    {DType::q5_K, "split($qs, low, high); add_bits<4>($qh, j, low, high);",
     "Block o; k_factors(o, $header, first + b); return make_float2(o.a, o.c);"},
    {DType::q6_K, "split($ql, low, high); low |= ($qh.x >> 2 * j & 0x03030303) << 4, high |= ($qh.y >> 2 * j & 0x03030303) << 4;",
     "const u32 scales = $scales; const float d = __uint_as_float($d);\n"
     "  return make_float2(d * (float)(signed char)(scales & 255), d * (float)(signed char)(scales >> 8));",
     32},
    {DType::iq4_nl, "look_up(iq4_values, $qs, low, high);", "return make_float2(low_f16($d), 0);"},
    {DType::iq4_xs, "look_up(iq4_values, $qs, low, high);", "return make_float2(iq4_factor($header, first + b), 0);"},
    {DType::mxfp4, "look_up(fp4_values, $qs, low, high);", "return make_float2(e8m0_half($e), 0);"},
};

constexpr std::string_view tile_text = R"($dot
INLINE void copy_rows_$name(char* to, int r, int b, $parameters) {
$copies}
INLINE void words_$name(const char* from, int r, int b, int j, u32& low, u32& high) { $words }
INLINE float2 factors_$name(const char* from, int r, int b, int first) { $factors }
)";

/// Nothing where neighbouring blocks have too small a piece in common for a copy on its way.
std::optional<TileFormat> text_of(const TileText& text, const Format& format, int together, int blocks) {
  const auto planes = plan::planes_of(format.type);
  std::string parameters, copies;
  Words held;
  int at = 0, shared_planes = 0;
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const auto& [name, bytes, per] = planes[i];
    parameters += fmt::format("const char* p{}, ", i);
    if (per == 256) {
      copies +=
          fmt::format("  if (b == {}) copy{}(to + {} + {} * r, p{} + {}ll * (at / 8));\n", shared_planes++, bytes, at, bytes, i, bytes);
      held.emplace_back(name, fmt::format("(*(const {}*)(from + {} + {} * r))",
                                          bytes == 16  ? "uint4"
                                          : bytes == 8 ? "uint2"
                                                       : "u32",
                                          at, bytes));
      at += 16 * bytes;
      continue;
    }
    if (bytes == 16) {
      copies += fmt::format("  copy16(to + {} + nibble_place(r, b), p{} + 16ll * at);\n", at, i);
      held.emplace_back(name, fmt::format("(*(const u32*)(from + {} + nibble_place(r, b) + 4 * j))", at));
    } else if (bytes == 8) {
      copies += fmt::format("  if (b % 2 == 0) copy16(to + {} + pair_place(r, b / 2), p{} + 8ll * at);\n", at, i);
      held.emplace_back(name, fmt::format("(*(const uint2*)(from + {} + pair_place(r, b / 2) + b % 2 * 8))", at));
    } else {
      const int copied = bytes == 4 ? 4 : bytes * together;
      if (copied < 4) return std::nullopt;
      copies += bytes == 4 ? std::string("  ") : fmt::format("  if (b % {} == 0) ", together);
      shared_planes += bytes < 4;
      copies += fmt::format("copy{}(to + {} + {} * (r * {} + b), p{} + {}ll * at);\n", copied, at, bytes, blocks, i, bytes);
      held.emplace_back(name, fmt::format("((u32)*(const {}*)(from + {} + {} * (r * {} + b)))",
                                          bytes == 4   ? "u32"
                                          : bytes == 2 ? "u16"
                                                       : "unsigned char",
                                          at, bytes, blocks));
    }
    at += 16 * blocks * bytes;
  }
  TileFormat out;
  out.stage_bytes = at;
  out.dot = text.dot.empty() ? fmt::format("tile_dot<{}, {}, {}>", format.halves, format.offset, text.bias) : "tile_dot_" + format.name;
  out.text = filled(tile_text, {{"dot", std::string(text.dot.empty() ? text.dot : text.dot.substr(1))},
                                {"name", format.name},
                                {"parameters", parameters + "u32 at"},
                                {"copies", copies},
                                {"words", filled(text.words, held)},
                                {"factors", filled(text.factors, held)}});
  return out;
}

/// $together blocks' factors of f16 are one copy.
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
  return std::string(tile_dot.substr(1)) + filled(shared_text.substr(1), {{"blocks", std::to_string(blocks)}});
}

std::optional<TileFormat> tile_format_of(const Format& format, std::int64_t columns, int blocks) {
  if (!format.integers) return std::nullopt;
  const int together = int(std::gcd(columns / 32, std::int64_t(blocks)));
  if (const auto* const text = std::ranges::find(tile_texts, format.type, &TileText::type); text != std::end(tile_texts))
    return text_of(*text, format, together, blocks);
  if (format.type != DType::q8_0 || together == 1) return std::nullopt;
  const int quants = 16 * blocks * 32;
  TileFormat out{.stage_bytes = quants + 16 * 2 * blocks, .dot = "tile_dot<false, false, 0>", .text = {}};
  out.text = filled(q8_0_text.substr(1), {{"blocks", std::to_string(blocks)},
                                          {"factors", std::to_string(quants)},
                                          {"together", std::to_string(together)},
                                          {"copied", std::to_string(2 * together)}});
  return out;
}

}  // namespace heddle::codegen::cuda
