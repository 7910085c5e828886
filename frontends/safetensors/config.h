#pragma once
#include "frontends/arch/architecture.h"
#include "frontends/safetensors/json.h"

namespace heddle::frontends::safetensors {

/// The hyper-parameters in a config.json of a supported architecture (source: the configuration classes of transformers). RoPE settings may
/// stand in `rope_theta` and `rope_scaling` or in the newer `rope_parameters`. A key that heddle does not know, and a value that it does
/// not support, is refused by name. The name is left empty.
Result<Config> read_config(const JsonObject& config, const Architecture& architecture);

}  // namespace heddle::frontends::safetensors
