#pragma once
#include <cstddef>
#include <cstdint>

/// The dequantisers of dtype.def's rows: `blocks` consecutive blocks -> `blocks * elements` floats.
namespace heddle {

#define HEDDLE_DTYPE(name, elements, bytes, ggml) void dequantize_##name(const std::byte* in, float* out, std::int64_t blocks);
#include "ir/base/dtype.def"

}  // namespace heddle
