#pragma once
#include <variant>

#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "codegen/cuda/kernels/attention/decode_attention_mma.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// How the attention of a few rows is spread over blocks, warps and lanes.
struct DecodeAttentionPlan {
  std::int64_t head_dim, group;  // query heads of a block, which share the key/value head
  std::int64_t groups;           // blocks along the heads
  int bytes;                     // that a lane loads at once
  int elements, lanes, chunks;   // of such a load; lanes on a key; loads of a lane
  int warps = 8, unroll = 4;
  int splits = 1, alone = 64;              // blocks along the context; positions up to which one has all
  bool mma = false;                        // on tensor cores
  int stages = 0;                          // of their ring
  std::int64_t counters = 0;               // bytes of them in the scratch memory
  Launch launch;
  int keys() const { return 32 / lanes; }  // of a warp, side by side
  int round() const { return mma ? warps * mma_keys : warps * keys() * unroll; }  // positions that a block looks at together
  std::int64_t columns() const { return group * head_dim; }
  std::int64_t stride() const { return mma ? head_dim + 4 : head_dim; }  // of a head in shared memory: away from the same banks
  std::int64_t ring_bytes() const { return mma ? warps * stages * mma_stage_bytes(head_dim) : 0; }
  std::int64_t ring_at() const { return ((2 * (warps + splits) * group + warps * group * stride() + columns()) * 4 + 15) / 16 * 16; }
  std::int64_t shared_bytes() const { return ring_at() + ring_bytes(); }
};

std::variant<DecodeAttentionPlan, Refusal> plan_decode_attention(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_decode_attention(const plan::KernelSpec& spec, const DecodeAttentionPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
