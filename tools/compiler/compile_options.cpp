#include "tools/compiler/compile_options.h"

#include "ir/base/cache_path.h"

namespace heddle::tools {

std::string cache_dir_of(const CompileOptions& options) { return options.cache_dir.empty() ? default_cache_dir() : options.cache_dir; }

std::string kernel_cache_dir(const CompileOptions& options) { return options.use_cache ? cache_dir_of(options) : std::string(); }

}  // namespace heddle::tools
