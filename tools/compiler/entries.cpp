#include "tools/compiler/entries.h"

#include <algorithm>

#include "codegen/backend.h"

namespace heddle::tools {

/// A prompt for every number of rows that a prefill has: the chunk that ends a prompt gives its logits. A single row does as a decode.
static void add_prompts(std::vector<frontends::EntryRequest>& entries) {
  for (const auto& entry : std::vector(entries))
    if (entry.kind == EntryKind::prefill && entry.rows > 1) entries.push_back({EntryKind::prompt, entry.rows});
}

Result<std::vector<frontends::EntryRequest>> entries_for(const ir::Target& target, const CompileOptions& options) {
  std::vector<frontends::EntryRequest> entries;
  for (const auto& [kind, rows] : codegen::backend(target).default_entries(target)) entries.push_back({kind, rows});
  if (options.prefill.empty()) {
    add_prompts(entries);
    return entries;
  }
  std::erase_if(entries, [](const auto& entry) { return entry.kind == EntryKind::prefill; });
  for (const int rows : options.prefill) {
    if (rows < 0 || rows > 8192) return error("--prefill: found {}, wanted 1 to 8192 rows, or 0 for none", rows);
    if (std::ranges::count(options.prefill, rows) > 1) return error("--prefill: found {} twice", rows);
    if (rows > 0) entries.push_back({EntryKind::prefill, rows});
  }
  add_prompts(entries);
  return entries;
}

std::string cache_type_name(const ir::Target& target, const CompileOptions& options) {
  return options.kv == "auto" ? std::string(name(codegen::backend(target).cache_type(target))) : options.kv;
}

}  // namespace heddle::tools
