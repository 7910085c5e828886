#pragma once
#include <string>

namespace heddle::ir {

/// The reference of the IR as Markdown, made from ops.def, scalar_ops.def, the result rules, the dtypes and the verifier's rules.
std::string ops_reference();

}  // namespace heddle::ir
