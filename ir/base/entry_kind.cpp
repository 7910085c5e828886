#include "ir/base/entry_kind.h"

namespace heddle {

std::string_view name(EntryKind kind) {
  switch (kind) {
    case EntryKind::decode: return "decode";
    case EntryKind::prefill: return "prefill";
    case EntryKind::prompt: return "prompt";
  }
  return "";
}

std::optional<EntryKind> entry_kind_named(std::string_view text) {
  for (const EntryKind kind : {EntryKind::decode, EntryKind::prefill, EntryKind::prompt})
    if (name(kind) == text) return kind;
  return std::nullopt;
}

}  // namespace heddle
