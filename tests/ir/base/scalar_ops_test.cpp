#include "ir/base/scalar_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace heddle {
namespace {

constexpr double points[] = {-30, -4.5, -1, -0.125, -1e-9, 0, 1e-9, 0.3, 1, 2.75, 30};

double reference(ScalarOp op, double x, double y) {
  switch (op) {
    case ScalarOp::add:
      return x + y;
    case ScalarOp::sub:
      return x - y;
    case ScalarOp::mul:
      return x * y;
    case ScalarOp::div:
      return x / y;
    case ScalarOp::max:
      return std::fmax(x, y);
    case ScalarOp::neg:
      return -x;
    case ScalarOp::exp:
      return std::pow(2.718281828459045235, x);
    case ScalarOp::tanh:
      return 1 - 2 / (std::exp(2 * x) + 1);
    case ScalarOp::sigmoid:
      return 0.5 * (1 + std::tanh(x / 2));
    case ScalarOp::silu:
      return x * 0.5 * (1 + std::tanh(x / 2));
    case ScalarOp::gelu:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.141592653589793238) * (x + 0.044715 * x * x * x)));
    case ScalarOp::relu:
      return x > 0 ? x : 0;
  }
  ADD_FAILURE() << "no reference for scalar op " << int(op);
  return 0;
}

constexpr ScalarOp all_ops[] = {
#define HEDDLE_SCALAR_OP(name, arity, ...) ScalarOp::name,
#include "ir/base/scalar_ops.def"
};

TEST(ScalarOps, ValuesInDouble) {
  for (const ScalarOp op : all_ops) {
    for (const double x : points) {
      for (const double y : points) {
        if (op == ScalarOp::div && y == 0) continue;
        const double wanted = reference(op, x, y);
        ASSERT_NEAR(apply<double>(op, x, y), wanted, 1e-13 * std::max(1.0, std::fabs(wanted))) << info(op).name << " " << x << " " << y;
      }
    }
  }
}

TEST(ScalarOps, FloatIsTheSameExpressionInFloat) {
  for (const ScalarOp op : all_ops) {
    for (const double x : points) {
      const double wanted = apply<double>(op, x, 0.3);
      ASSERT_NEAR(double(apply<float>(op, float(x), 0.3f)), wanted, 1e-5 * std::max(1.0, std::fabs(wanted))) << info(op).name << " " << x;
    }
  }
}

TEST(ScalarOps, LargeArgumentsSaturate) {
  EXPECT_EQ(apply<float>(ScalarOp::silu, -1000.0f), 0.0f);
  EXPECT_EQ(apply<float>(ScalarOp::silu, 1000.0f), 1000.0f);
  EXPECT_EQ(apply<float>(ScalarOp::sigmoid, -1000.0f), 0.0f);
  EXPECT_EQ(apply<float>(ScalarOp::gelu, -1000.0f), 0.0f);
  EXPECT_EQ(apply<float>(ScalarOp::exp, 1000.0f), std::numeric_limits<float>::infinity());
}

TEST(ScalarOps, TableIsConsistent) {
  std::set<std::string_view> names;
  for (const ScalarOp op : all_ops) {
    const ScalarOpInfo& row = info(op);
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(scalar_op_named(row.name), op);
    const auto uses = [&](const char* argument) {  // as a whole word
      for (std::size_t at = row.expression.find(argument); at != std::string_view::npos; at = row.expression.find(argument, at + 1)) {
        const bool before = at > 0 && std::isalpha(static_cast<unsigned char>(row.expression[at - 1]));
        const bool after = at + 1 < row.expression.size() && std::isalpha(static_cast<unsigned char>(row.expression[at + 1]));
        if (!before && !after) return true;
      }
      return false;
    };
    EXPECT_EQ(uses("x"), row.arity >= 1) << row.name;
    EXPECT_EQ(uses("y"), row.arity >= 2) << row.name;
    EXPECT_EQ(uses("z"), row.arity >= 3) << row.name;
  }
  EXPECT_EQ(info(ScalarOp::add).expression, "x + y");
  EXPECT_EQ(info(ScalarOp::silu).expression, "x / (F(1) + exp(F(0) - x))");
  EXPECT_EQ(scalar_op_named("pow"), std::nullopt);
}

/// A number that counts what is done with it, found by argument-dependent lookup.
struct Counting {
  double value;
  int operations = 0;
  explicit Counting(double v, int n = 0) : value(v), operations(n) {}
};
Counting operator+(Counting a, Counting b) { return Counting(a.value + b.value, a.operations + b.operations + 1); }
Counting operator-(Counting a, Counting b) { return Counting(a.value - b.value, a.operations + b.operations + 1); }
Counting operator*(Counting a, Counting b) { return Counting(a.value * b.value, a.operations + b.operations + 1); }
Counting operator/(Counting a, Counting b) { return Counting(a.value / b.value, a.operations + b.operations + 1); }
Counting exp(Counting a) { return Counting(std::exp(a.value), a.operations + 1); }
Counting tanh(Counting a) { return Counting(std::tanh(a.value), a.operations + 1); }
Counting max(Counting a, Counting b) { return Counting(std::max(a.value, b.value), a.operations + b.operations + 1); }

TEST(ScalarOps, AnyNumberLikeTypeWorks) {
  const Counting silu = apply(ScalarOp::silu, Counting(2));
  EXPECT_EQ(silu.operations, 4);
  EXPECT_NEAR(silu.value, 2 / (1 + std::exp(-2.0)), 1e-15);
}

}  // namespace
}  // namespace heddle
