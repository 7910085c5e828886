#pragma once
#include <span>
#include <string>
#include <vector>

#include "runtime/jinja/lexer.h"
#include "runtime/jinja/syntax.h"

namespace heddle::chat {

/// A place among a template's tokens, and Jinja's expressions from there on. The functions stand in the order in which they bind, the
/// loosest first; each takes its tokens and stops at the first that it cannot use.
class ExpressionParser {
 protected:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_symbol(std::string_view text) const { return now().kind == Token::Kind::symbol && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == Token::Kind::name && now().text == text; }
  bool take_symbol(std::string_view text) { return is_symbol(text) && (take(), true); }
  bool take_name(std::string_view text) { return is_name(text) && (take(), true); }
  Result<void> want_symbol(std::string_view text);
  Result<std::string> want_name(std::string_view what);
  std::string found() const;  // what stands here, for messages
  Error expected(std::string_view what) const;

  /// One level of nesting for as long as it lives.
  struct Level {
    explicit Level(int& depth) : depth(depth) { ++depth; }
    ~Level() { --depth; }
    int& depth;
  };
  Result<void> check_depth() const;

  Result<ExpressionPtr> tuple(bool conditional);  // `a, b`; a comma makes a tuple. Without `conditional` an `if` ends it
  Result<ExpressionPtr> expression();
  Result<CallArguments> arguments();
  /// One filter behind "|", over `value`; with `all` also those behind it, as in a filter block.
  Result<ExpressionPtr> filter_chain(ExpressionPtr value, bool all);

  int depth_ = 0, branches_ = 0;  // levels of nesting, of them the bodies of `if`

 private:
  template <class... Operands>
  Result<ExpressionPtr> over(Expression::Kind kind, int line, std::string text, Operands... operands);
  template <class Next>
  Result<ExpressionPtr> chain(std::initializer_list<std::string_view> symbols, Next next);
  Result<ExpressionPtr> disjunction();
  Result<ExpressionPtr> conjunction();
  Result<ExpressionPtr> negation();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concatenation();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();
  Result<ExpressionPtr> signed_value(bool with_filters);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> bracketed();
  Result<ExpressionPtr> list(int line);
  Result<ExpressionPtr> dict(int line);
  Result<ExpressionPtr> postfix(ExpressionPtr value);
  Result<ExpressionPtr> subscript(ExpressionPtr value, int line);
  Result<ExpressionPtr> call(ExpressionPtr callee);
  Result<ExpressionPtr> test(ExpressionPtr value);
  bool starts_argument() const;

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace heddle::chat
