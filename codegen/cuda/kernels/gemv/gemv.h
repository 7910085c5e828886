#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/device/tile_formats.h"
#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "ir/target.h"

/// How a product is laid out over a GPU: one block on each multiprocessor; units of output rows dealt round-robin over all warps of the
/// grid; each lane copies its own pieces of the weights into a ring of its warp, which is filled before the kernel waits for its
/// predecessors and runs on across units. The block prepares the activation rows in shared memory once.
///
/// With three to eight activation rows, integer weights are multiplied on tensor cores: the weights are the 16 rows of a tile, the
/// activations its columns. Warps then take tiles, several warps of a block as a team one tile, each a part of the columns of the matrix.
namespace heddle::codegen::cuda {

/// A part's epilogue in units: a unit is one row of each segment, or two rows that a rope turns together.
struct GemvPart {
  const plan::Part* spec;
  Program epilogue;
  std::optional<EmittedRope> rope;
  std::vector<Format> formats;  // of the segments
  std::int64_t units = 0;
  std::int64_t begin = 0, end = 0;  // in warp units
};

/// Parts with the same formats and pairs share the loop's text.
struct GemvClass {
  std::vector<unsigned> parts;
  int pair = 1;                     // rows of a segment in a unit
  int streams = 1;                  // segments * pair; stream s is row s % pair of segment s / pair
  int elements = 32;                // of a piece
  int lanes = 32;                   // on one row
  int pieces = 1;                   // rounds of `lanes` pieces that a row takes
  bool tail = false;                // the last round is not full
  std::vector<int> stage_offsets;   // of the streams
  std::int64_t begin = 0, end = 0;  // in warp units; on tensor cores in tiles
  TileFormat tile;                  // on tensor cores
  int tile_units() const { return 16 / streams; }
  int teams() const { return 32 / lanes; }
};

struct GemvPlan {
  std::int64_t k;
  int rows, chunk, padded;  // activation rows, rows at once, the same as a power of two
  int warps, stages;
  int stage_bytes = 0;
  bool bytes = false, floats = false;  // forms of the activation in shared memory
  bool mma = false;                    // on tensor cores
  int blocks = 8, slices = 1;          // of 32 columns in a stage of a tile; warps of a team
  std::int64_t x_row = 0;              // bytes from row to row in the planes of the activation as bytes
  std::int64_t tile_stages() const { return (k / 32 + blocks - 1) / blocks; }  // of a row of tiles
  int x_piece = 4;
  int first_at, last_at, ds_at, x_at, partials_at, ring_at, factors_at, shared_bytes;  // offsets in shared memory
  std::optional<Program> prologue;
  std::vector<unsigned> reductions;  // values of the prologue that need sums over whole rows
  std::vector<GemvPart> parts;
  std::vector<GemvClass> classes;
  Launch launch;
  int group_warps() const { return warps / chunk; }  // that prepare one row
};

/// For activations in q8_16 or f32.
std::variant<GemvPlan, Refusal> plan_gemv(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_gemv(const plan::KernelSpec& spec, const GemvPlan& plan, const ir::Target& target);

/// The prologue: `early` stands before the wait, `late` behind it and ends with the activation in shared memory and a barrier. Afterwards
/// the row scalars of the lane's row that epilogues read are constants p<number>.
struct PrologueText {
  Text early, late;
};
PrologueText print_prologue(const plan::KernelSpec& spec, const GemvPlan& plan);

}  // namespace heddle::codegen::cuda
