#pragma once
#include <cstddef>
#include <cstdint>

#include "ir/base/dtype.h"

/// The inner loops of attention.
namespace heddle::runtime::cpu {

/// Positions that one pass works on. A sum over a context is made of passes joined in order, whoever computes them.
inline constexpr std::int64_t attention_pass = 512;

/// Query heads that read the same key and value head, on positions [begin, end) of one slot, at most attention_pass of them.
struct AttentionPass {
  const float* queries;   // [heads, head_dim]
  const std::byte* keys;  // of position 0: [positions, head_dim]
  const std::byte* values;
  DType dtype;  // of keys and values: f32 or f16
  std::int64_t heads, head_dim, begin, end;
  float scale, softcap;
};

/// A softmax-weighted sum not yet divided by its weights: what passes over parts of a context are joined from.
struct PartialSum {
  float* values;  // [head_dim], sum of exp(score - largest) * value
  float largest, weight;
};
/// Floats of scratch for one pass.
std::int64_t attention_scratch_floats(std::int64_t heads);
/// sums: [heads], with room for the values.
void run_attention_pass(const AttentionPass& pass, float* scratch, PartialSum* sums);
/// Several rows of a step times the query heads of one key head, at most attention_lanes together: one vector lane each.
inline constexpr std::int64_t attention_lanes = 32;
struct AttentionTile {
  const float* queries[attention_lanes];            // [head_dim] each
  alignas(64) std::int32_t begin[attention_lanes];  // of the positions that a lane attends to
  alignas(64) std::int32_t end[attention_lanes];    // above begin
  std::int64_t lanes;
  const std::byte* keys;  // of position 0 of the slot that all of them read: [positions, head_dim]
  const std::byte* values;
  DType dtype;
  std::int64_t head_dim;
  float scale, softcap;
};
std::int64_t attention_tile_scratch_floats(std::int64_t head_dim);
/// out: [lanes, head_dim], divided by the weights. A lane's result does not depend on the other lanes.
void run_attention_tile(const AttentionTile& tile, float* scratch, float* out);

/// Joins `more` into `sum`.
void join(PartialSum& sum, const PartialSum& more, std::int64_t head_dim);

}  // namespace heddle::runtime::cpu
