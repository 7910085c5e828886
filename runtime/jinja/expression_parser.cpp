#include "runtime/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "runtime/jinja/builtins.h"

namespace heddle::chat {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

// Bounds for the recursion of the parser, and of whoever walks the tree.
constexpr int deepest_nesting = 100;
constexpr int highest_tree = 300;

ExpressionPtr make(Kind kind, int line, std::string text = "") {
  auto e = std::make_unique<Expression>();
  e->kind = kind;
  e->line = line;
  e->text = std::move(text);
  return e;
}

/// The expression with its height.
Result<ExpressionPtr> measured(ExpressionPtr e) {
  const auto add = [&](const ExpressionPtr& part) {
    if (part) e->height = std::max(e->height, part->height + 1);
  };
  for (const auto& part : e->operands) add(part);
  for (const auto& part : e->arguments.positional) add(part);
  for (const auto& [name, part] : e->arguments.named) add(part);
  add(e->arguments.star);
  add(e->arguments.star_star);
  if (e->height > highest_tree) return error("line {}: an expression of more than {} steps", e->line, highest_tree);
  return e;
}

}  // namespace

std::string ExpressionParser::found() const {
  switch (now().kind) {
    case TokenKind::end:
      return "the end of the template";
    case TokenKind::text:
      return "text";
    case TokenKind::output_begin:
    case TokenKind::tag_begin:
    case TokenKind::tag_end:
      return "the end of the tag";
    case TokenKind::output_end:
      return "'}}'";
    case TokenKind::string:
      return "a string";
    default:
      return fmt::format("'{}'", now().text);
  }
}

Error ExpressionParser::expected(std::string_view what) const { return error("line {}: expected {}, found {}", now().line, what, found()); }

Result<void> ExpressionParser::want_symbol(std::string_view text) {
  if (!take_symbol(text)) return expected(fmt::format("'{}'", text));
  return {};
}

Result<std::string> ExpressionParser::want_name(std::string_view what) {
  static constexpr std::string_view reserved[] = {"and",  "or",   "not",   "in",   "is",   "if",    "else",
                                                  "elif", "true", "false", "none", "True", "False", "None"};
  if (now().kind != TokenKind::name || std::ranges::find(reserved, now().text) != std::end(reserved)) return expected(what);
  return take().text;
}

Result<void> ExpressionParser::check_depth() const {
  if (depth_ > deepest_nesting) return error("line {}: nested deeper than {} levels", now().line, deepest_nesting);
  return {};
}

/// An expression over these; null operands are left out of the height.
template <class... Operands>
Result<ExpressionPtr> ExpressionParser::over(Kind kind, int line, std::string text, Operands... operands) {
  ExpressionPtr e = make(kind, line, std::move(text));
  (e->operands.push_back(std::move(operands)), ...);
  return measured(std::move(e));
}

/// `a, b`; a comma makes a tuple. Without `conditional` an `if` ends it.
Result<ExpressionPtr> ExpressionParser::tuple(bool conditional) {
  const int line = now().line;
  HEDDLE_ASSIGN(ExpressionPtr first, conditional ? expression() : disjunction());
  if (!is_symbol(",")) return first;
  ExpressionPtr e = make(Kind::tuple, line);
  e->operands.push_back(std::move(first));
  while (take_symbol(",")) {
    if (now().kind == TokenKind::tag_end || now().kind == TokenKind::output_end || is_symbol(")")) break;
    HEDDLE_ASSIGN(ExpressionPtr next, conditional ? expression() : disjunction());
    e->operands.push_back(std::move(next));
  }
  return measured(std::move(e));
}

Result<ExpressionPtr> ExpressionParser::expression() {
  const Level level(depth_);
  HEDDLE_TRY(check_depth());
  HEDDLE_ASSIGN(ExpressionPtr value, disjunction());
  while (is_name("if")) {
    const int line = take().line;
    HEDDLE_ASSIGN(ExpressionPtr condition, disjunction());
    ExpressionPtr other;
    if (take_name("else")) {
      HEDDLE_ASSIGN(other, expression());
    }
    HEDDLE_ASSIGN(value, over(Kind::conditional, line, "", std::move(condition), std::move(value), std::move(other)));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::disjunction() {
  HEDDLE_ASSIGN(ExpressionPtr left, conjunction());
  while (is_name("or")) {
    const int line = take().line;
    HEDDLE_ASSIGN(ExpressionPtr right, conjunction());
    HEDDLE_ASSIGN(left, over(Kind::disjunction, line, "", std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::conjunction() {
  HEDDLE_ASSIGN(ExpressionPtr left, negation());
  while (is_name("and")) {
    const int line = take().line;
    HEDDLE_ASSIGN(ExpressionPtr right, negation());
    HEDDLE_ASSIGN(left, over(Kind::conjunction, line, "", std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::negation() {
  if (!is_name("not")) return comparison();
  const Level level(depth_);
  HEDDLE_TRY(check_depth());
  const int line = take().line;
  HEDDLE_ASSIGN(ExpressionPtr value, negation());
  return over(Kind::negation, line, "", std::move(value));
}

Result<ExpressionPtr> ExpressionParser::comparison() {
  HEDDLE_ASSIGN(ExpressionPtr first, sum());
  ExpressionPtr e;
  for (;;) {
    static constexpr std::string_view symbols[] = {"==", "!=", "<", ">", "<=", ">="};
    std::string symbol;
    const int line = now().line;
    if (now().kind == TokenKind::symbol && std::ranges::find(symbols, now().text) != std::end(symbols)) symbol = take().text;
    else if (take_name("in")) symbol = "in";
    else if (is_name("not") && after().kind == TokenKind::name && after().text == "in") take(), take(), symbol = "not in";
    else break;
    if (!e) {
      e = make(Kind::comparison, line);
      e->operands.push_back(std::move(first));
    }
    e->texts.push_back(std::move(symbol));
    HEDDLE_ASSIGN(ExpressionPtr next, sum());
    e->operands.push_back(std::move(next));
  }
  if (!e) return first;
  return measured(std::move(e));
}

/// Operands that `next` reads, joined from the left by these symbols.
template <class Next>
Result<ExpressionPtr> ExpressionParser::chain(std::initializer_list<std::string_view> symbols, Next next) {
  HEDDLE_ASSIGN(ExpressionPtr left, next());
  while (now().kind == TokenKind::symbol && std::ranges::find(symbols, now().text) != symbols.end()) {
    const Token symbol = take();
    HEDDLE_ASSIGN(ExpressionPtr right, next());
    HEDDLE_ASSIGN(left, over(Kind::binary, symbol.line, symbol.text, std::move(left), std::move(right)));
  }
  return left;
}
Result<ExpressionPtr> ExpressionParser::sum() {
  return chain({"+", "-"}, [&] { return concatenation(); });
}
Result<ExpressionPtr> ExpressionParser::concatenation() {
  return chain({"~"}, [&] { return product(); });
}
Result<ExpressionPtr> ExpressionParser::product() {
  return chain({"*", "/", "//", "%"}, [&] { return power(); });
}
Result<ExpressionPtr> ExpressionParser::power() {
  return chain({"**"}, [&] { return signed_value(true); });
}

Result<ExpressionPtr> ExpressionParser::signed_value(bool with_filters) {
  ExpressionPtr value;
  if (is_symbol("-") || is_symbol("+")) {
    const Level level(depth_);
    HEDDLE_TRY(check_depth());
    const Token sign = take();
    HEDDLE_ASSIGN(value, signed_value(false));
    HEDDLE_ASSIGN(value, over(Kind::unary, sign.line, sign.text, std::move(value)));
  } else {
    HEDDLE_ASSIGN(value, primary());
  }
  HEDDLE_ASSIGN(value, postfix(std::move(value)));
  if (!with_filters) return value;
  for (;;) {
    if (take_symbol("|")) {
      HEDDLE_ASSIGN(value, filter_chain(std::move(value), false));
    } else if (is_name("is")) {
      HEDDLE_ASSIGN(value, test(std::move(value)));
    } else if (is_symbol("(")) {
      HEDDLE_ASSIGN(value, call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::primary() {
  const Token token = now();
  switch (token.kind) {
    case TokenKind::name: {
      take();
      ExpressionPtr e = make(Kind::constant, token.line);
      if (token.text == "true" || token.text == "True") e->value = true;
      else if (token.text == "false" || token.text == "False") e->value = false;
      else if (token.text == "none" || token.text == "None") e->value = Value::none();
      else e = make(Kind::name, token.line, token.text);
      return e;
    }
    case TokenKind::string: {
      std::string text;
      while (now().kind == TokenKind::string) text += take().text;  // neighbours are one string
      ExpressionPtr e = make(Kind::constant, token.line);
      e->value = std::move(text);
      return e;
    }
    case TokenKind::integer: {
      take();
      ExpressionPtr e = make(Kind::constant, token.line);
      std::int64_t value = 0;
      if (std::from_chars(token.text.data(), token.text.data() + token.text.size(), value).ec != std::errc())
        return error("line {}: {} does not fit 64 bits", token.line, token.text);
      e->value = value;
      return e;
    }
    case TokenKind::real: {
      take();
      ExpressionPtr e = make(Kind::constant, token.line);
      e->value = std::strtod(token.text.c_str(), nullptr);
      return e;
    }
    case TokenKind::symbol:
      if (token.text == "(" || token.text == "[" || token.text == "{") {
        const Level level(depth_);
        HEDDLE_TRY(check_depth());
        take();
        return token.text == "(" ? bracketed() : token.text == "[" ? list(token.line) : dict(token.line);
      }
      break;
    default:
      break;
  }
  return expected("a value");
}

Result<ExpressionPtr> ExpressionParser::bracketed() {
  if (take_symbol(")")) return make(Kind::tuple, now().line);
  HEDDLE_ASSIGN(ExpressionPtr value, tuple(true));
  HEDDLE_TRY(want_symbol(")"));
  return value;
}

Result<ExpressionPtr> ExpressionParser::list(int line) {
  ExpressionPtr e = make(Kind::list, line);
  while (!take_symbol("]")) {
    HEDDLE_ASSIGN(ExpressionPtr item, expression());
    e->operands.push_back(std::move(item));
    if (!is_symbol("]")) HEDDLE_TRY(want_symbol(","));
  }
  return measured(std::move(e));
}

Result<ExpressionPtr> ExpressionParser::dict(int line) {
  ExpressionPtr e = make(Kind::dict, line);
  while (!take_symbol("}")) {
    HEDDLE_ASSIGN(ExpressionPtr key, expression());
    HEDDLE_TRY(want_symbol(":"));
    HEDDLE_ASSIGN(ExpressionPtr value, expression());
    e->operands.push_back(std::move(key));
    e->operands.push_back(std::move(value));
    if (!is_symbol("}")) HEDDLE_TRY(want_symbol(","));
  }
  return measured(std::move(e));
}

Result<ExpressionPtr> ExpressionParser::postfix(ExpressionPtr value) {
  for (;;) {
    const int line = now().line;
    if (take_symbol(".")) {
      if (now().kind == TokenKind::integer) {
        HEDDLE_ASSIGN(ExpressionPtr index, primary());
        HEDDLE_ASSIGN(value, over(Kind::item, line, "", std::move(value), std::move(index)));
        continue;
      }
      if (now().kind != TokenKind::name) return expected("an attribute");
      HEDDLE_ASSIGN(value, over(Kind::attribute, line, take().text, std::move(value)));
    } else if (take_symbol("[")) {
      HEDDLE_ASSIGN(value, subscript(std::move(value), line));
    } else if (is_symbol("(")) {
      HEDDLE_ASSIGN(value, call(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::subscript(ExpressionPtr value, int line) {
  ExpressionPtr parts[3];
  int colons = 0;
  while (!is_symbol("]")) {
    if (take_symbol(":")) {
      if (++colons > 2) return expected("']'");
      continue;
    }
    if (parts[colons]) return expected("']'");
    HEDDLE_ASSIGN(parts[colons], expression());
  }
  if (colons == 0 && !parts[0]) return expected("an index");
  take();
  if (colons == 0) return over(Kind::item, line, "", std::move(value), std::move(parts[0]));
  return over(Kind::slice, line, "", std::move(value), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
}

Result<CallArguments> ExpressionParser::arguments() {
  CallArguments out;
  HEDDLE_TRY(want_symbol("("));
  while (!take_symbol(")")) {
    if (take_symbol("**")) {
      HEDDLE_ASSIGN(out.star_star, expression());
    } else if (take_symbol("*")) {
      HEDDLE_ASSIGN(out.star, expression());
    } else if (now().kind == TokenKind::name && after().kind == TokenKind::symbol && after().text == "=") {
      std::string name = take().text;
      take();
      HEDDLE_ASSIGN(ExpressionPtr value, expression());
      out.named.emplace_back(std::move(name), std::move(value));
    } else {
      if (!out.named.empty() || out.star_star) return expected("a named argument");
      HEDDLE_ASSIGN(ExpressionPtr value, expression());
      out.positional.push_back(std::move(value));
    }
    if (!is_symbol(")")) HEDDLE_TRY(want_symbol(","));
  }
  return out;
}

Result<ExpressionPtr> ExpressionParser::call(ExpressionPtr callee) {
  ExpressionPtr e = make(Kind::call, now().line);
  HEDDLE_ASSIGN(e->arguments, arguments());
  e->operands.push_back(std::move(callee));
  return measured(std::move(e));
}

/// One filter behind "|"; with `all` also those behind it, as in a filter block.
Result<ExpressionPtr> ExpressionParser::filter_chain(ExpressionPtr value, bool all) {
  do {
    ExpressionPtr e = make(Kind::filter, now().line);
    HEDDLE_ASSIGN(e->text, want_name("a filter"));
    if (!filter_named(e->text) && branches_ == 0) return error("line {}: unknown filter '{}'", e->line, e->text);
    if (is_symbol("(")) {
      HEDDLE_ASSIGN(e->arguments, arguments());
    }
    e->operands.push_back(std::move(value));
    HEDDLE_ASSIGN(value, measured(std::move(e)));
  } while (all && take_symbol("|"));
  return value;
}

Result<ExpressionPtr> ExpressionParser::test(ExpressionPtr value) {
  take();
  const bool negated = take_name("not");
  ExpressionPtr e = make(Kind::test, now().line);
  if (now().kind != TokenKind::name) return expected("a test");
  e->text = take().text;
  const int line = e->line;
  if (!test_named(e->text) && branches_ == 0) return error("line {}: unknown test '{}'", line, e->text);
  if (is_symbol("(")) {
    HEDDLE_ASSIGN(e->arguments, arguments());
  } else if (starts_argument()) {
    HEDDLE_ASSIGN(ExpressionPtr argument, primary());
    HEDDLE_ASSIGN(argument, postfix(std::move(argument)));
    e->arguments.positional.push_back(std::move(argument));
  }
  e->operands.push_back(std::move(value));
  HEDDLE_ASSIGN(value, measured(std::move(e)));
  if (negated) return over(Kind::negation, line, "", std::move(value));
  return value;
}

/// `x is divisibleby 3`: what may stand behind a test as its argument.
bool ExpressionParser::starts_argument() const {
  static constexpr std::string_view words[] = {"else", "or", "and", "is", "if", "in", "not", "recursive"};
  switch (now().kind) {
    case TokenKind::name:
      return std::ranges::find(words, now().text) == std::end(words);
    case TokenKind::string:
    case TokenKind::integer:
    case TokenKind::real:
      return true;
    default:
      return is_symbol("[") || is_symbol("{");
  }
}

}  // namespace heddle::chat
