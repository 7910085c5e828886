#pragma once
#include <string>

#include "ir/target.h"

/// Device functions for the matrix units, which stand in the prelude of kernels that use them: all of their inline PTX.
namespace heddle::codegen::cuda {

/// Whether products go through warpgroups (`wgmma`) instead of warps (`mma`): a feature of one architecture, for which such a kernel must
/// be compiled (sm_90a).
bool has_warpgroups(const ir::Target& target);

/// Conversions of pairs of halves, barriers of a part of the block, loads of matrices and
///   multiply_16x8x16(sums, a, b0, b1)   a warp: 16 rows by 8 columns, 16 deep; all targets
///   multiply_rows(sums, a, x)           a warpgroup: 64 rows by 2 * (number of sums) columns, 16 deep, x in shared memory in rows of 128
///                                       bytes whose 16-byte pieces are exchanged by the row's number; only where `columns` is above 0
/// `columns`: those of multiply_rows, a multiple of 8 up to 256; 0 for warps.
std::string matrix_prelude(int columns);

/// Behind it, for `columns` above 0:
///   multiply_tiles(sums, a, x)          as multiply_rows, with a's 64 rows of halves in shared memory as those of x
std::string tiles_prelude(int columns);

}  // namespace heddle::codegen::cuda
