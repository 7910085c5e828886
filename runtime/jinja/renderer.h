#pragma once
#include <ctime>
#include <deque>
#include <unordered_map>

#include "runtime/jinja/object.h"
#include "runtime/jinja/syntax.h"

/// An interpreter of Jinja as models' chat templates use it. It is ours because google/minja, tried first over the same goldens
/// (tests/runtime/chat: 70 templates by 15 conversations), renders 277 of 1050 otherwise than jinja2, where ours differs in 3; overflows
/// the stack where a macro calls itself; and leaks every macro. A template comes with a model: it must neither crash nor hang the program.
namespace heddle::chat {

/// Variables by name, and the scope around it.
struct Scope {
  Scope* parent = nullptr;
  std::unordered_map<std::string_view, Value> values;  // names are the syntax tree's, or the renderer's
  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->parent)
      if (const auto at = scope->values.find(name); at != scope->values.end()) return &at->second;
    return nullptr;
  }
};

/// Runs a template once. Work, sizes and depth are bounded, so that no template, whoever wrote it, can hang or exhaust the program: the
/// bound on work grows with the context's size.
class Renderer {
 public:
  Renderer(const Mapping& context, const std::tm& now);

  /// The block's text. Errors begin with the line: "line 3: 'x' is undefined".
  Result<std::string> run(const Block& block);

  const std::tm& now() const { return now_; }
  void define(std::string_view name, Value value) { globals_.values.insert_or_assign(name, std::move(value)); }  // `name` outlives this

  /// A new object, which lives as long as the renderer.
  template <class T, class... Arguments>
  T* own(Arguments&&... arguments) {
    objects_.push_back(std::make_unique<T>(std::forward<Arguments>(arguments)...));
    return static_cast<T*>(objects_.back().get());
  }
  Scope& new_scope(Scope* parent);

  /// Counts `work`: about as many steps, or bytes. "the template takes more than N steps".
  Result<void> charge(std::size_t work);
  /// The value, if it is not larger or deeper than a template may make one; what it took to make it is charged.
  Result<Value> made(Value value);

  Result<Value> call(const Value& callee, const Arguments& arguments);
  Result<Value> attribute(const Value& value, const std::string& name);
  Result<Value> item(const Value& value, const Value& index);
  /// What a loop runs over: items, keys, characters. "'NoneType' object is not iterable".
  Result<std::vector<Value>> items_of(const Value& value);
  Result<bool> contains(const Value& container, const Value& value);
  Result<bool> equals(const Value& left, const Value& right);

  enum class Flow { on, leave, next };
  Result<Flow> execute(const Block& block, Scope& scope, std::string& out);
  Result<Value> evaluate(const Expression& e, Scope& scope);

 private:
  Result<Flow> execute(const Statement& s, Scope& scope, std::string& out);
  Result<Flow> loop(const Statement& s, const Value& over, Scope& scope, std::string& out, int depth);
  Result<std::string> captured(const Block& block, Scope& scope);
  Result<void> assign(const std::vector<std::string>& names, Value value, Scope& scope);
  Result<void> write(std::string_view text, std::string& out);
  Result<Value> call_block(const Statement& s, Scope& scope);

  Result<Value> evaluate_bare(const Expression& e, Scope& scope);
  Result<Value> through_filters(const Expression* filters, Value value, Scope& scope);
  Result<Value> name(const Expression& e, Scope& scope);
  Result<Value> call(const Expression& e, Scope& scope);
  Result<Value> slice(const Expression& e, Scope& scope);
  Result<Value> unary(const Expression& e, Scope& scope);
  Result<Value> binary(const Expression& e, Scope& scope);
  Result<Value> comparison(const Expression& e, Scope& scope);
  Result<Value> list_of(const Expression& e, Scope& scope);
  Result<Value> dict_of(const Expression& e, Scope& scope);
  Result<Arguments> arguments(const CallArguments& written, Scope& scope);

  static constexpr int deepest = 400;  // evaluations in each other, on this program's stack

  std::tm now_;
  Scope globals_, top_;
  std::deque<Scope> scopes_;
  std::vector<std::unique_ptr<Object>> objects_;
  std::size_t work_ = 0, most_work_, most_weight_;
  int depth_ = 0;
  int fault_line_ = 0;  // of the innermost place that failed
};

/// `left op right` for + - * / // % ** ~. Integers that leave 64 bits are an error.
Result<Value> arithmetic(Renderer& renderer, std::string_view op, const Value& left, const Value& right);

}  // namespace heddle::chat
