#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "frontends/arch/architecture.h"

namespace heddle::frontends::safetensors {

/// The name that an architecture's file takes a tensor by, which is its name in GGUF files:
///   model.layers.3.self_attn.q_proj.weight  ->  blk.3.attn_q.weight
/// The rows of `architecture` come before those that all share. A tensor that is no weight (a buffer that is computed anew) has an empty
/// name. Nothing for a name that no row has.
std::optional<std::string> canonical_name(std::string_view stored, const Architecture& architecture);

}  // namespace heddle::frontends::safetensors
