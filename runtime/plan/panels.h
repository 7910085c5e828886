#pragma once
#include <cstddef>
#include <cstdint>

#include "ir/base/dtype.h"
#include "ir/base/error.h"

/// The layout "panels": what a processor reads with one vector lane per matrix row, so that a dot product never adds across lanes.
///
/// A panel is 16 matrix rows (the last panel's missing ones are zero), panels lie one after the other. A panel is a sequence of groups of
/// 256 columns; the last may be shorter by whole blocks of the type. Of 32 columns of a group, word w (of 8) is elements 4w .. 4w + 3. A
/// "vector" below is 64 bytes: a 32-bit word of each of the 16 rows. `n` is the group's columns / 32.
///
///   q8_0    f16 d[n][16], padded to 64 bytes; then per 32 columns 8 vectors, word 0 to 7
///   q4_0    f16 d[n][16], padded to 64 bytes; then per 32 columns 4 vectors: word w in the low nibbles, word 4 + w in the high ones
///   q4_1    f16 d[n][16], m[n][16]; then nibbles as q4_0
///   q5_0    as q4_0, and behind the nibbles of 32 columns one vector of fifth bits: bit w of a byte belongs to word w
///   q5_1    as q4_1, with fifth bits as q5_0
///   iq4_nl  as q4_0
///   q2_K    f16 d[16], dmin[16]; scale and minimum of 4 bits as in the file in bytes [16][16], one row per 16 columns; then per 32 columns
///           2 vectors of two-bit quants: bits 2i, 2i + 1 of the first belong to word i, of the second to word 4 + i
///   q3_K    f16 d[16]; 3 vectors: the file's 12 bytes of scales; then per 32 columns 2 vectors as q2_K and one of third bits as q5_0's
///           fifth bits
///   q4_K    f16 d[16], f16 dmin[16]; 3 vectors of scales and minima; then per 32 columns 4 vectors of nibbles as q4_0
///           In the vectors of scales bits 6i .. 6i + 5 of word v are value 5v + i, of 8 scales and then 7 minima; bits 30 and 31 of words
///           0, 1, 2 are bits 0..1, 2..3, 4..5 of the last minimum.
///   q5_K    as q4_K, with fifth bits as q5_0
///   q6_K    f16 d[16]; int8 scales[16][16], one row per 16 columns; then per 32 columns 4 vectors of nibbles as q4_0 and 2 of high bits as
///           q2_K's quants
///   iq4_xs  f16 d[16]; u16 scales_h[16]; the file's 4 bytes of scales_l, one vector; then nibbles as q4_0
///   mxfp4   u8 e[n][16], padded to 64 bytes; then nibbles as q4_0
///
/// Groups of q3_K and q6_K start at multiples of 32 bytes, all others at multiples of 64.
namespace heddle::plan {

inline constexpr std::int64_t panel_rows = 16, panel_columns = 256;

/// Whether the layout is defined for a type.
bool has_panels(DType type);

/// Bytes of a group of `columns` <= 256 columns, whole blocks.
std::int64_t panel_group_bytes(DType type, std::int64_t columns);
/// Bytes of one panel.
std::int64_t panel_bytes(DType type, std::int64_t columns);
/// Bytes of a stored matrix; `columns` are whole blocks.
std::int64_t panels_bytes(DType type, std::int64_t rows, std::int64_t columns);

/// Writes rows [row_begin, row_begin + rows) of a matrix, given in file order, into its panels at `out` (the destination's first byte,
/// zeroed before). Ranges may be written from several threads: no two rows share a byte.
void to_panels(DType type, const std::byte* in, std::int64_t row_begin, std::int64_t rows, std::int64_t columns, std::byte* out);

/// The inverse for one row: its blocks in file order.
void row_from_panels(DType type, const std::byte* panels, std::int64_t row, std::int64_t columns, std::byte* out);

}  // namespace heddle::plan
