#pragma once
#include "ir/text/text.h"

/// What the files of the verifier share. Each check may rely on the rules that stand before it in the table of verify.cpp.
namespace heddle::ir {

template <class... Args>
Error rule_broken(const Function& function, fmt::format_string<Args...> format, Args&&... args) {
  return error("function '{}': {}", function.name, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
Error rule_broken(const Function& function, const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  return rule_broken(function, "node '{}': {}", head(node), fmt::format(format, std::forward<Args>(args)...));
}

Result<void> check_states(const Function& function);
Result<void> check_placements(const Function& function);

}  // namespace heddle::ir
