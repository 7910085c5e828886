#include <algorithm>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/renderer.h"

namespace heddle::chat {

using Kind = Value::Kind;
using ExpressionKind = Expression::Kind;

Result<Value> Renderer::evaluate(const Expression& e, Scope& scope) {
  if (++depth_ > deepest) return error("calls and expressions nested deeper than {} levels", deepest);
  auto value = evaluate_bare(e, scope);
  --depth_;
  if (!value.ok() && fault_line_ == 0) fault_line_ = e.line;
  return value;
}

Result<Value> Renderer::evaluate_bare(const Expression& e, Scope& scope) {
  HEDDLE_TRY(charge(1));
  switch (e.kind) {
    case ExpressionKind::constant:
      return e.value;
    case ExpressionKind::name:
      return name(e, scope);
    case ExpressionKind::attribute: {
      HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
      return attribute(value, e.text);
    }
    case ExpressionKind::item: {
      HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
      HEDDLE_ASSIGN(const Value index, evaluate(*e.operands[1], scope));
      return item(value, index);
    }
    case ExpressionKind::slice:
      return slice(e, scope);
    case ExpressionKind::call:
      return call(e, scope);
    case ExpressionKind::filter:
      return through_filters(&e, Value(), scope);
    case ExpressionKind::test: {
      HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
      HEDDLE_ASSIGN(const Arguments given, arguments(e.arguments, scope));
      HEDDLE_TRY(charge(given.positional.empty() ? 1 : value.weight()));
      const Test test = test_named(e.text);
      if (!test) return error("unknown test '{}'", e.text);
      HEDDLE_ASSIGN(const bool holds, test(value, given));
      return Value(holds);
    }
    case ExpressionKind::negation: {
      HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
      return Value(!truth(value));
    }
    case ExpressionKind::unary:
      return unary(e, scope);
    case ExpressionKind::binary:
      return binary(e, scope);
    case ExpressionKind::comparison:
      return comparison(e, scope);
    case ExpressionKind::conjunction:
    case ExpressionKind::disjunction: {
      HEDDLE_ASSIGN(Value left, evaluate(*e.operands[0], scope));
      if (truth(left) == (e.kind == ExpressionKind::disjunction)) return left;
      return evaluate(*e.operands[1], scope);
    }
    case ExpressionKind::conditional: {
      HEDDLE_ASSIGN(const Value condition, evaluate(*e.operands[0], scope));
      if (truth(condition)) return evaluate(*e.operands[1], scope);
      if (e.operands[2]) return evaluate(*e.operands[2], scope);
      return Value::undefined("the inline if-expression evaluated to false and no else was defined");
    }
    case ExpressionKind::list:
    case ExpressionKind::tuple:
      return list_of(e, scope);
    case ExpressionKind::dict:
      return dict_of(e, scope);
  }
  HEDDLE_CHECK(false);
}

Result<Value> Renderer::name(const Expression& e, Scope& scope) {
  if (const Value* value = scope.find(e.text)) return *value;
  return Value::undefined(fmt::format("'{}' is undefined", e.text));
}

Result<Value> Renderer::list_of(const Expression& e, Scope& scope) {
  std::vector<Value> items;
  for (const auto& operand : e.operands) {
    HEDDLE_ASSIGN(Value item, evaluate(*operand, scope));
    items.push_back(std::move(item));
  }
  return made(e.kind == ExpressionKind::list ? Value::list(std::move(items)) : Value::tuple(std::move(items)));
}

Result<Value> Renderer::dict_of(const Expression& e, Scope& scope) {
  Value::Entries entries;
  for (std::size_t i = 0; i + 1 < e.operands.size(); i += 2) {
    HEDDLE_ASSIGN(Value key, evaluate(*e.operands[i], scope));
    HEDDLE_ASSIGN(Value value, evaluate(*e.operands[i + 1], scope));
    if (key.is(Kind::mapping) || (key.is(Kind::sequence) && key.sequence().form == Sequence::Form::list))
      return error("unhashable type: '{}'", type_name(key));
    HEDDLE_TRY(charge(entries.size()));
    const auto same = std::ranges::find_if(entries, [&](const auto& entry) { return equal(entry.first, key); });
    if (same != entries.end()) same->second = std::move(value);
    else entries.emplace_back(std::move(key), std::move(value));
  }
  return made(Value::mapping(std::move(entries)));
}

/// The filters of a chain from the innermost out; the innermost has an operand, or works on `value`.
Result<Value> Renderer::through_filters(const Expression* filters, Value value, Scope& scope) {
  if (!filters) return value;
  if (const Expression* operand = filters->operands[0].get()) {
    if (operand->kind == ExpressionKind::filter) {
      if (++depth_ > deepest) return error("calls and expressions nested deeper than {} levels", deepest);
      auto inner = through_filters(operand, std::move(value), scope);
      --depth_;
      HEDDLE_ASSIGN(value, std::move(inner));
    } else {
      HEDDLE_ASSIGN(value, evaluate(*operand, scope));
    }
  }
  HEDDLE_ASSIGN(const Arguments given, arguments(filters->arguments, scope));
  HEDDLE_TRY(charge(value.weight()));
  const Filter filter = filter_named(filters->text);
  if (!filter) return error("unknown filter '{}'", filters->text);
  HEDDLE_ASSIGN(Value result, filter(*this, value, given));
  return made(std::move(result));
}

Result<Arguments> Renderer::arguments(const CallArguments& written, Scope& scope) {
  Arguments out;
  for (const auto& e : written.positional) {
    HEDDLE_ASSIGN(Value value, evaluate(*e, scope));
    out.positional.push_back(std::move(value));
  }
  if (written.star) {
    HEDDLE_ASSIGN(const Value value, evaluate(*written.star, scope));
    HEDDLE_ASSIGN(auto items, items_of(value));
    out.positional.insert(out.positional.end(), items.begin(), items.end());
  }
  for (const auto& [name, e] : written.named) {
    HEDDLE_ASSIGN(Value value, evaluate(*e, scope));
    out.named.emplace_back(name, std::move(value));
  }
  if (written.star_star) {
    HEDDLE_ASSIGN(const Value value, evaluate(*written.star_star, scope));
    if (!value.is(Kind::mapping)) return error("argument after ** must be a mapping, not {}", type_name(value));
    for (const auto& [key, item] : value.mapping().entries) {
      if (!key.is(Kind::string)) return error("keywords must be strings");
      out.named.emplace_back(key.string(), item);
    }
  }
  return out;
}

Result<Value> Renderer::call(const Value& callee, const Arguments& arguments) {
  if (callee.is(Kind::undefined)) return error("{}", callee.undefined_message());
  if (!callee.is(Kind::object) || !callee.object().callable()) return error("'{}' object is not callable", type_name(callee));
  return callee.object().call(*this, arguments);
}

Result<Value> Renderer::call(const Expression& e, Scope& scope) {
  const Expression& target = *e.operands[0];
  if (target.kind != ExpressionKind::attribute) {
    HEDDLE_ASSIGN(const Value callee, evaluate(target, scope));
    HEDDLE_ASSIGN(const Arguments given, arguments(e.arguments, scope));
    return call(callee, given);
  }
  HEDDLE_ASSIGN(const Value value, evaluate(*target.operands[0], scope));
  HEDDLE_ASSIGN(const Arguments given, arguments(e.arguments, scope));
  if (value.is(Kind::object)) {
    if (auto result = value.object().call_method(target.text, given)) return std::move(*result);
  }
  if (value.is(Kind::string) || value.is(Kind::sequence) || value.is(Kind::mapping)) {
    if (value.is(Kind::string)) HEDDLE_TRY(charge(value.weight()));
    if (auto result = call_method(*this, value, target.text, given)) {
      if (!result->ok()) return std::move(*result);
      return made(std::move(**result));
    }
  }
  HEDDLE_ASSIGN(const Value callee, attribute(value, target.text));
  return call(callee, given);
}

Result<Value> Renderer::slice(const Expression& e, Scope& scope) {
  HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
  std::optional<std::int64_t> bounds[3];
  for (int i = 0; i < 3; ++i) {
    if (!e.operands[std::size_t(i) + 1]) continue;
    HEDDLE_ASSIGN(const Value bound, evaluate(*e.operands[std::size_t(i) + 1], scope));
    if (bound.is(Kind::none)) continue;
    if (!bound.is_whole()) return error("slice indices must be integers or None, found {}", type_name(bound));
    bounds[i] = bound.integer();
  }
  if (value.is(Kind::undefined)) return error("{}", value.undefined_message());
  const bool text = value.is(Kind::string), list = value.is(Kind::sequence) && value.sequence().form != Sequence::Form::generator;
  if (!text && !list) return Value::undefined(fmt::format("'{} object' cannot be sliced", type_name(value)));
  HEDDLE_TRY(charge(text ? value.weight() : value.sequence().items.size()));
  const std::vector<std::string_view> all = text ? characters(value.string()) : std::vector<std::string_view>();
  const std::int64_t size = std::int64_t(text ? all.size() : value.sequence().items.size()), step = bounds[2].value_or(1);
  if (step == 0) return error("slice step cannot be zero");
  const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto clamped = [&](std::optional<std::int64_t> bound, std::int64_t otherwise) {
    if (!bound) return otherwise;
    return std::clamp(*bound < 0 ? std::max(*bound, -size - 1) + size : *bound, low, high);
  };
  const std::int64_t begin = clamped(bounds[0], step > 0 ? low : high), end = clamped(bounds[1], step > 0 ? high : low);
  std::string out;
  std::vector<Value> items;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (text) out += all[std::size_t(i)];
    else items.push_back(value.sequence().items[std::size_t(i)]);
    if (step > size || step < -size) break;  // the next one is outside, and the sum could leave 64 bits
    i += step;
  }
  if (text) return made(std::move(out));
  return made(value.sequence().form == Sequence::Form::tuple ? Value::tuple(std::move(items)) : Value::list(std::move(items)));
}

Result<Value> Renderer::unary(const Expression& e, Scope& scope) {
  HEDDLE_ASSIGN(const Value value, evaluate(*e.operands[0], scope));
  if (!value.is_number()) return error("bad operand type for unary {}: '{}'", e.text, type_name(value));
  if (!value.is_whole()) return Value(e.text == "-" ? -value.real() : value.real());
  return arithmetic(*this, e.text, Value(std::int64_t(0)), value);
}

Result<Value> Renderer::binary(const Expression& e, Scope& scope) {
  HEDDLE_ASSIGN(const Value left, evaluate(*e.operands[0], scope));
  HEDDLE_ASSIGN(const Value right, evaluate(*e.operands[1], scope));
  HEDDLE_ASSIGN(Value result, arithmetic(*this, e.text, left, right));
  return made(std::move(result));
}

Result<Value> Renderer::comparison(const Expression& e, Scope& scope) {
  HEDDLE_ASSIGN(Value left, evaluate(*e.operands[0], scope));
  for (std::size_t i = 0; i < e.texts.size(); ++i) {
    const std::string& op = e.texts[i];
    HEDDLE_ASSIGN(Value right, evaluate(*e.operands[i + 1], scope));
    bool holds = false;
    if (op == "==" || op == "!=") {
      HEDDLE_ASSIGN(const bool same, equals(left, right));
      holds = same == (op == "==");
    } else if (op == "in" || op == "not in") {
      HEDDLE_ASSIGN(const bool inside, contains(right, left));
      holds = inside == (op == "in");
    } else {
      HEDDLE_TRY(charge(std::min(left.weight(), right.weight())));
      HEDDLE_ASSIGN(const int order, compare(left, right));
      holds = op == "<" ? order < 0 : op == ">" ? order > 0 : op == "<=" ? order <= 0 : order >= 0;
    }
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

}  // namespace heddle::chat
