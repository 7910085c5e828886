#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "ir/base/dtype.h"
#include "ir/base/error.h"
#include "ir/base/layout.h"

/// How a target stores a weight matrix:
///   "rows"    the file's own order
///   "panels"  what a processor's vectors read (panels.h)
///   "planes"  what a GPU reads with aligned, coalesced loads: every block is taken apart, and each piece goes to a plane of its own,
///             [rows, columns / per] pieces of `bytes`; planes one after the other, each at a multiple of 256 bytes
/// Planes by type (the emitter reads by this table, the upload writes by it):
///
///   q4_0    qs 16 bytes per 32: byte b holds element b in its low nibble, 16 + b in the high one;  d f16 per 32
///   q4_1    qs as q4_0;  dm per 32: f16 d, f16 m
///   q5_0    qs as q4_0;  qh 4 bytes per 32: bit i is the fifth bit of element i;  d f16 per 32
///   q5_1    qs, qh as q5_0;  dm as q4_1
///   iq4_nl  as q4_0
///   q8_0    qs 32 bytes per 32;  d f16 per 32
///   q2_K    qs 8 bytes per 32: two little-endian words, for elements 0..15 and 16..31: bits 8b + 2w, 8b + 2w + 1 of a word are element
///           4w + b;  scales 2 bytes per 32, as in the file;  dm per 256: f16 d, f16 dmin
///   q3_K    qs as q2_K;  qh as q5_0, third bits;  header 16 bytes per 256: f16 d, two zero bytes, then low and high bits of 16 scales:
///           4 bits of scale j at bit 4j of bytes 4..11, 2 bits at bit 2j of bytes 12..15
///   q4_K    qs as q4_0;  header 16 bytes per 256: f16 d, f16 dmin, then 8 scales and 8 mins of 6 bits: scale j at bit 6j of bytes 4..9,
///           min j at bit 6j of bytes 10..15
///   q5_K    qs, qh as q5_0;  header as q4_K
///   q6_K    ql as q4_0's qs;  qh 8 bytes per 32 as q2_K's qs;  scales int8 x 2 per 32;  d float per 256
///   iq4_xs  qs as q4_0;  header 8 bytes per 256: f16 d, u16 scales_h, 4 bytes scales_l as in the file
///   mxfp4   qs as q4_0;  e 1 byte per 32
namespace heddle::plan {

struct Plane {
  std::string_view name;
  int bytes;  // of a piece
  int per;    // elements of a row that a piece covers
};

/// The planes of a type; empty for a type that has only "rows".
std::span<const Plane> planes_of(DType type);

/// Offset in bytes of plane `index` of a [rows, columns] matrix.
std::int64_t plane_offset(DType type, std::int64_t rows, std::int64_t columns, std::size_t index);

/// Bytes of a stored matrix. "layout 'planes' is not defined for f32".
Result<std::int64_t> stored_bytes(Layout layout, DType type, std::int64_t rows, std::int64_t columns);

/// Writes rows [row_begin, row_begin + rows) of a [total_rows, columns] matrix, given in file order, into its planes at `out` (the
/// destination's first byte). Ranges may be written from several threads.
void to_planes(DType type, const std::byte* in, std::int64_t row_begin, std::int64_t rows, std::int64_t columns, std::int64_t total_rows,
               std::byte* out);

}  // namespace heddle::plan
