#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/error.h"
#include "ir/base/layout.h"

namespace heddle::codegen::cuda {

/// How a lane reads and multiplies the weights of one format: device text and what must be known to call it.
///
/// A piece is `elements` consecutive weights of a row, what one lane multiplies at once; pieces are numbered row by row. The text defines
///   struct P_x                                            a piece in registers
///   copy_x(char* to, int lane, const char* p0.., u32 b)   starts the copy of piece b of this lane into a stage of the ring
///   get_x(const char* from, int lane)                     a piece out of a stage
///   load_x(const char* p0.., u32 b)                       a piece from memory
///   unpack_x(P_x, int lane)                               a Block or Floats<elements>, which `dot` multiplies
/// where x is `name`, p0.. are the addresses of the planes. Lanes of a row are consecutive, and the first one's piece is a multiple of
/// `lanes_together` in its row.
struct Format {
  DType type;
  std::string name;
  int elements;
  int stage_bytes;                      // of 32 pieces in a stage of the ring; a multiple of 16
  int lanes_together;                   // lanes that share a copy: the number of lanes on a row is a multiple of it
  bool integers;                        // unpacks to a Block: bytes and factors; otherwise Floats
  bool halves = false, offset = false;  // Block: two factors for the 16 first and last elements; an addend
  bool is_signed = false;               // its bytes have a sign
  std::vector<std::int64_t> planes;     // offsets in the stored weight
  std::string text;

  /// "a3 + 0, a3 + 4096": the planes' addresses for calls.
  std::string planes_of(const std::string& base) const;
  std::string dot() const;  // the name of `dot` with its template arguments
};

/// For a weight [rows, columns] stored as `layout`; an error says why the GPU cannot read it.
Result<Format> format_of(DType type, Layout layout, std::int64_t rows, std::int64_t columns);

/// Text that all formats need: Block, Floats, activations and their products. `k`: columns; `x_piece`: elements of the pieces that float
/// activations are laid out for, see x_index in lane_formats.cpp.
std::string format_prelude(std::int64_t k, int x_piece);

}  // namespace heddle::codegen::cuda
