#include "runtime/jinja/renderer.h"

#include <algorithm>

#include "runtime/jinja/builtins.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;

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

  std::optional<Result<Value>> call_method(std::string_view name, const Arguments& arguments) override {
    if (name != "cycle") return std::nullopt;
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

Result<void> Renderer::write(std::string_view text, std::string& out) {
  HEDDLE_TRY(charge(text.size()));
  out += text;
  if (out.size() > most_weight_) return error("a text of more than {} bytes", most_weight_);
  return {};
}

Result<Renderer::Flow> Renderer::execute(const Block& block, Scope& scope, std::string& out) {
  for (const Statement& s : block) {
    if (++depth_ > deepest) return error("calls and expressions nested deeper than {} levels", deepest);
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
      if (++depth_ > deepest) return error("calls and expressions nested deeper than {} levels", deepest);
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

}  // namespace heddle::chat
