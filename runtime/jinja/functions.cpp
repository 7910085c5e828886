#include "runtime/jinja/builtins.h"
#include "runtime/jinja/renderer.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;

Result<Value> range(Renderer& renderer, const Arguments& arguments) {
  std::vector<std::int64_t> n;
  for (const Value& value : arguments.positional) {
    if (!value.is_whole()) return error("'{}' object cannot be interpreted as an integer", type_name(value));
    n.push_back(value.integer());
  }
  if (n.empty() || n.size() > 3 || !arguments.named.empty()) return error("range() takes 1 to 3 arguments, {} were given", n.size());
  const std::int64_t begin = n.size() > 1 ? n[0] : 0, end = n.size() > 1 ? n[1] : n[0], step = n.size() > 2 ? n[2] : 1;
  if (step == 0) return error("range() arg 3 must not be zero");
  // The sandbox's bound on a range.
  const double count = (double(end) - double(begin)) / double(step);
  if (count > 100000) return error("range too big: the sandbox blocks ranges larger than 100000");
  std::vector<Value> items;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  HEDDLE_TRY(renderer.charge(items.size()));
  return Value::list(std::move(items));
}

Result<Value> make_namespace(Renderer& renderer, const Arguments& arguments) {
  auto* space = renderer.own<Namespace>();
  for (const Value& value : arguments.positional) {
    if (!value.is(Kind::mapping)) return error("namespace() takes a mapping, found {}", type_name(value));
    for (const auto& [key, item] : value.mapping().entries)
      if (key.is(Kind::string)) space->values.insert_or_assign(key.string(), item);
  }
  for (const auto& [name, value] : arguments.named) space->values.insert_or_assign(name, value);
  return Value(space);
}

Result<Value> dict(Renderer&, const Arguments& arguments) {
  if (!arguments.positional.empty()) return error("dict() takes named arguments only");
  Value::Entries entries;
  for (const auto& [name, value] : arguments.named) {
    for (const auto& [key, other] : entries)
      if (key.string() == name) return error("dict() got multiple values for argument '{}'", name);
    entries.emplace_back(Value(name), value);
  }
  return Value::mapping(std::move(entries));
}

Result<Value> raise_exception(Renderer&, const Arguments& arguments) {
  HEDDLE_ASSIGN(const auto given, arguments.bind("raise_exception", {"message"}));
  return error("{}", given[0] ? text_of(*given[0]) : "the template gave up");
}

Result<Value> strftime_now(Renderer& renderer, const Arguments& arguments) {
  HEDDLE_ASSIGN(const auto given, arguments.bind("strftime_now", {"format"}));
  if (!given[0] || !given[0]->is(Kind::string)) return error("strftime_now() takes a format");
  if (given[0]->string().empty()) return Value("");
  char text[1024];
  const std::size_t length = std::strftime(text, sizeof text, given[0]->string().c_str(), &renderer.now());
  if (length == 0) return error("strftime_now(): '{}' gives nothing, or more than {} bytes", given[0]->string().substr(0, 40), sizeof text);
  return Value(std::string(text, length));
}

}  // namespace

void add_functions(Renderer& renderer) {
  renderer.define("dict", Value(renderer.own<Function>(dict)));
  renderer.define("namespace", Value(renderer.own<Function>(make_namespace)));
  renderer.define("raise_exception", Value(renderer.own<Function>(raise_exception)));
  renderer.define("range", Value(renderer.own<Function>(range)));
  renderer.define("strftime_now", Value(renderer.own<Function>(strftime_now)));
}

}  // namespace heddle::chat
