#pragma once
#include <string>

namespace heddle {

/// The build-id of the running program (the linker's note, in hex): changes with every change of the code. Used in the plan key and
/// as the plug-in ABI tag. "unknown" where the program carries none.
const std::string& build_id();

}  // namespace heddle
