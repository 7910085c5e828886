#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/base/format_by_name.h"

namespace heddle {

/// How a target stores a weight matrix (runtime/plan/layout.h and panels.h say what each holds).
enum class Layout : std::uint8_t {
  rows,    // the file's own order
  planes,  // what a GPU reads with aligned, coalesced loads
  panels,  // what a processor's vectors read
};

std::string_view name(Layout layout);
/// Nothing for an unknown name.
std::optional<Layout> layout_named(std::string_view name);
inline constexpr std::string_view known_layouts = "rows, planes, panels";  // for messages

}  // namespace heddle

HEDDLE_FORMAT_BY_NAME(heddle::Layout)
