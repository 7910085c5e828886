#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/base/format_by_name.h"

namespace heddle {

/// What kinds of machine plans are compiled for. What compiles for one is a codegen::Backend, what runs its plans a runtime::DeviceFactory; each
/// has one registry, by this.
enum class BackendKind : std::uint8_t { cpu, cuda };

/// "cpu", "cuda".
std::string_view name(BackendKind kind);

/// The backend that a target's name stands for: what is in front of its colon ("cpu", "cuda:h200", "cuda:sm_90"). Nothing for others: this does
/// not say that the rest names a machine, which the backend knows.
std::optional<BackendKind> backend_of(std::string_view target);

}  // namespace heddle

HEDDLE_FORMAT_BY_NAME(heddle::BackendKind)
