#pragma once
#include <string>
#include <vector>

#include "abi/tag.h"
#include "passes/pass.h"

/// Passes from outside the tree, in shared libraries. A plug-in is compiled against heddle's headers and finds heddle's functions in the
/// program that loads it, so it must have been compiled against the very headers that the program was: both carry a tag that is a hash of
/// them, and other plug-ins are refused. A plug-in runs with all rights of the program, like any code that is linked in.
///
///   #include "passes/plugin.h"
///   HEDDLE_PLUGIN(registry) { return registry.add(my_pass()); }
namespace heddle::passes {

struct PluginInfo {
  std::vector<std::string> names;  // of the passes it added
  std::string hash;                // of the file: part of a plan's key
};

/// Opens the library (a path, not a name to be searched for) and lets it add its passes to the registry. It is never closed; a file that
/// the registry has already is not asked again.
///   p.so: built for heddle ABI 1a2b, this program has 3c4d
Result<PluginInfo> load_pass_plugin(const std::string& path, Registry& registry = Registry::global());

}  // namespace heddle::passes

/// Defines a plug-in: what it does to the `Registry& registry`, as the body of a function that returns Result<void>.
#define HEDDLE_PLUGIN(registry)                                                                                                       \
  static ::heddle::Result<void> heddle_add_passes(::heddle::passes::Registry& registry);                                              \
  extern "C" {                                                                                                                        \
  __attribute__((visibility("default"))) extern const char* const heddle_plugin_abi;                                                  \
  const char* const heddle_plugin_abi = HEDDLE_ABI_TAG;                                                                               \
  __attribute__((visibility("default"))) void heddle_register_passes(::heddle::passes::Registry& all, ::heddle::Result<void>& done) { \
    done = heddle_add_passes(all);                                                                                                    \
  }                                                                                                                                   \
  }                                                                                                                                   \
  static ::heddle::Result<void> heddle_add_passes(::heddle::passes::Registry& registry)
