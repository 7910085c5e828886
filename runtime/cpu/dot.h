#pragma once
#include <cstddef>
#include <cstdint>

#include "ir/base/dtype.h"

/// Dot products of weight rows with activation rows: the loops of gemm, one piece per weight format.
namespace heddle::runtime::cpu {

/// 256 elements of a q8_1 row as the integer products read it: element e is d[e / 16] * q[e]. Zero beyond the row's end.
struct alignas(64) Q8Group {
  std::int8_t q[256];
  float d[16];  // every scale twice
  float s[16];  // d * (sum of 16 q), exact
};
inline std::int64_t q8_groups(std::int64_t k) { return (k + 255) / 256; }
/// `k` elements of q8_1 blocks, a multiple of 32.
void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out);

/// Whether `dot_q8` takes this weight format; the others are multiplied with float activations.
bool has_integer_dot(DType weight);

/// out[r * out_stride + c] = sum over k of weight row c times activation row r, for c < columns, r < rows. Weight rows are stored one
/// after the other; x rows are x_stride apart. A result depends on its two rows and on `rows`, not on the other columns.
void dot_q8(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
            std::int64_t rows, float* out, std::int64_t out_stride);
void dot_f32(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const float* x, std::int64_t x_stride,
             std::int64_t rows, float* out, std::int64_t out_stride);

}  // namespace heddle::runtime::cpu
