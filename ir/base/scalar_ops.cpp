#include "ir/base/scalar_ops.h"

#include <iterator>

#include "ir/base/check.h"

namespace heddle {
namespace {

constexpr ScalarOpInfo ops[] = {
#define HEDDLE_SCALAR_OP(name, arity, ...) {#name, arity, #__VA_ARGS__},
#include "ir/base/scalar_ops.def"
};

}  // namespace

const ScalarOpInfo& info(ScalarOp op) {
  HEDDLE_CHECK(std::size_t(op) < std::size(ops), "scalar op {}", int(op));
  return ops[std::size_t(op)];
}

std::optional<ScalarOp> scalar_op_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(ops); ++i) {
    if (ops[i].name == name) return ScalarOp(i);
  }
  return std::nullopt;
}

}  // namespace heddle
