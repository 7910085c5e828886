#include "ir/base/layout.h"

namespace heddle {
namespace {
constexpr std::string_view names[] = {"rows", "planes", "panels"};
}

std::string_view name(Layout layout) { return names[std::size_t(layout)]; }

std::optional<Layout> layout_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name) return Layout(i);
  return std::nullopt;
}

}  // namespace heddle
