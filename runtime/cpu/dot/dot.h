#pragma once
#include <cstddef>
#include <cstdint>

#include "ir/base/dtype.h"

/// Dot products of weight rows with activation rows: the loops of gemm, one piece per weight format.
namespace heddle::runtime::cpu {

/// 256 elements of a q8_1 row as the integer products read it: element e is d[e / 32] * q[e]. Zero beyond the row's end.
struct alignas(64) Q8Group {
  std::int8_t q[256];
  float d[8];
  float s[8];                    // d * (sum of 32 q), before rounding
  std::int32_t n32[8], n16[16];  // minus the sums of 32 q, of 16 q
};
inline std::int64_t q8_groups(std::int64_t k) { return (k + 255) / 256; }
/// Rows of a group that must be there (with any content beyond `rows`): matrix units take them 16 at a time.
inline std::int64_t q8_rows(std::int64_t rows) { return rows < 4 ? rows : (rows + 15) / 16 * 16; }
/// `k` elements of q8_1 blocks, a multiple of 32, to groups that stand `stride` apart.
void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out, std::int64_t stride);

/// out[r * out_stride + c] = sum over k of weight row c times activation row r, for c < 16 * panels, r < rows. Weights in panels
/// (runtime/plan/panels.h); group g of activation row r is x[g * x_stride + r], with x_stride at least q8_rows(rows). A result depends on
/// its two rows only.
void dot_panels(DType weight, const std::byte* w, std::int64_t panels, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
                std::int64_t rows, float* out, std::int64_t out_stride);

/// The same for weight rows stored one after the other, for c < columns; x rows are x_stride apart. A result depends on its two rows and on
/// `rows`, not on the other columns.
void dot_f32(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const float* x, std::int64_t x_stride,
             std::int64_t rows, float* out, std::int64_t out_stride);

/// Whether weights of `columns` rows of k elements, bf16 or f16, can go through the processor's matrix unit.
bool has_dot_tiles(DType weight, std::int64_t columns, std::int64_t k);
/// Bytes of activation rows for it, made ready one by one by `split_row`: each float as the sum of three bf16.
std::size_t split_bytes(std::int64_t rows, std::int64_t k);
void split_row(const float* x, std::int64_t k, std::int64_t row, std::byte* tiles);
/// out[r * out_stride + c], as dot_f32, for c < columns, a multiple of 16; writes whole sixteens of rows. `x` and `scratch` are aligned to 64
/// bytes. A result depends on its two rows only.
void dot_tiles(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const std::byte* x, std::int64_t rows,
               std::byte* scratch, float* out, std::int64_t out_stride);
std::size_t dot_tiles_scratch_bytes(DType weight, std::int64_t columns, std::int64_t k);

}  // namespace heddle::runtime::cpu
