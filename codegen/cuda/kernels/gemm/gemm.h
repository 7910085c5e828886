#pragma once
#include <optional>
#include <variant>
#include <vector>

#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "ir/target.h"

/// Products of many activation rows on the matrix units. A block computes a tile: 64 to 256 rows of weights by `tokens` activation rows.
/// Each warp has 16 rows of weights: every lane loads 32 neighbouring elements of two rows straight from memory, a block of 128 columns
/// ahead, turns four of each into halves in every step, and multiplies them with the tokens' activations (f16_128) in shared memory, which
/// all threads copy there, a few blocks of 128 columns ahead. The sums go through shared memory to the epilogue, one warp a token, lanes
/// along columns. Where tiles are few, the two blocks of a cluster share the columns of a tile's weights, and each adds up the sums of half
/// of the tokens out of both blocks' shared memory. The text of a kernel is the same for all numbers of rows with the same `tokens`: their
/// grids differ.
namespace heddle::codegen::cuda {

/// A part in tiles: so many columns of each segment, side by side in the tile's rows of weights.
struct TilePart {
  const plan::Part* spec;
  Program epilogue;
  std::vector<Format> formats;      // of the segments, all of one type
  std::int64_t together = 1;        // columns that the epilogue must see at once
  int share = 128;                  // rows of the tile for a segment
  int columns = 128;                // of them used: a multiple of what the epilogue must see together
  std::int64_t begin = 0, end = 0;  // tiles
};

struct TilePlan {
  std::int64_t k;
  int tokens;  // of a tile
  int warps;   // of a team, 4, 8 or 16: 16 rows of weights for each
  int teams;   // which share the blocks of 128 columns of a tile's products and add up their sums
  int splits;  // blocks of a cluster whose teams all do; each adds up the sums of its share of the tokens. 1: no cluster
  int stages;  // of a team's ring of activations, 128 columns each
  int per_sm;  // blocks that a multiprocessor should hold
  bool warpgroups;
  unsigned x;  // argument
  int ring_bytes, shared_bytes;
  std::vector<TilePart> parts;
  std::int64_t tiles = 0;
  double us = 0;  // about what the kernel takes
  Launch launch;
  /// Columns between rows of the tile of sums: odd in units of 4, so that neither side meets a bank twice.
  int pitch() const { return warps * 16 + 4; }
};

/// The activation format of such products, and the rows from which on it is wanted.
constexpr DType tile_activations = DType::f16_128;
constexpr std::int64_t least_tile_rows = 16;
/// Whether a weight [n, k] of this type can be multiplied so.
bool has_tiles(DType type, std::int64_t k);

std::variant<TilePlan, Refusal> plan_tiles(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_tiles(const plan::KernelSpec& spec, const TilePlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
