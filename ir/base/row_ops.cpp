#include "ir/base/row_ops.h"

#include "ir/base/check.h"

namespace heddle {
namespace {

#define ROW(name) RowOperandInfo{#name, RowOperandInfo::row},
#define VECTOR(name) RowOperandInfo{#name, RowOperandInfo::vector},
#define OPTIONAL_VECTOR(name) RowOperandInfo{#name, RowOperandInfo::vector, true},
#define POSITIONS(name) RowOperandInfo{#name, RowOperandInfo::positions},
#define HEDDLE_ROW_OP(name, Struct, operands, ...) constexpr RowOperandInfo name##_operands[] = {operands};
#include "ir/base/row_ops.def"

constexpr RowOpInfo rows[] = {
#define HEDDLE_ROW_OP(name, Struct, operands, attributes, together, result) {#name, name##_operands, RowResult::result},
#include "ir/base/row_ops.def"
};

}  // namespace

std::string_view name(Pairing pairing) { return pairing == Pairing::adjacent ? "adjacent" : "halves"; }

std::optional<Pairing> pairing_named(std::string_view text) {
  for (const Pairing pairing : {Pairing::adjacent, Pairing::halves})
    if (name(pairing) == text) return pairing;
  return std::nullopt;
}

const RowOpInfo& row_op_info(std::size_t index) {
  HEDDLE_CHECK(index >= 1 && index <= std::size(rows), "row op {}", index);
  return rows[index - 1];
}

std::string_view name(const RowOp& op) {
  if (const auto* elementwise = std::get_if<Elementwise>(&op)) return info(elementwise->op).name;
  return row_op_info(op.index()).name;
}

std::optional<RowOp> row_op_named(std::string_view wanted) {
  if (const auto op = scalar_op_named(wanted)) return Elementwise{*op};
#define HEDDLE_ROW_OP(name, Struct, ...) \
  if (wanted == #name) return Struct{};
#include "ir/base/row_ops.def"
  return std::nullopt;
}

namespace {
#define HEDDLE_ROW_OP(name, Struct, operands, attributes, together, result)                                                              \
  std::int64_t together_of([[maybe_unused]] const Struct& op, [[maybe_unused]] std::int64_t n, [[maybe_unused]] std::int64_t vector) { \
    return together;                                                                                                                     \
  }
#include "ir/base/row_ops.def"
std::int64_t together_of(const Elementwise&, std::int64_t, std::int64_t) { return 1; }
}  // namespace

std::int64_t columns_together(const RowOp& op, std::int64_t n, std::int64_t vector) {
  return std::visit([&](const auto& one) { return together_of(one, n, vector); }, op);
}

}  // namespace heddle
