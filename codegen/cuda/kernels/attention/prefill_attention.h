#pragma once
#include <variant>

#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "codegen/cuda/kernels/attention/prefill_attention_text.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// Whether the attention of a spec goes through tiles of rows on the matrix units: whole pairs of tiles of 64 rows, heads of up to 256
/// elements in whole steps of 16. Otherwise each row has a block of its own (decode_attention.cpp).
bool flash_wanted(const plan::KernelSpec& spec);

/// Where things lie in shared memory, in bytes but for `keys` of a stage and `results` (floats of a row).
struct PrefillAttentionPlan {
  FlashForm form;
  int rows, warps;
  std::int64_t keys, pitch, stage, results, meta, weights, weight_pitch, met, bytes;
  Launch launch;
};

std::variant<PrefillAttentionPlan, Refusal> plan_prefill_attention(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_prefill_attention(const plan::KernelSpec& spec, const PrefillAttentionPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
