#pragma once
#include <cstdint>

#include "ir/base/half.h"

/// Block layouts of the quantised formats, as GGUF stores them (source: the GGML file format; all little-endian).
namespace heddle {

/// Written with d = m / -8 where m is the element of largest magnitude, and q = x * (1 / d) + 8.5 cut to an integer of [0, 15].
struct BlockQ4_0 {  // x = d * (q - 8)
  f16 d;
  std::uint8_t qs[16];  // element i in the low nibble of qs[i], 16 + i in the high one
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
static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ8_0) == 34 && sizeof(BlockQ8_1) == 36 && sizeof(BlockQ4_K) == 144 &&
              sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockQ8_K) == 292 && sizeof(BlockQ8_16) == 24 &&
              sizeof(BlockF16_128) == 256);

/// Scale and minimum of sub-block `j` (0..7) out of the 12 packed bytes of q4_K and q5_K.
struct ScaleMin {
  std::uint8_t scale, min;
};
inline ScaleMin scale_min(const std::uint8_t* packed, int j) {
  if (j < 4) return {std::uint8_t(packed[j] & 63), std::uint8_t(packed[j + 4] & 63)};
  return {std::uint8_t((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4)), std::uint8_t((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))};
}

}  // namespace heddle
