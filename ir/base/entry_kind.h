#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/base/format_by_name.h"

namespace heddle {

/// What a step of an entry point gives.
enum class EntryKind : std::uint8_t {
  decode,   // logits of every row
  prefill,  // none: it fills the caches, and the last layer does nothing else
  prompt,   // as a prefill, and the logits of the one row that the input "last" names: what stands behind the last layer's cache has one row
};

std::string_view name(EntryKind kind);
std::optional<EntryKind> entry_kind_named(std::string_view name);

}  // namespace heddle

HEDDLE_FORMAT_BY_NAME(heddle::EntryKind)
