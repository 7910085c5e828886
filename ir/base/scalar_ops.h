#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>

namespace heddle {

/// The elementwise ops of scalar_ops.def.
enum class ScalarOp : std::uint8_t {
#define HEDDLE_SCALAR_OP(name, arity, ...) name,
#include "ir/base/scalar_ops.def"
};

struct ScalarOpInfo {
  std::string_view name;
  int arity;
  std::string_view expression;  // C text over x, y, z
};
const ScalarOpInfo& info(ScalarOp op);
std::optional<ScalarOp> scalar_op_named(std::string_view name);

/// `apply<T>(op, x, y, z)` evaluates the row's expression for any number-like T with the operators and the functions it names
/// (found by argument-dependent lookup, or in std).
template <class T>
T apply(ScalarOp op, [[maybe_unused]] T x, [[maybe_unused]] T y = T(0), [[maybe_unused]] T z = T(0)) {
  using std::erf, std::exp, std::max, std::min, std::sqrt, std::tanh;
  using F = T;
  switch (op) {
#define HEDDLE_SCALAR_OP(name, arity, ...) \
  case ScalarOp::name:                     \
    return __VA_ARGS__;
#include "ir/base/scalar_ops.def"
  }
  return x;
}

}  // namespace heddle
