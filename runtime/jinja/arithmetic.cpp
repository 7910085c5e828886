#include <algorithm>
#include <cmath>

#include "runtime/jinja/renderer.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;

Error unsupported(std::string_view op, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right})
    if (side->is(Kind::undefined)) return error("{}", side->undefined_message());
  if (op == "+" && left.is(Kind::string)) return error("can only concatenate str (not \"{}\") to str", type_name(right));
  return error("unsupported operand type(s) for {}: '{}' and '{}'", op, type_name(left), type_name(right));
}

Error overflow(std::string_view op) { return error("the result of '{}' does not fit 64 bits", op); }

Result<Value> power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) return error("0.0 cannot be raised to a negative power");
    return Value(std::pow(double(base), double(exponent)));
  }
  std::int64_t result = 1;
  if (base == 0 || base == 1) return Value(exponent == 0 ? std::int64_t(1) : base);
  if (base == -1) return Value(std::int64_t(exponent % 2 == 0 ? 1 : -1));
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result)) return overflow("**");
  return Value(result);
}

Result<Value> whole(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (op == "+") return __builtin_add_overflow(a, b, &result) ? Result<Value>(overflow(op)) : Value(result);
  if (op == "-") return __builtin_sub_overflow(a, b, &result) ? Result<Value>(overflow(op)) : Value(result);
  if (op == "*") return __builtin_mul_overflow(a, b, &result) ? Result<Value>(overflow(op)) : Value(result);
  if (op == "**") return power(a, b);
  if (b == 0) return error("division by zero");
  if (op == "/") return Value(double(a) / double(b));
  if (b == -1) return op == "%" ? Result<Value>(Value(std::int64_t(0))) : whole("-", 0, a);
  const std::int64_t rest = a % b, floor = rest != 0 && (rest < 0) != (b < 0) ? 1 : 0;
  return Value(op == "%" ? rest + floor * b : a / b - floor);
}

Result<Value> real(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) return error("float division by zero");
  if (op == "/") return Value(a / b);
  if (op == "//") return Value(std::floor(a / b));
  const double rest = std::fmod(a, b);
  return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

/// A string or a list, some times over.
Result<Value> repeated(Renderer& renderer, const Value& value, std::int64_t times) {
  const std::size_t count = std::size_t(std::max<std::int64_t>(times, 0));
  std::size_t work = 0;
  if (__builtin_mul_overflow(value.weight(), count, &work)) work = SIZE_MAX / 2;
  HEDDLE_TRY(renderer.charge(work));
  if (value.is(Kind::string)) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) out += value.string();
    return Value(std::move(out));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; i < count; ++i) items.insert(items.end(), value.sequence().items.begin(), value.sequence().items.end());
  return value.sequence().form == Sequence::Form::tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

bool repeats(const Value& value) {
  return value.is(Kind::string) || (value.is(Kind::sequence) && value.sequence().form != Sequence::Form::generator);
}

}  // namespace

Result<Value> arithmetic(Renderer& renderer, std::string_view op, const Value& left, const Value& right) {
  if (op == "~") {
    HEDDLE_TRY(renderer.charge(left.weight() + right.weight()));
    return Value(text_of(left) + text_of(right));
  }
  if (left.is_whole() && right.is_whole()) return whole(op, left.integer(), right.integer());
  if (left.is_number() && right.is_number()) return real(op, left.real(), right.real());
  if (op == "*" && repeats(left) && right.is_whole()) return repeated(renderer, left, right.integer());
  if (op == "*" && left.is_whole() && repeats(right)) return repeated(renderer, right, left.integer());
  if (op == "+" && left.is(Kind::string) && right.is(Kind::string)) {
    HEDDLE_TRY(renderer.charge(left.weight() + right.weight()));
    return Value(left.string() + right.string());
  }
  if (op == "+" && repeats(left) && repeats(right) && left.kind() == right.kind() && left.sequence().form == right.sequence().form) {
    std::vector<Value> items = left.sequence().items;
    items.insert(items.end(), right.sequence().items.begin(), right.sequence().items.end());
    return left.sequence().form == Sequence::Form::tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }
  if (op == "%" && left.is(Kind::string)) return error("formatting a string with '%' is not supported");
  return unsupported(op, left, right);
}

}  // namespace heddle::chat
