#include <cmath>
#include <map>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/characters.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;

/// A test without arguments, of the value's kind or content.
template <bool (*holds)(const Value&)>
Result<bool> simple(const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the test", {}));
  return holds(value);
}

bool defined(const Value& v) { return !v.is(Kind::undefined); }
bool undefined(const Value& v) { return v.is(Kind::undefined); }
bool none(const Value& v) { return v.is(Kind::none); }
bool string(const Value& v) { return v.is(Kind::string); }
bool mapping(const Value& v) { return v.is(Kind::mapping); }
bool boolean(const Value& v) { return v.is(Kind::boolean); }
bool integer(const Value& v) { return v.is(Kind::integer); }
bool real(const Value& v) { return v.is(Kind::real); }
bool number(const Value& v) { return v.is_number(); }
bool is_true(const Value& v) { return v.is(Kind::boolean) && v.integer() != 0; }
bool is_false(const Value& v) { return v.is(Kind::boolean) && v.integer() == 0; }
bool callable(const Value& v) { return v.is(Kind::object) && v.object().callable(); }
bool iterable(const Value& v) { return v.is(Kind::string) || v.is(Kind::sequence) || v.is(Kind::mapping) || v.is(Kind::undefined); }
/// Has a length and items by index or key: Jinja counts strings and dicts too.
bool sequence(const Value& v) {
  return iterable(v) && !(v.is(Kind::sequence) && v.sequence().form == Sequence::Form::generator) && defined(v);
}
bool is_lower(const Value& v) { return text_of(v) == lower(text_of(v)) && lower(text_of(v)) != upper(text_of(v)); }
bool is_upper(const Value& v) { return text_of(v) == upper(text_of(v)) && lower(text_of(v)) != upper(text_of(v)); }

Result<Value> one(const Arguments& arguments) {
  HEDDLE_ASSIGN(const auto given, arguments.bind("the test", {"other"}));
  if (!given[0]) return error("the test misses an argument");
  return *given[0];
}

Result<bool> equals(const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Value other, one(arguments));
  return equal(value, other);
}
Result<bool> differs(const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Value other, one(arguments));
  return !equal(value, other);
}

template <bool (*holds)(int)>
Result<bool> ordered(const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Value other, one(arguments));
  HEDDLE_ASSIGN(const int order, compare(value, other));
  return holds(order);
}
bool below(int order) { return order < 0; }
bool above(int order) { return order > 0; }
bool not_above(int order) { return order <= 0; }
bool not_below(int order) { return order >= 0; }

Result<bool> divisible(const Value& value, std::int64_t by, std::int64_t rest) {
  if (!value.is_whole()) return error("not an integer: '{}'", type_name(value));
  if (by == 0) return error("division by zero");
  return by == -1 ? rest == 0 : std::abs(value.integer() % by) == rest;
}
Result<bool> divisible_by(const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Value other, one(arguments));
  if (!other.is_whole()) return error("not an integer: '{}'", type_name(other));
  return divisible(value, other.integer(), 0);
}
template <int rest>
Result<bool> parity(const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the test", {}));
  return divisible(value, 2, rest);
}

Result<bool> inside(const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Value other, one(arguments));
  if (other.is(Kind::string) && value.is(Kind::string)) return find_text(other.string(), value.string()) != std::string::npos;
  if (other.is(Kind::mapping)) return other.mapping().find(value) != nullptr;
  if (other.is(Kind::undefined)) return false;
  if (!other.is(Kind::sequence)) return error("argument of type '{}' is not iterable", type_name(other));
  for (const Value& item : other.sequence().items)
    if (equal(item, value)) return true;
  return false;
}

const std::map<std::string_view, Test> tests = {
    {"!=", differs},
    {"<", ordered<below>},
    {"<=", ordered<not_above>},
    {"==", equals},
    {">", ordered<above>},
    {">=", ordered<not_below>},
    {"boolean", simple<boolean>},
    {"callable", simple<callable>},
    {"defined", simple<defined>},
    {"divisibleby", divisible_by},
    {"eq", equals},
    {"equalto", equals},
    {"even", parity<0>},
    {"false", simple<is_false>},
    {"float", simple<real>},
    {"ge", ordered<not_below>},
    {"greaterthan", ordered<above>},
    {"gt", ordered<above>},
    {"in", inside},
    {"integer", simple<integer>},
    {"iterable", simple<iterable>},
    {"le", ordered<not_above>},
    {"lessthan", ordered<below>},
    {"lower", simple<is_lower>},
    {"lt", ordered<below>},
    {"mapping", simple<mapping>},
    {"ne", differs},
    {"none", simple<none>},
    {"number", simple<number>},
    {"odd", parity<1>},
    {"sequence", simple<sequence>},
    {"string", simple<string>},
    {"true", simple<is_true>},
    {"undefined", simple<undefined>},
    {"upper", simple<is_upper>},
};

}  // namespace

Test test_named(std::string_view name) {
  const auto at = tests.find(name);
  return at == tests.end() ? nullptr : at->second;
}

}  // namespace heddle::chat
