#pragma once
#include "codegen/cuda/expression.h"

/// What stands behind a tile of results (activation rows by columns) that a block holds in shared memory: products of tiles, attention of
/// many rows. One warp a row, lanes along columns.
namespace heddle::codegen::cuda {

/// The text's variables: `warp`, `lane`, `first_row` of the tile, `first` column of it, `results`: float [rows][pitch] in shared memory,
/// where result `index` of the loop begins at column index * share.
struct TileSite {
  int rows, warps, pitch, share;
  std::int64_t columns;  // of the tile that are used
  std::int64_t n;        // of the part: a tile may end behind it
  bool row_inputs;       // `positions` and `slots` of the tile's rows are arrays in shared memory, where the spec has them
};

/// Which op stands in the way, or none. `together`: columns that the program must see together, a multiple of which begins every tile.
std::optional<Refusal> check_tile_epilogue(const Program& program, std::string_view loop, std::int64_t& together);
void print_tile_epilogue(Text& out, const plan::KernelSpec& spec, const Program& program, const TileSite& site);

/// The spec of one tile of `rows` rows, named with `prefix`: its text serves all numbers of rows that are made of such tiles.
plan::KernelSpec of_one_tile(const plan::KernelSpec& spec, int rows, std::string_view prefix);

}  // namespace heddle::codegen::cuda
