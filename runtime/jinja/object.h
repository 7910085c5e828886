#pragma once
#include <functional>
#include <map>
#include <optional>

#include "runtime/jinja/value.h"

namespace heddle::chat {

class Renderer;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The arguments by the parameters' names; those that were not given are empty. "trim() got an unexpected keyword argument 'x'", "trim()
  /// takes at most 1 arguments, 2 were given".
  Result<std::vector<std::optional<Value>>> bind(std::string_view function, std::initializer_list<const char*> parameters) const;
};

/// What is more than data: functions, macros, namespaces, `loop`. The renderer owns them until it is done, so that they may hold each
/// other.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type() const = 0;
  virtual std::optional<Value> attribute(std::string_view) const { return std::nullopt; }
  virtual std::optional<Result<Value>> call_method(std::string_view, const Arguments&) { return std::nullopt; }
  virtual bool callable() const { return false; }
  virtual Result<Value> call(Renderer&, const Arguments&) { return error("'{}' object is not callable", type()); }
};

class Function final : public Object {
 public:
  using Body = std::function<Result<Value>(Renderer&, const Arguments&)>;
  explicit Function(Body body) : body_(std::move(body)) {}
  std::string_view type() const override { return "function"; }
  bool callable() const override { return true; }
  Result<Value> call(Renderer& renderer, const Arguments& arguments) override { return body_(renderer, arguments); }

 private:
  Body body_;
};

/// `namespace(x=1)`: the one thing that a template can change, by `{% set ns.x = 2 %}`.
class Namespace final : public Object {
 public:
  std::map<std::string, Value, std::less<>> values;
  std::string_view type() const override { return "Namespace"; }
  std::optional<Value> attribute(std::string_view name) const override {
    const auto at = values.find(name);
    return at == values.end() ? std::nullopt : std::optional(at->second);
  }
};

}  // namespace heddle::chat
