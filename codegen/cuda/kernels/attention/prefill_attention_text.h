#pragma once
#include <string>
#include <string_view>

#include "codegen/cuda/source_text.h"
#include "ir/base/dtype.h"

namespace heddle::codegen::cuda {

/// How the 64 rows of a block belong to its warps: 16 rows each (4 warps), or 16 rows for each pair of warps (8), which then hold half of
/// the sums each.
enum class FlashForm { warps, pairs };

/// The body of a kernel of prefill_attention.cpp up to its tile of results in shared memory. `cache`: f16 or f32; `kv`: the argument that
/// is the cache. `words`: what stands for slots, positions, q, scale, score, begin and window. The constants in front of it: ROWS, HEADS,
/// KV_HEADS, SHARED (query heads of a cache head), HEAD_DIM, KEYS of a stage; in bytes PITCH of a key, STAGE, META (slots and positions);
/// RESULTS floats of a row; for pairs also WARPS, OWN_KEYS and COLUMNS of a warp, and in bytes WEIGHTS, WEIGHT_PITCH and MET.
std::string flash_text(FlashForm form, DType cache, std::string_view kv, const Words& words);

}  // namespace heddle::codegen::cuda
