// What is in a value: attributes, items, and whether something is among them.
#include <algorithm>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/renderer.h"

namespace heddle::chat {

using Kind = Value::Kind;

Result<Value> Renderer::attribute(const Value& value, const std::string& name) {
  switch (value.kind()) {
    case Kind::undefined:
      return error("{}", value.undefined_message());
    case Kind::object:
      if (auto found = value.object().attribute(name)) return *found;
      break;
    case Kind::string:
    case Kind::sequence:
    case Kind::mapping:
      if (has_method(value, name)) {
        return Value(own<Function>(
            [value, name](Renderer& renderer, const Arguments& given) { return *call_method(renderer, value, name, given); }));
      }
      if (value.is(Kind::mapping)) {
        HEDDLE_TRY(charge(value.mapping().entries.size() / 4));
        if (const Value* found = value.mapping().named(name)) return *found;
      }
      break;
    default:
      break;
  }
  return Value::undefined(fmt::format("'{} object' has no attribute '{}'", type_name(value), name));
}

Result<Value> Renderer::item(const Value& value, const Value& index) {
  const auto at = [&](std::size_t size) -> std::optional<std::size_t> {
    const std::int64_t i = index.integer(), n = std::int64_t(size);
    if (i < -n || i >= n) return std::nullopt;
    return std::size_t(i < 0 ? i + n : i);
  };
  if (value.is(Kind::undefined)) return error("{}", value.undefined_message());
  if (value.is(Kind::mapping)) {
    HEDDLE_TRY(charge(value.mapping().entries.size() / 4 + index.weight()));
    if (const Value* found = value.mapping().find(index)) return *found;
  } else if (value.is(Kind::sequence) && index.is_whole() && value.sequence().form != Sequence::Form::generator) {
    if (const auto i = at(value.sequence().items.size())) return value.sequence().items[*i];
  } else if (value.is(Kind::string) && index.is_whole()) {
    HEDDLE_TRY(charge(value.weight()));
    const auto all = characters(value.string());
    if (const auto i = at(all.size())) return Value(all[*i]);
  }
  if (index.is(Kind::string)) return attribute(value, index.string());
  return Value::undefined(fmt::format("'{} object' has no element {}", type_name(value), repr(index)));
}

Result<std::vector<Value>> Renderer::items_of(const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::undefined:
      return items;
    case Kind::sequence:
      items = value.sequence().items;
      break;
    case Kind::mapping:
      for (const auto& [key, item] : value.mapping().entries) items.push_back(key);
      break;
    case Kind::string:
      HEDDLE_TRY(charge(8 * value.weight()));
      for (const std::string_view c : characters(value.string())) items.emplace_back(c);
      break;
    default:
      return error("'{}' object is not iterable", type_name(value));
  }
  HEDDLE_TRY(charge(items.size()));
  return items;
}

Result<bool> Renderer::equals(const Value& left, const Value& right) {
  HEDDLE_TRY(charge(std::min(left.weight(), right.weight())));
  return equal(left, right);
}

Result<bool> Renderer::contains(const Value& container, const Value& value) {
  switch (container.kind()) {
    case Kind::undefined:
      return false;
    case Kind::string:
      if (!value.is(Kind::string)) return error("'in <string>' requires string as left operand, not {}", type_name(value));
      HEDDLE_TRY(charge(container.weight()));
      return find_text(container.string(), value.string()) != std::string::npos;
    case Kind::sequence:
      HEDDLE_TRY(charge(std::min(container.weight(), container.sequence().items.size() * value.weight())));
      return std::ranges::any_of(container.sequence().items, [&](const Value& item) { return equal(item, value); });
    case Kind::mapping:
      HEDDLE_TRY(charge(container.mapping().entries.size()));
      return container.mapping().find(value) != nullptr;
    default:
      return error("argument of type '{}' is not iterable", type_name(container));
  }
}

}  // namespace heddle::chat
