#include "passes/plugin.h"

#include <dlfcn.h>

#include <filesystem>

#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"

namespace heddle::passes {

Result<PluginInfo> load_pass_plugin(const std::string& path, Registry& registry) {
  HEDDLE_ASSIGN(const MappedFile file, MappedFile::open(path));
  PluginInfo out;
  out.hash = hash128(file.bytes()).hex();
  if (const auto known = registry.plugins_.find(out.hash); known != registry.plugins_.end()) {
    out.names = known->second;
    return out;
  }

  std::error_code ignored;
  const std::string full = std::filesystem::absolute(path, ignored).string();  // a bare name would be searched for
  void* library = dlopen(full.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    std::string why = dlerror();
    if (why.starts_with(full + ": ")) why.erase(0, full.size() + 2);
    return error("{}: cannot load the plug-in: {}", path, why);
  }
  const auto* abi = static_cast<const char* const*>(dlsym(library, "heddle_plugin_abi"));
  if (!abi) return error("{}: no plug-in of heddle: it has no heddle_plugin_abi", path);
  if (std::string_view(*abi) != HEDDLE_ABI_TAG)
    return error("{}: built for heddle ABI {}, this program has {}", path, *abi, HEDDLE_ABI_TAG);
  using Register = void (*)(Registry&, Result<void>&);
  const auto add_passes = reinterpret_cast<Register>(dlsym(library, "heddle_register_passes"));
  if (!add_passes) return error("{}: no plug-in of heddle: it has no heddle_register_passes", path);

  const auto known = registry.all();
  Result<void> done;
  add_passes(registry, done);
  if (!done.ok()) return done.take_error().at(path);
  for (const Pass* pass : registry.all())
    if (std::ranges::find(known, pass) == known.end()) out.names.push_back(pass->name);
  registry.plugins_[out.hash] = out.names;
  return out;
}

}  // namespace heddle::passes
