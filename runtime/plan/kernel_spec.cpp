#include "runtime/plan/kernel_spec.h"

#include "runtime/plan/plan.h"

namespace heddle::plan {

std::string_view name(InputKind kind) {
  switch (kind) {
    case InputKind::loop: return "loop";
    case InputKind::rows: return "rows";
    case InputKind::vector: return "vector";
    case InputKind::row_scalar: return "row_scalar";
    case InputKind::constant: return "constant";
  }
  return "";
}

std::string_view name(StoreKind kind) {
  switch (kind) {
    case StoreKind::buffer: return "buffer";
    case StoreKind::cache_key: return "cache_key";
    case StoreKind::cache_value: return "cache_value";
  }
  return "";
}

std::string_view name(ArgRole role) {
  switch (role) {
    case ArgRole::weight: return "weight";
    case ArgRole::buffer: return "buffer";
    case ArgRole::state: return "state";
    case ArgRole::tokens: return "tokens";
    case ArgRole::slots: return "slots";
    case ArgRole::positions: return "positions";
    case ArgRole::last: return "last";
  }
  return "";
}

std::string_view name(Where where) {
  switch (where) {
    case Where::arena: return "arena";
    case Where::weight: return "weight";
    case Where::state: return "state";
    case Where::input: return "input";
    case Where::output: return "output";
  }
  return "";
}

namespace {
std::string_view name_of(const Gemm&) { return "gemm"; }
std::string_view name_of(const Rowwise&) { return "rowwise"; }
std::string_view name_of(const Attention&) { return "attention"; }
std::string_view name_of(const Embed&) { return "embed"; }
std::string_view name_of(const Sample&) { return "sample"; }
std::string_view name_of(const TopExperts&) { return "route"; }
std::string_view name_of(const GatherRows&) { return "select"; }
}  // namespace

std::string_view name(const Loop& loop) {
  return std::visit([](const auto& one) { return name_of(one); }, loop);
}

}  // namespace heddle::plan
