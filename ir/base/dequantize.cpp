// What the bytes of every type mean: the element-wise definition that all kernels are compared with.
#include "ir/base/dequantize.h"

#include <bit>
#include <cstring>

#include "ir/base/blocks.h"

namespace heddle {
namespace {

// Blocks sit at any address of a mapped file, so they are copied out rather than pointed at.
template <class T>
T load(const std::byte* in, std::int64_t index) {
  T value;
  std::memcpy(&value, in + index * std::int64_t(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

void dequantize_f32(const std::byte* in, float* out, std::int64_t blocks) {
  if (blocks > 0) std::memcpy(out, in, std::size_t(blocks) * sizeof(float));
}

void dequantize_f16(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) out[i] = to_float(load<f16>(in, i));
}

void dequantize_bf16(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) out[i] = to_float(load<bf16>(in, i));
}

void dequantize_i32(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) out[i] = float(load<std::int32_t>(in, i));
}

void dequantize_q4_0(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ4_0>(in, b);
    const float d = to_float(block.d);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * float((block.qs[i] & 15) - 8);
      out[i + 16] = d * float((block.qs[i] >> 4) - 8);
    }
  }
}

void dequantize_q4_1(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ4_1>(in, b);
    const float d = to_float(block.d), m = to_float(block.m);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * float(block.qs[i] & 15) + m;
      out[i + 16] = d * float(block.qs[i] >> 4) + m;
    }
  }
}

void dequantize_q5_0(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ5_0>(in, b);
    const float d = to_float(block.d);
    for (int i = 0; i < 32; ++i) out[i] = d * float(five_bits(block, i) - 16);
  }
}

void dequantize_q5_1(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ5_1>(in, b);
    const float d = to_float(block.d), m = to_float(block.m);
    for (int i = 0; i < 32; ++i) out[i] = d * float(five_bits(block, i)) + m;
  }
}

void dequantize_q8_0(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ8_0>(in, b);
    const float d = to_float(block.d);
    for (int i = 0; i < 32; ++i) out[i] = d * float(block.qs[i]);
  }
}

void dequantize_q8_1(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockQ8_1>(in, b);
    const float d = to_float(block.d);
    for (int i = 0; i < 32; ++i) out[i] = d * float(block.qs[i]);
  }
}

void dequantize_q2_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ2_K>(in, b);
    const float d = to_float(block.d), dmin = to_float(block.dmin);
    for (int e = 0; e < 256; ++e) {
      const float scale = d * float(block.scales[e / 16] & 15), min = dmin * float(block.scales[e / 16] >> 4);
      out[e] = scale * float(two_bits(block.qs, e)) - min;
    }
  }
}

void dequantize_q3_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ3_K>(in, b);
    const float d = to_float(block.d);
    for (int e = 0; e < 256; ++e) {
      const int high = block.hmask[e % 32] >> (e / 32) & 1;
      out[e] = d * float(q3_K_scale(block, e / 16)) * float((two_bits(block.qs, e) | high << 2) - 4);
    }
  }
}

void dequantize_q4_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ4_K>(in, b);
    const float d = to_float(block.d), dmin = to_float(block.dmin);
    for (int j = 0; j < 8; ++j) {
      const ScaleMin s = scale_min(block.scales, j);
      const float scale = d * float(s.scale), min = dmin * float(s.min);
      for (int i = 0; i < 32; ++i) {
        const int q = (block.qs[j / 2 * 32 + i] >> (j % 2 * 4)) & 15;
        out[j * 32 + i] = scale * float(q) - min;
      }
    }
  }
}

void dequantize_q5_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ5_K>(in, b);
    const float d = to_float(block.d), dmin = to_float(block.dmin);
    for (int j = 0; j < 8; ++j) {
      const ScaleMin s = scale_min(block.scales, j);
      const float scale = d * float(s.scale), min = dmin * float(s.min);
      for (int i = 0; i < 32; ++i) {
        const int low = (block.qs[j / 2 * 32 + i] >> (j % 2 * 4)) & 15, high = (block.qh[i] >> j) & 1;
        out[j * 32 + i] = scale * float(low | high << 4) - min;
      }
    }
  }
}

void dequantize_q6_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ6_K>(in, b);
    const float d = to_float(block.d);
    for (int e = 0; e < 256; ++e) {
      const int half = e / 128, quarter = e % 128 / 32, i = e % 32;
      const int low = (block.ql[half * 64 + quarter % 2 * 32 + i] >> (quarter / 2 * 4)) & 15;
      const int high = (block.qh[half * 32 + i] >> (quarter * 2)) & 3;
      const int scale = block.scales[e / 16];
      out[e] = d * float(scale) * float((low | high << 4) - 32);
    }
  }
}

void dequantize_iq4_nl(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockIQ4_NL>(in, b);
    const float d = to_float(block.d);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * float(iq4_values[block.qs[i] & 15]);
      out[i + 16] = d * float(iq4_values[block.qs[i] >> 4]);
    }
  }
}

void dequantize_iq4_xs(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    const auto block = load<BlockIQ4_XS>(in, b);
    for (int j = 0; j < 8; ++j, out += 32) {
      const float scale = to_float(block.d) * float(iq4_xs_scale(block, j));
      for (int i = 0; i < 16; ++i) {
        out[i] = scale * float(iq4_values[block.qs[16 * j + i] & 15]);
        out[i + 16] = scale * float(iq4_values[block.qs[16 * j + i] >> 4]);
      }
    }
  }
}

void dequantize_mxfp4(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 32) {
    const auto block = load<BlockMXFP4>(in, b);
    const float d = e8m0_half(block.e);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * float(fp4_values[block.qs[i] & 15]);
      out[i + 16] = d * float(fp4_values[block.qs[i] >> 4]);
    }
  }
}

void dequantize_q8_K(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 256) {
    const auto block = load<BlockQ8_K>(in, b);
    for (int i = 0; i < 256; ++i) out[i] = block.d * float(block.qs[i]);
  }
}

void dequantize_q8_16(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 16) {
    const auto block = load<BlockQ8_16>(in, b);
    for (int i = 0; i < 16; ++i) out[i] = block.d * float(block.qs[i]);
  }
}

void dequantize_f16_128(const std::byte* in, float* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, out += 128) {
    const auto block = load<BlockF16_128>(in, b);
    for (int i = 0; i < 128; ++i) out[i] = to_float(block.halves[f16_128_place(i)]);
  }
}

}  // namespace heddle
