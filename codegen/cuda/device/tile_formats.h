#pragma once
#include <optional>

#include "codegen/cuda/device/lane_formats.h"

namespace heddle::codegen::cuda {

/// How a warp reads tiles of 16 rows in one format for tensor cores (mma m16n8k16, int8): device text and what must be known to call it.
/// A stage holds, of 16 rows, `blocks` blocks of 32 neighbouring elements. The text defines
///   copy_rows_x(char* to, int r, int b, const char* p0.., u32 at)   starts the copy of block b of row r of the stage, block `at` in memory
///   words_x(const char* from, int r, int b, int j, u32& low, u32& high)   bytes 4j.. of the first and of the last 16 elements
///   factors_x(const char* from, int r, int b)                        (x, y), which tile_dot applies to the block's integer products
struct TileFormat {
  int stage_bytes;
  std::string dot;  // tile_dot with its template arguments
  std::string text;
};

/// Nothing for a format or a width that tiles cannot be read in.
std::optional<TileFormat> tile_format_of(const Format& format, std::int64_t columns, int blocks);

/// tile_dot and what formats share.
std::string tile_prelude(int blocks);

}  // namespace heddle::codegen::cuda
