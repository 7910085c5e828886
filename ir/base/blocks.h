#pragma once
#include <bit>
#include <cstdint>

#include "ir/base/half.h"

/// Block layouts of the quantised formats, as GGUF stores them (source: the GGML file format; all little-endian).
namespace heddle {

/// Written with d = m / -8 where m is the element of largest magnitude, and q = x * (1 / d) + 8.5 cut to an integer of [0, 15].
struct BlockQ4_0 {  // x = d * (q - 8)
  f16 d;
  std::uint8_t qs[16];  // element i in the low nibble of qs[i], 16 + i in the high one
};
struct BlockQ4_1 {  // x = d * q + m
  f16 d, m;
  std::uint8_t qs[16];  // as q4_0
};
struct BlockQ5_0 {  // x = d * (q - 16)
  f16 d;
  std::uint8_t qh[4];   // bit i of the little-endian word is the fifth bit of element i
  std::uint8_t qs[16];  // as q4_0
};
struct BlockQ5_1 {  // x = d * q + m
  f16 d, m;
  std::uint8_t qh[4], qs[16];  // as q5_0
};
/// Written with d = max|x| / 127 and q = x * (1 / d) rounded to nearest, halves away from zero.
struct BlockQ8_0 {  // x = d * q
  f16 d;
  std::int8_t qs[32];
};
/// The 8-bit activations of the CPU target. What `quantize` writes is the definition, for the interpreter and every target alike:
/// in float, d = max|x| / 127 and i = d != 0 ? 1 / d : 0; q = x * i rounded to nearest, halves to even; the stored d is d rounded to f16
/// and the stored s is d * sum(q) rounded to f16, with the unrounded d. Readers see d (as stored) * q.
struct BlockQ8_1 {  // x = d * q;  s = d * sum(q)
  f16 d, s;
  std::int8_t qs[32];
};
struct BlockQ2_K {          // 16 sub-blocks of 16: x = d * (scales & 15) * q - dmin * (scales >> 4)
  std::uint8_t scales[16];  // of a sub-block: scale in the low nibble, minimum in the high one
  std::uint8_t qs[64];      // bits 2j, 2j + 1 of qs[32 * h + i] belong to element 128 * h + 32 * j + i
  f16 d, dmin;
};
struct BlockQ3_K {          // 16 sub-blocks of 16: x = d * scale * (q - 4)
  std::uint8_t hmask[32];   // bit j of hmask[i] is the third bit of element 32 * j + i
  std::uint8_t qs[64];      // as q2_K
  std::uint8_t scales[12];  // 16 scales of 6 bits, less 32: `q3_K_scale`
  f16 d;
};
/// Written as ggml's reference does: per sub-block the scale and minimum with the least weighted squared error over 21 grids, weights
/// sqrt(mean of x^2) + |x|; then both in 63 steps of the block's largest, and the quants rounded anew to what a reader will see.
struct BlockQ4_K {  // 8 sub-blocks of 32: x = d * scale * q - dmin * min
  f16 d, dmin;
  std::uint8_t scales[12];  // 8 scales and 8 mins of 6 bits
  std::uint8_t qs[128];     // per 64 elements 32 bytes: low nibbles the first 32, high nibbles the second
};
struct BlockQ5_K {  // as q4_K with a fifth bit: bit j of qh[i] belongs to element 32 * j + i
  f16 d, dmin;
  std::uint8_t scales[12];
  std::uint8_t qh[32];
  std::uint8_t qs[128];
};
struct BlockQ6_K {       // 16 sub-blocks of 16: x = d * scale * (q - 32)
  std::uint8_t ql[128];  // low 4 bits
  std::uint8_t qh[64];   // high 2 bits
  std::int8_t scales[16];
  f16 d;
};
struct BlockIQ4_NL {  // x = d * iq4_values[q]
  f16 d;
  std::uint8_t qs[16];  // as q4_0
};
struct BlockIQ4_XS {  // 8 sub-blocks of 32: x = d * (scale - 32) * iq4_values[q]
  f16 d;
  std::uint16_t scales_h;    // high 2 bits of scale j at bit 2j
  std::uint8_t scales_l[4];  // low 4 bits, two to a byte, the first in the low nibble
  std::uint8_t qs[128];      // of a sub-block 16 bytes as q4_0
};
struct BlockMXFP4 {  // x = e8m0_half(e) * fp4_values[q]  (source: OCP Microscaling Formats 1.0, MXFP4)
  std::uint8_t e;
  std::uint8_t qs[16];  // as q4_0
};
/// Written with i = -127 / m where m is the element of largest magnitude, q = x * i rounded to nearest, halves to even, and d = 1 / i.
struct BlockQ8_K {  // x = d * q
  float d;
  std::int8_t qs[256];
  std::int16_t bsums[16];  // sums of 16
};
struct BlockQ8_16 {  // x = d * q;  d = max|x| / 127 in float, q = x * (127 / max|x|) rounded half to even, s = d * sum(q).  heddle's own
  float d, s;
  std::int8_t qs[16];
};
/// Element 32 * t + 4 * s + j (t, j < 4, s < 8) is halves[f16_128_place(element)]: in step s of a product of 16 x 16 halves, lane t of four
/// multiplies the elements 4 * s + {0, 2} and 4 * s + {1, 3} of the weights' 32 that it holds, out of one register each. Rounded to
/// nearest, halves to even; what is beyond f16 becomes infinite.  heddle's own
struct BlockF16_128 {
  f16 halves[128];
};
constexpr int f16_128_place(int element) {
  const int t = element / 32, s = element % 32 / 4, j = element % 4;
  return 16 * s + 8 * (j & 1) + 2 * t + (j >> 1);
}
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) static_assert(sizeof(Block) == bytes);
#include "ir/base/dtype.def"
static_assert(sizeof(BlockQ8_1) == 36 && sizeof(BlockQ8_K) == 292 && sizeof(BlockQ8_16) == 24 && sizeof(BlockF16_128) == 256);

/// The numbers that the 4-bit codes of iq4_nl and iq4_xs stand for.
inline constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Scale and minimum of sub-block `j` (0..7) out of the 12 packed bytes of q4_K and q5_K.
struct ScaleMin {
  std::uint8_t scale, min;
};
inline ScaleMin scale_min(const std::uint8_t* packed, int j) {
  if (j < 4) return {std::uint8_t(packed[j] & 63), std::uint8_t(packed[j + 4] & 63)};
  return {std::uint8_t((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4)), std::uint8_t((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))};
}
/// The inverse of `scale_min`, where the bytes were zero.
inline void set_scale_min(std::uint8_t* packed, int j, ScaleMin s) {
  if (j < 4) {
    packed[j] = std::uint8_t(packed[j] | s.scale);
    packed[j + 4] = std::uint8_t(packed[j + 4] | s.min);
  } else {
    packed[j + 4] = std::uint8_t((s.scale & 15) | (s.min & 15) << 4);
    packed[j - 4] = std::uint8_t(packed[j - 4] | (s.scale >> 4) << 6);
    packed[j] = std::uint8_t(packed[j] | (s.min >> 4) << 6);
  }
}

/// Twice the numbers that the codes of mxfp4 stand for, e2m1.
inline constexpr std::int8_t fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
/// Half of 2^(e - 127).
inline float e8m0_half(std::uint8_t e) { return std::bit_cast<float>(e < 2 ? 0x00200000u << e : std::uint32_t(e - 1) << 23); }

/// Element `i` of a block of q5_0 or q5_1.
template <class Block>
int five_bits(const Block& block, int i) {
  const int low = i < 16 ? block.qs[i] & 15 : block.qs[i - 16] >> 4;
  return low | (block.qh[i / 8] >> (i % 8) & 1) << 4;
}

/// Element `e` out of the 64 bytes of q2_K and q3_K.
inline int two_bits(const std::uint8_t* qs, int e) { return qs[e / 128 * 32 + e % 32] >> (e % 128 / 32 * 2) & 3; }

/// Of sub-block `j` (0..15), [-32, 31]: low 4 bits in a nibble of the first 8 bytes, high 2 bits in the last 4 bytes.
inline int q3_K_scale(const BlockQ3_K& block, int j) {
  const int low = block.scales[j % 8] >> (j / 8 * 4) & 15, high = block.scales[8 + j % 4] >> (j / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

/// Of sub-block `j` (0..7), [-32, 31].
inline int iq4_xs_scale(const BlockIQ4_XS& block, int j) {
  return ((block.scales_l[j / 2] >> (j % 2 * 4) & 15) | (block.scales_h >> (2 * j) & 3) << 4) - 32;
}

}  // namespace heddle
