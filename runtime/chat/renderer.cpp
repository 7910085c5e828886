#include "runtime/chat/renderer.h"

#include <algorithm>

#include "runtime/chat/builtins.h"
#include "runtime/chat/characters.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;
using ExpressionKind = Expression::Kind;

constexpr int deepest_evaluation = 400;  // of this program's stack
constexpr int deepest_value = 60;
constexpr std::size_t least_work = 2'000'000, work_per_byte = 200;  // of the context
constexpr std::size_t least_weight = 4 << 20;

/// `{% macro %}`, and the body of `{% call %}`.
class Macro final : public Object {
 public:
  Macro(std::string_view name, const Statement& definition, Scope& scope) : name_(name), definition_(definition), scope_(scope) {}
  std::string_view type() const override { return "Macro"; }
  bool callable() const override { return true; }
  std::optional<Value> attribute(std::string_view name) const override {
    return name == "name" ? std::optional(Value(name_)) : std::nullopt;
  }

  Result<Value> call(Renderer& renderer, const Arguments& arguments) override {
    const auto& parameters = definition_.parameters;
    if (arguments.positional.size() > parameters.size())
      return error("macro '{}' takes not more than {} argument(s)", name_, parameters.size());
    HEDDLE_TRY(renderer.charge(50));
    Scope& scope = renderer.new_scope(&scope_);
    for (std::size_t i = 0; i < arguments.positional.size(); ++i)
      scope.values.insert_or_assign(parameters[i].name, arguments.positional[i]);
    for (const auto& [name, value] : arguments.named) {
      const auto at = std::ranges::find(parameters, name, &Parameter::name);
      if (at == parameters.end() && name == "caller") {
        scope.values.insert_or_assign("caller", value);
        continue;
      }
      if (at == parameters.end()) return error("macro '{}' takes no keyword argument '{}'", name_, name);
      if (!scope.values.emplace(at->name, value).second) return error("macro '{}' got two values for argument '{}'", name_, name);
    }
    for (const Parameter& parameter : parameters) {
      if (scope.values.contains(parameter.name)) continue;
      Value value = Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
      if (parameter.fallback) {
        HEDDLE_ASSIGN(value, renderer.evaluate(*parameter.fallback, scope));
      }
      scope.values.emplace(parameter.name, std::move(value));
    }
    std::string out;
    HEDDLE_TRY(renderer.execute(definition_.bodies[0], scope, out));
    return renderer.made(std::move(out));
  }

 private:
  std::string_view name_;
  const Statement& definition_;
  Scope& scope_;
};

/// `loop`.
class Loop final : public Object {
 public:
  using Recurse = std::function<Result<Value>(const Value&)>;
  Loop(std::vector<Value> items, int depth, Recurse recurse) : items_(std::move(items)), depth_(depth), recurse_(std::move(recurse)) {}

  std::string_view type() const override { return "LoopContext"; }
  const std::vector<Value>& items() const { return items_; }
  void go_to(std::size_t index) { index_ = index; }

  std::optional<Value> attribute(std::string_view name) const override {
    const auto number = [](std::size_t n) { return Value(std::int64_t(n)); };
    const std::size_t count = items_.size();
    if (name == "index") return number(index_ + 1);
    if (name == "index0") return number(index_);
    if (name == "revindex") return number(count - index_);
    if (name == "revindex0") return number(count - index_ - 1);
    if (name == "first") return Value(index_ == 0);
    if (name == "last") return Value(index_ + 1 == count);
    if (name == "length") return number(count);
    if (name == "depth") return Value(depth_);
    if (name == "depth0") return Value(depth_ - 1);
    if (name == "previtem") return index_ > 0 ? items_[index_ - 1] : Value::undefined("there is no previous item");
    if (name == "nextitem") return index_ + 1 < count ? items_[index_ + 1] : Value::undefined("there is no next item");
    return std::nullopt;
  }

  bool callable() const override { return bool(recurse_); }
  Result<Value> call(Renderer&, const Arguments& arguments) override {
    if (!recurse_) return error("the loop is not recursive");
    if (arguments.positional.size() != 1 || !arguments.named.empty()) return error("loop() takes one argument");
    return recurse_(arguments.positional[0]);
  }

  Result<Value> cycle(const Arguments& arguments) const {
    if (arguments.positional.empty()) return error("no items for cycling given");
    return arguments.positional[index_ % arguments.positional.size()];
  }

 private:
  std::vector<Value> items_;
  int depth_;
  Recurse recurse_;
  std::size_t index_ = 0;
};

}  // namespace

Result<std::vector<std::optional<Value>>> Arguments::bind(std::string_view function, std::initializer_list<const char*> parameters) const {
  std::vector<std::optional<Value>> out(parameters.size());
  if (positional.size() > parameters.size())
    return error("{}() takes at most {} argument(s), {} were given", function, parameters.size(), positional.size());
  std::copy(positional.begin(), positional.end(), out.begin());
  for (const auto& [name, value] : named) {
    const auto at = std::find(parameters.begin(), parameters.end(), name);
    if (at == parameters.end()) return error("{}() got an unexpected keyword argument '{}'", function, name);
    auto& slot = out[std::size_t(at - parameters.begin())];
    if (slot) return error("{}() got multiple values for argument '{}'", function, name);
    slot = value;
  }
  return out;
}

Renderer::Renderer(const Mapping& context, const std::tm& now)
    : now_(now), most_work_(least_work + work_per_byte * context.weight), most_weight_(least_weight + 2 * context.weight) {
  add_functions(*this);
  top_.parent = &globals_;
  for (const auto& [name, value] : context.entries)
    if (name.is(Kind::string)) top_.values.insert_or_assign(name.string(), value);
}

Scope& Renderer::new_scope(Scope* parent) {
  scopes_.emplace_back();
  scopes_.back().parent = parent;
  return scopes_.back();
}

Result<void> Renderer::charge(std::size_t work) {
  work_ += work;
  if (work_ > most_work_) return error("the template takes more than {} steps", most_work_);
  return {};
}

Result<Value> Renderer::made(Value value) {
  if (value.weight() > most_weight_) return error("a value of more than {} bytes", most_weight_);
  if (value.depth() > deepest_value) return error("a value nested deeper than {} levels", deepest_value);
  const std::size_t size = value.is(Kind::string)     ? value.string().size()
                           : value.is(Kind::sequence) ? value.sequence().items.size()
                           : value.is(Kind::mapping)  ? value.mapping().entries.size()
                                                      : 1;
  HEDDLE_TRY(charge(size));
  return value;
}

Result<std::string> Renderer::run(const Block& block) {
  std::string out;
  if (auto done = execute(block, top_, out); !done.ok()) return error("line {}: {}", fault_line_, done.error().message());
  return out;
}

// ---- Statements

Result<void> Renderer::write(std::string_view text, std::string& out) {
  HEDDLE_TRY(charge(text.size()));
  out += text;
  if (out.size() > most_weight_) return error("a text of more than {} bytes", most_weight_);
  return {};
}

Result<Renderer::Flow> Renderer::execute(const Block& block, Scope& scope, std::string& out) {
  for (const Statement& s : block) {
    if (++depth_ > deepest_evaluation) return error("calls and expressions nested deeper than {} levels", deepest_evaluation);
    auto flow = execute(s, scope, out);
    --depth_;
    if (!flow.ok() && fault_line_ == 0) fault_line_ = s.line;
    if (!flow.ok() || *flow != Flow::on) return flow;
  }
  return Flow::on;
}

Result<std::string> Renderer::captured(const Block& block, Scope& scope) {
  HEDDLE_TRY(charge(50));
  std::string out;
  HEDDLE_TRY(execute(block, new_scope(&scope), out));
  return out;
}

Result<Renderer::Flow> Renderer::execute(const Statement& s, Scope& scope, std::string& out) {
  using SK = Statement::Kind;
  HEDDLE_TRY(charge(1));
  switch (s.kind) {
    case SK::text:
      HEDDLE_TRY(write(s.text, out));
      return Flow::on;
    case SK::output: {
      HEDDLE_ASSIGN(const Value value, evaluate(*s.expressions[0], scope));
      HEDDLE_TRY(charge(value.weight()));
      HEDDLE_TRY(write(text_of(value), out));
      return Flow::on;
    }
    case SK::branches:
      for (std::size_t i = 0; i < s.bodies.size(); ++i) {
        bool enter = i >= s.expressions.size();
        if (!enter) {
          HEDDLE_ASSIGN(const Value condition, evaluate(*s.expressions[i], scope));
          enter = truth(condition);
        }
        if (enter) return execute(s.bodies[i], scope, out);
      }
      return Flow::on;
    case SK::loop: {
      HEDDLE_ASSIGN(const Value over, evaluate(*s.expressions[0], scope));
      return loop(s, over, scope, out, 1);
    }
    case SK::assign: {
      HEDDLE_ASSIGN(Value value, evaluate(*s.expressions[0], scope));
      if (s.text.empty()) {
        HEDDLE_TRY(assign(s.names, std::move(value), scope));
        return Flow::on;
      }
      const Value* target = scope.find(s.text);
      auto* space = target && target->is(Kind::object) ? dynamic_cast<Namespace*>(&target->object()) : nullptr;
      if (!space) return error("cannot assign attribute on non-namespace object '{}'", s.text);
      space->values.insert_or_assign(s.names[0], std::move(value));
      return Flow::on;
    }
    case SK::assign_block: {
      HEDDLE_ASSIGN(std::string text, captured(s.bodies[0], scope));
      HEDDLE_ASSIGN(Value value, made(std::move(text)));
      HEDDLE_ASSIGN(value, through_filters(s.expressions[0].get(), std::move(value), scope));
      scope.values.insert_or_assign(s.names[0], std::move(value));
      return Flow::on;
    }
    case SK::macro:
      scope.values.insert_or_assign(s.text, Value(own<Macro>(s.text, s, scope)));
      return Flow::on;
    case SK::call_block: {
      HEDDLE_ASSIGN(const Value value, call_block(s, scope));
      HEDDLE_TRY(write(text_of(value), out));
      return Flow::on;
    }
    case SK::filter_block: {
      HEDDLE_ASSIGN(std::string text, captured(s.bodies[0], scope));
      HEDDLE_ASSIGN(Value value, made(std::move(text)));
      HEDDLE_ASSIGN(value, through_filters(s.expressions[0].get(), std::move(value), scope));
      HEDDLE_TRY(write(text_of(value), out));
      return Flow::on;
    }
    case SK::with: {
      HEDDLE_TRY(charge(50));
      Scope& inner = new_scope(&scope);
      for (std::size_t i = 0; i < s.names.size(); ++i) {
        HEDDLE_ASSIGN(Value value, evaluate(*s.expressions[i], scope));
        inner.values.insert_or_assign(s.names[i], std::move(value));
      }
      return execute(s.bodies[0], inner, out);
    }
    case SK::leave:
      return Flow::leave;
    case SK::next:
      return Flow::next;
    case SK::body:
      HEDDLE_TRY(charge(50));
      return execute(s.bodies[0], new_scope(&scope), out);
  }
  HEDDLE_CHECK(false);
}

Result<Value> Renderer::call_block(const Statement& s, Scope& scope) {
  const Expression& written = *s.expressions[0];
  HEDDLE_ASSIGN(const Value callee, evaluate(*written.operands[0], scope));
  HEDDLE_ASSIGN(Arguments given, arguments(written.arguments, scope));
  given.named.emplace_back("caller", Value(own<Macro>("caller", s, scope)));
  return call(callee, given);
}

Result<void> Renderer::assign(const std::vector<std::string>& names, Value value, Scope& scope) {
  if (names.size() == 1) {
    scope.values.insert_or_assign(names[0], std::move(value));
    return {};
  }
  HEDDLE_ASSIGN(const auto items, items_of(value));
  if (items.size() != names.size()) return error("{} values to unpack, wanted {}", items.size(), names.size());
  for (std::size_t i = 0; i < names.size(); ++i) scope.values.insert_or_assign(names[i], items[i]);
  return {};
}

Result<Renderer::Flow> Renderer::loop(const Statement& s, const Value& over, Scope& scope, std::string& out, int depth) {
  HEDDLE_ASSIGN(auto items, items_of(over));
  if (const Expression* condition = s.expressions[1].get()) {
    std::vector<Value> wanted;
    for (Value& item : items) {
      HEDDLE_TRY(charge(50));
      Scope& inner = new_scope(&scope);
      HEDDLE_TRY(assign(s.names, item, inner));
      HEDDLE_ASSIGN(const Value keep, evaluate(*condition, inner));
      if (truth(keep)) wanted.push_back(std::move(item));
    }
    items = std::move(wanted);
  }
  if (items.empty()) return execute(s.bodies[1], new_scope(&scope), out);
  Loop::Recurse recurse;
  if (s.recursive) {
    recurse = [this, &s, &scope, depth](const Value& inner) -> Result<Value> {
      if (++depth_ > deepest_evaluation) return error("calls and expressions nested deeper than {} levels", deepest_evaluation);
      std::string text;
      auto flow = loop(s, inner, scope, text, depth + 1);
      --depth_;
      if (!flow.ok()) return flow.take_error();
      return made(std::move(text));
    };
  }
  Loop* state = own<Loop>(std::move(items), depth, std::move(recurse));
  for (std::size_t i = 0; i < state->items().size(); ++i) {
    HEDDLE_TRY(charge(50));
    Scope& inner = new_scope(&scope);
    state->go_to(i);
    inner.values.insert_or_assign("loop", Value(state));
    HEDDLE_TRY(assign(s.names, state->items()[i], inner));
    HEDDLE_ASSIGN(const Flow flow, execute(s.bodies[0], inner, out));
    if (flow == Flow::leave) break;
  }
  return Flow::on;
}

// ---- Expressions

Result<Value> Renderer::evaluate(const Expression& e, Scope& scope) {
  if (++depth_ > deepest_evaluation) return error("calls and expressions nested deeper than {} levels", deepest_evaluation);
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
      if (++depth_ > deepest_evaluation) return error("calls and expressions nested deeper than {} levels", deepest_evaluation);
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
    if (const auto* loop = dynamic_cast<const Loop*>(&value.object()); loop && target.text == "cycle") return loop->cycle(given);
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
