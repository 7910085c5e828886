#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "ir/base/dtype.h"
#include "ir/base/format_by_name.h"
#include "ir/base/scalar_ops.h"

/// The ops of expression programs as types: a struct an op, with its attributes by name, generated from row_ops.def.
namespace heddle {

/// Which elements a rotary embedding turns together: 2i and 2i + 1, or i and i + dims / 2.
enum class Pairing : std::uint8_t { adjacent, halves };
std::string_view name(Pairing pairing);
std::optional<Pairing> pairing_named(std::string_view name);

/// An op of scalar_ops.def on every element; operands of width 1 are the same for all columns.
struct Elementwise {
  ScalarOp op{};
  bool operator==(const Elementwise&) const = default;
};

#define INTEGER(name) std::int64_t name = 0;
#define NUMBER(name) double name = 0;
#define FORMAT(name) DType name = DType::f32;
#define PAIRING(name) Pairing name = Pairing::adjacent;
#define HEDDLE_ROW_OP(name, Struct, operands, attributes, ...) \
  struct Struct {                                              \
    attributes bool operator==(const Struct&) const = default; \
  };
#include "ir/base/row_ops.def"
#undef INTEGER
#undef NUMBER
#undef FORMAT
#undef PAIRING

using RowOp = std::variant<Elementwise
#define HEDDLE_ROW_OP(name, Struct, ...) , Struct
#include "ir/base/row_ops.def"
                           >;

struct RowOperandInfo {
  enum Kind : std::uint8_t { row, vector, positions };
  std::string_view name;
  Kind kind;
  bool optional = false;
};
enum class RowResult : std::uint8_t { row, row_scalar, encoded };

/// A row of row_ops.def.
struct RowOpInfo {
  std::string_view name;
  std::span<const RowOperandInfo> operands;
  RowResult result;
};

/// By `RowOp::index()`, from 1: index 0 is Elementwise, which has no row here.
const RowOpInfo& row_op_info(std::size_t index);
/// "add", "rms_norm".
std::string_view name(const RowOp& op);
/// The op of this name with its attributes not set yet; nothing for an unknown name.
std::optional<RowOp> row_op_named(std::string_view name);
/// Columns that the op must see together in a program of `n` columns; `vector`: elements of its vector operand (0: it has none).
std::int64_t columns_together(const RowOp& op, std::int64_t n, std::int64_t vector);

/// Calls `visit(name, attribute)` for every attribute of an op in the order of its row: std::int64_t, double, DType or Pairing.
template <class Op, class Visit>
void for_each_attribute(Op& row_op, const Visit& visit) {
  std::visit(
      [&](auto& op) {
        using T = std::remove_cvref_t<decltype(op)>;
#define INTEGER(name) visit(std::string_view(#name), op.name);
#define NUMBER(name) visit(std::string_view(#name), op.name);
#define FORMAT(name) visit(std::string_view(#name), op.name);
#define PAIRING(name) visit(std::string_view(#name), op.name);
#define HEDDLE_ROW_OP(name, Struct, operands, attributes, ...) \
  if constexpr (std::is_same_v<T, Struct>) { attributes }
#include "ir/base/row_ops.def"
#undef INTEGER
#undef NUMBER
#undef FORMAT
#undef PAIRING
      },
      row_op);
}

}  // namespace heddle

HEDDLE_FORMAT_BY_NAME(heddle::Pairing)
HEDDLE_FORMAT_BY_NAME(heddle::RowOp)
