#include "ir/base/dtype.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/base/blocks.h"
#include "ir/base/check.h"
#include "ir/base/dequantize.h"

namespace heddle {
namespace {

// Blocks sit at any address, so they are copied rather than pointed at.
template <class T>
void store(std::byte* out, std::int64_t index, const T& value) {
  std::memcpy(out + index * std::int64_t(sizeof(T)), &value, sizeof(T));
}

void quantize_f32(const float* in, std::byte* out, std::int64_t blocks) {
  if (blocks > 0) std::memcpy(out, in, std::size_t(blocks) * sizeof(float));
}

void quantize_f16(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) store(out, i, to_f16(in[i]));
}

void quantize_bf16(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) store(out, i, to_bf16(in[i]));
}

/// Largest |x|; NaN if any element is NaN (NaN patterns are above infinity's).
float largest_magnitude(const float* x, int n) {
  std::uint32_t largest = 0;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  return std::bit_cast<float>(largest);
}

/// The element of largest magnitude with its sign, the first of equals; +0 if all are zeros, NaN if any element is NaN.
float extreme(const float* x, int n) {
  const float largest = largest_magnitude(x, n);
  return largest > 0 ? *std::find_if(x, x + n, [&](float v) { return std::fabs(v) == largest; }) : largest;
}

float reciprocal_or_zero(float d) { return d != 0 ? 1 / d : 0.0f; }

/// An already rounded value as an integer of [low, high]. NaN becomes 0: such a block has a scale that is not finite and reads as NaN.
int to_int(float rounded, int low, int high) { return std::isnan(rounded) ? 0 : int(std::clamp(rounded, float(low), float(high))); }

void quantize_q4_0(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 32) {
    const float d = extreme(in, 32) / -8, inverse = reciprocal_or_zero(d);  // the extreme gets q - 8 = -8, whatever its sign
    BlockQ4_0 block{to_f16(d), {}};
    const auto quant = [&](float x) { return unsigned(to_int(std::trunc(x * inverse + 8.5f), 0, 15)); };
    for (int i = 0; i < 16; ++i) block.qs[i] = std::uint8_t(quant(in[i]) | quant(in[i + 16]) << 4);
    store(out, b, block);
  }
}

void quantize_q8_0(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 32) {
    const float d = largest_magnitude(in, 32) / 127, inverse = reciprocal_or_zero(d);
    BlockQ8_0 block{to_f16(d), {}};
    for (int i = 0; i < 32; ++i) block.qs[i] = std::int8_t(to_int(std::round(in[i] * inverse), -127, 127));
    store(out, b, block);
  }
}

void quantize_q8_1(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 32) {
    const float d = largest_magnitude(in, 32) / 127, inverse = reciprocal_or_zero(d);
    BlockQ8_1 block{to_f16(d), {}, {}};
    int sum = 0;
    for (int i = 0; i < 32; ++i) {
      block.qs[i] = std::int8_t(to_int(std::nearbyint(in[i] * inverse), -127, 127));
      sum += block.qs[i];
    }
    block.s = to_f16(d * float(sum));
    store(out, b, block);
  }
}

/// Sub-block of q4_K while its scale and minimum are still floats: x = scale * q - min with min >= 0.
struct SubBlock {
  float scale = 0, min = 0;
  int q[32] = {};
};

/// Weighted least squares over candidate grids: each candidate stretches the range a little, rounds, and solves for scale and offset.
/// A better offset moves the candidates after it.
SubBlock fit_sub_block(const float* x) {
  float square_sum = 0;
  for (int i = 0; i < 32; ++i) square_sum += x[i] * x[i];
  const float mean = std::sqrt(square_sum / 32);
  float weight[32], sum_w = 0, sum_x = 0;
  for (int i = 0; i < 32; ++i) {
    weight[i] = mean + std::fabs(x[i]);
    sum_w += weight[i];
    sum_x += weight[i] * x[i];
  }
  float low = std::min(0.0f, *std::min_element(x, x + 32));
  const float high = *std::max_element(x, x + 32);
  SubBlock best;
  best.min = -low;
  if (high <= low) return best;

  const auto round_onto = [&](float steps, int* q) {
    const float inverse = steps / (high - low);
    for (int i = 0; i < 32; ++i) q[i] = to_int(std::nearbyint(inverse * (x[i] - low)), 0, 15);
  };
  const auto error_of = [&](float scale, float offset, const int* q) {
    float error = 0;
    for (int i = 0; i < 32; ++i) {
      const float difference = scale * float(q[i]) + offset - x[i];
      error += weight[i] * (difference * difference);
    }
    return error;
  };
  round_onto(15, best.q);
  best.scale = 1 / (15 / (high - low));
  float least_error = error_of(best.scale, low, best.q);
  for (int step = 0; step <= 20; ++step) {
    int q[32];
    round_onto(-1.0f + 0.1f * float(step) + 15, q);
    float sum_q = 0, sum_qq = 0, sum_xq = 0;
    for (int i = 0; i < 32; ++i) {
      sum_q += weight[i] * float(q[i]);
      sum_qq += weight[i] * float(q[i]) * float(q[i]);
      sum_xq += weight[i] * float(q[i]) * x[i];
    }
    const float determinant = sum_w * sum_qq - sum_q * sum_q;
    if (!(determinant > 0)) continue;
    float scale = (sum_w * sum_xq - sum_x * sum_q) / determinant, offset = (sum_qq * sum_x - sum_q * sum_xq) / determinant;
    if (offset > 0) {
      offset = 0;
      scale = sum_xq / sum_qq;
    }
    if (const float error = error_of(scale, offset, q); error < least_error) {
      least_error = error;
      low = offset;
      best.scale = scale;
      best.min = -offset;
      std::copy(q, q + 32, best.q);
    }
  }
  return best;
}

void quantize_q4_K(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 256) {
    BlockQ4_K block{};
    if (!std::isfinite(largest_magnitude(in, 256))) {
      block.d = to_f16(std::numeric_limits<float>::quiet_NaN());
      store(out, b, block);
      continue;
    }
    SubBlock fits[8];
    float largest_scale = 0, largest_min = 0;
    for (int j = 0; j < 8; ++j) {
      fits[j] = fit_sub_block(in + j * 32);
      largest_scale = std::max(largest_scale, fits[j].scale);
      largest_min = std::max(largest_min, fits[j].min);
    }
    block.d = to_f16(largest_scale / 63);
    block.dmin = to_f16(largest_min / 63);
    const float scale_steps = largest_scale > 0 ? 63 / largest_scale : 0, min_steps = largest_min > 0 ? 63 / largest_min : 0;
    for (int j = 0; j < 8; ++j) {
      SubBlock& fit = fits[j];
      const ScaleMin s{std::uint8_t(to_int(std::nearbyint(scale_steps * fit.scale), 0, 63)),
                       std::uint8_t(to_int(std::nearbyint(min_steps * fit.min), 0, 63))};
      set_scale_min(block.scales, j, s);
      const float scale = to_float(block.d) * float(s.scale), min = to_float(block.dmin) * float(s.min);  // as a reader sees them
      for (int i = 0; i < 32; ++i) {
        if (scale != 0) fit.q[i] = to_int(std::nearbyint((in[j * 32 + i] + min) / scale), 0, 15);
        std::uint8_t& pair = block.qs[j / 2 * 32 + i];
        pair = std::uint8_t(pair | fit.q[i] << (j % 2 * 4));
      }
    }
    store(out, b, block);
  }
}

void quantize_q8_K(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 256) {
    BlockQ8_K block{};
    if (const float largest = extreme(in, 256); largest != 0) {
      const float inverse = -127 / largest;  // the extreme gets -127, whatever its sign
      block.d = 1 / inverse;
      for (int i = 0; i < 256; ++i) {
        block.qs[i] = std::int8_t(to_int(std::nearbyint(in[i] * inverse), -127, 127));
        block.bsums[i / 16] = std::int16_t(block.bsums[i / 16] + block.qs[i]);
      }
    }
    store(out, b, block);
  }
}

void quantize_q8_16(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 16) {
    BlockQ8_16 block{};
    if (const float largest = std::fabs(extreme(in, 16)); largest != 0) {
      const float inverse = 127 / largest;
      block.d = largest / 127;
      int sum = 0;
      for (int i = 0; i < 16; ++i) {
        block.qs[i] = std::int8_t(to_int(std::nearbyint(in[i] * inverse), -127, 127));
        sum += block.qs[i];
      }
      block.s = block.d * float(sum);
    }
    store(out, b, block);
  }
}

void quantize_f16_128(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += 128) {
    BlockF16_128 block;
    for (int i = 0; i < 128; ++i) block.halves[f16_128_place(i)] = to_f16(in[i]);
    store(out, b, block);
  }
}

// Types that heddle does not write.
constexpr std::nullptr_t quantize_i32 = nullptr;
constexpr std::nullptr_t quantize_q4_1 = nullptr, quantize_q5_0 = nullptr, quantize_q5_1 = nullptr;
constexpr std::nullptr_t quantize_q2_K = nullptr, quantize_q3_K = nullptr, quantize_q5_K = nullptr, quantize_q6_K = nullptr;
constexpr std::nullptr_t quantize_iq4_nl = nullptr;
constexpr std::nullptr_t quantize_iq4_xs = nullptr;
constexpr std::nullptr_t quantize_mxfp4 = nullptr;

constexpr DTypeInfo dtypes[] = {
#define HEDDLE_DTYPE(name, elements, bytes, ggml) {#name, elements, bytes, ggml, dequantize_##name, quantize_##name},
#include "ir/base/dtype.def"
};

std::optional<DType> find_dtype(auto&& holds) {
  for (std::size_t i = 0; i < std::size(dtypes); ++i) {
    if (holds(dtypes[i])) return DType(i);
  }
  return std::nullopt;
}

}  // namespace

const DTypeInfo& info(DType type) {
  HEDDLE_CHECK(std::size_t(type) < std::size(dtypes), "dtype {}", int(type));
  return dtypes[std::size_t(type)];
}

std::span<const DTypeInfo> all_dtypes() { return dtypes; }

std::optional<DType> dtype_named(std::string_view name) {
  return find_dtype([&](const DTypeInfo& d) { return d.name == name; });
}

std::optional<DType> dtype_of_ggml(int id) {
  return find_dtype([&](const DTypeInfo& d) { return id >= 0 && d.ggml == id; });
}

std::int64_t bytes_of(DType type, std::int64_t elements) {
  const DTypeInfo& d = info(type);
  HEDDLE_CHECK(elements >= 0 && elements % d.elements == 0, "{} elements of {}", elements, d.name);
  return elements / d.elements * d.bytes;
}

}  // namespace heddle
