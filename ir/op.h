#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace heddle::ir {

enum class Op : std::uint8_t {
#define HEDDLE_OP(name, ...) name,
#include "ir/ops.def"
};

/// See ops.def for what each means.
enum Trait : std::uint32_t {
  pure = 1 << 0,
  elementwise = 1 << 1,
  row_wise = 1 << 2,
  row_pair = 1 << 3,
  reduction = 1 << 4,
  anchor = 1 << 5,
  state_write = 1 << 6,
  state_read = 1 << 7,
  blockwise = 1 << 8,
  gather = 1 << 9,
  region = 1 << 10,
  terminator = 1 << 11,
};

enum class AttrKind : std::uint8_t { i64, f32, str };
struct AttrInfo {
  AttrKind kind;
  std::string_view name;
};

/// A row of ops.def.
struct OpInfo {
  std::string_view name;
  std::span<const std::string_view> operands;  // required ones, then optional ones
  unsigned required = 0;
  bool variadic = false;  // any number of operands
  std::span<const AttrInfo> attrs;
  std::string_view result_rule;
  std::uint32_t traits = 0;
  std::string_view doc;

  bool has(Trait trait) const { return (traits & trait) != 0; }
  int operand_index(std::string_view name) const;  // -1 if there is none
  int attr_index(std::string_view name) const;
};

const OpInfo& info(Op op);
std::span<const OpInfo> all_ops();  // indexed by Op
std::optional<Op> op_named(std::string_view name);

}  // namespace heddle::ir
