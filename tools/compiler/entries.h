#pragma once
#include <vector>

#include "frontends/model.h"
#include "tools/compiler/compile_options.h"

namespace heddle::tools {

/// The entry points of a plan: the target's, or with the rows that the options want for prompts; and for each that reads prompts one that ends
/// them. "--prefill: found -1, wanted 1 to 8192 rows, or 0 for none"
Result<std::vector<frontends::EntryRequest>> entries_for(const ir::Target& target, const CompileOptions& options);

/// The key/value cache's type by name: what is asked for, or what the target is best with.
std::string cache_type_name(const ir::Target& target, const CompileOptions& options);

}  // namespace heddle::tools
