#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "ir/base/format_by_name.h"

namespace heddle {

enum class DType : std::uint8_t {
#define HEDDLE_DTYPE(name, elements, bytes, ggml) name,
#include "ir/base/dtype.def"
};

/// What a row of dtype.def says, with the exact meaning of a block.
struct DTypeInfo {
  std::string_view name;
  int elements;  // per block
  int bytes;     // per block
  int ggml;      // type id in a GGUF file, -1 if none
  /// `blocks` consecutive blocks -> `blocks * elements` floats. The meaning of the format: every other reader is compared with it.
  void (*dequantize)(const std::byte* in, float* out, std::int64_t blocks);
  /// The inverse, by the format's reference rounding (blocks.h); null where heddle never writes the format. A block with an element that
  /// is not finite reads back as NaN, or infinity, in at least that element: nothing turns into a plausible number.
  void (*quantize)(const float* in, std::byte* out, std::int64_t blocks);
};

const DTypeInfo& info(DType type);
std::span<const DTypeInfo> all_dtypes();  // indexed by DType
inline std::string_view name(DType type) { return info(type).name; }  // also how fmt prints it
std::optional<DType> dtype_named(std::string_view name);
std::optional<DType> dtype_of_ggml(int id);

inline bool is_block_type(DType type) { return info(type).elements > 1; }
/// Bytes of `elements` consecutive elements; `elements` must be a multiple of the block.
std::int64_t bytes_of(DType type, std::int64_t elements);

}  // namespace heddle

HEDDLE_FORMAT_BY_NAME(heddle::DType)
