#pragma once
#include <span>

#include "ir/graph.h"

namespace heddle::ir {

/// Checks a module by the table of rules in verify.cpp: types by inference, SSA dominance, groups that do not nest, states with at most
/// one writer whose earlier readers come first, states returned, terminators in place, placements inside the arena.
/// The error is that of the first rule broken and names function, value or node, what was found and what the rule wants:
///   function 'decode_1': node '%y = add %a, %b : f32[1, 8]': result is f32[1, 8], add gives f32[1, 4]
Result<void> verify(const Module& module);
Result<void> verify(const Function& function);

struct RuleInfo {
  std::string_view name, meaning;
};
/// In the order in which they are checked.
std::span<const RuleInfo> verifier_rules();

}  // namespace heddle::ir
