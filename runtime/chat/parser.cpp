#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <span>

#include "runtime/chat/builtins.h"
#include "runtime/chat/lexer.h"
#include "runtime/chat/syntax.h"

namespace heddle::chat {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

// Bounds for the recursion of the parser, and of whoever walks the tree.
constexpr int deepest_nesting = 100;
constexpr int highest_tree = 300;

constexpr std::string_view refused_tags[] = {"autoescape", "block", "do", "extends", "from", "import", "include", "trans"};

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Block> run() {
    HEDDLE_ASSIGN(Block block, statements({}));
    return block;
  }

 private:
  const Token& now() const { return tokens_[at_]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_symbol(std::string_view text) const { return now().kind == TokenKind::symbol && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == TokenKind::name && now().text == text; }
  bool take_symbol(std::string_view text) { return is_symbol(text) && (take(), true); }
  bool take_name(std::string_view text) { return is_name(text) && (take(), true); }

  std::string found() const {
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
  Error expected(std::string_view what) const { return error("line {}: expected {}, found {}", now().line, what, found()); }
  Result<void> want_symbol(std::string_view text) {
    if (!take_symbol(text)) return expected(fmt::format("'{}'", text));
    return {};
  }
  Result<std::string> want_name(std::string_view what) {
    static constexpr std::string_view reserved[] = {"and",  "or",   "not",   "in",   "is",   "if",    "else",
                                                    "elif", "true", "false", "none", "True", "False", "None"};
    if (now().kind != TokenKind::name || std::ranges::find(reserved, now().text) != std::end(reserved)) return expected(what);
    return take().text;
  }
  Result<void> end_of_tag() {
    if (now().kind != TokenKind::tag_end) return expected("'%}'");
    take();
    return {};
  }

  /// One level of nesting for as long as it lives.
  struct Level {
    explicit Level(int& depth) : depth(depth) { ++depth; }
    ~Level() { --depth; }
    int& depth;
  };
  Result<void> check_depth() const {
    if (depth_ > deepest_nesting) return error("line {}: nested deeper than {} levels", now().line, deepest_nesting);
    return {};
  }

  // ---- Statements

  bool at_tag(std::span<const std::string_view> names) const {
    return now().kind == TokenKind::tag_begin && tokens_[at_ + 1].kind == TokenKind::name &&
           std::ranges::find(names, tokens_[at_ + 1].text) != names.end();
  }

  /// Up to one of these tags, whose begin is taken and whose name is not, or up to the end if there are none.
  Result<Block> statements(std::initializer_list<std::string_view> ends) {
    const Level level(depth_);
    HEDDLE_TRY(check_depth());
    Block block;
    const int start = now().line;
    for (;;) {
      switch (now().kind) {
        case TokenKind::text: {
          Token text = take();
          block.push_back({.kind = Statement::Kind::text,
                           .line = text.line,
                           .text = std::move(text.text),
                           .names = {},
                           .expressions = {},
                           .parameters = {},
                           .bodies = {}});
          break;
        }
        case TokenKind::output_begin: {
          const int line = take().line;
          HEDDLE_ASSIGN(ExpressionPtr value, tuple(true));
          if (now().kind != TokenKind::output_end) return expected("'}}'");
          take();
          block.push_back(statement(Statement::Kind::output, line));
          block.back().expressions.push_back(std::move(value));
          break;
        }
        case TokenKind::tag_begin: {
          const bool ended = at_tag(std::span(ends.begin(), ends.size()));
          take();
          if (ended) return block;
          HEDDLE_ASSIGN(Statement one, tag());
          block.push_back(std::move(one));
          break;
        }
        default:
          if (ends.size() > 0)
            return error("line {}: expected '{}' for the tag of line {}, found {}", now().line, *(ends.end() - 1), start, found());
          return block;
      }
    }
  }

  static Statement statement(Statement::Kind kind, int line) {
    Statement s;
    s.kind = kind;
    s.line = line;
    return s;
  }

  /// The body up to `end`, which is taken whole.
  Result<void> body_to(std::string_view end, Statement& s) {
    HEDDLE_TRY(end_of_tag());
    HEDDLE_ASSIGN(Block block, statements({end}));
    s.bodies.push_back(std::move(block));
    take();
    return end_of_tag();
  }

  Result<Statement> tag() {
    const int line = now().line;
    if (now().kind != TokenKind::name) return expected("a tag");
    const std::string name = take().text;
    if (name == "if") return branches(line);
    if (name == "for") return loop(line);
    if (name == "set") return assignment(line);
    if (name == "macro") return macro(line);
    if (name == "call") return call_block(line);
    if (name == "filter") {
      Statement s = statement(Statement::Kind::filter_block, line);
      HEDDLE_ASSIGN(ExpressionPtr filters, filter_chain(nullptr, true));
      s.expressions.push_back(std::move(filters));
      HEDDLE_TRY(body_to("endfilter", s));
      return s;
    }
    if (name == "with") return with(line);
    if (name == "generation") {  // marks answers for training
      Statement s = statement(Statement::Kind::body, line);
      HEDDLE_TRY(body_to("endgeneration", s));
      return s;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) return error("line {}: '{}' outside of a loop", line, name);
      HEDDLE_TRY(end_of_tag());
      return statement(name == "break" ? Statement::Kind::leave : Statement::Kind::next, line);
    }
    if (std::ranges::find(refused_tags, name) != std::end(refused_tags)) return error("line {}: tag '{}' is not supported", line, name);
    return error("line {}: unknown tag '{}'", line, name);
  }

  /// In a branch an unknown filter or test is an error only when the branch is taken, as in Jinja: a template may offer a way for each
  /// engine.
  Result<Statement> branches(int line) {
    Statement s = statement(Statement::Kind::branches, line);
    const Level branch(branches_);
    for (;;) {
      HEDDLE_ASSIGN(ExpressionPtr condition, tuple(false));
      s.expressions.push_back(std::move(condition));
      HEDDLE_TRY(end_of_tag());
      HEDDLE_ASSIGN(Block block, statements({"elif", "else", "endif"}));
      s.bodies.push_back(std::move(block));
      const std::string next = take().text;
      if (next == "elif") continue;
      if (next == "else") {
        HEDDLE_TRY(body_to("endif", s));
        return s;
      }
      HEDDLE_TRY(end_of_tag());
      return s;
    }
  }

  Result<std::vector<std::string>> targets(std::string_view what) {
    std::vector<std::string> names;
    const bool bracketed = take_symbol("(");
    do {
      HEDDLE_ASSIGN(std::string name, want_name(what));
      names.push_back(std::move(name));
    } while (take_symbol(","));
    if (bracketed) HEDDLE_TRY(want_symbol(")"));
    return names;
  }

  Result<Statement> loop(int line) {
    Statement s = statement(Statement::Kind::loop, line);
    HEDDLE_ASSIGN(s.names, targets("a loop variable"));
    if (!take_name("in")) return expected("'in'");
    HEDDLE_ASSIGN(ExpressionPtr items, tuple(false));
    s.expressions.push_back(std::move(items));
    s.expressions.emplace_back();
    if (take_name("if")) {
      HEDDLE_ASSIGN(s.expressions[1], expression());
    }
    s.recursive = take_name("recursive");
    HEDDLE_TRY(end_of_tag());
    ++loops_;
    auto body = statements({"else", "endfor"});
    --loops_;
    HEDDLE_ASSIGN(Block block, std::move(body));
    s.bodies.push_back(std::move(block));
    if (take().text == "else") {
      HEDDLE_TRY(body_to("endfor", s));
    } else {
      s.bodies.emplace_back();
      HEDDLE_TRY(end_of_tag());
    }
    return s;
  }

  Result<Statement> assignment(int line) {
    Statement s = statement(Statement::Kind::assign, line);
    HEDDLE_ASSIGN(s.names, targets("a variable"));
    if (s.names.size() == 1 && take_symbol(".")) {
      s.text = std::move(s.names[0]);
      HEDDLE_ASSIGN(s.names[0], want_name("an attribute"));
    }
    if (take_symbol("=")) {
      HEDDLE_ASSIGN(ExpressionPtr value, tuple(true));
      s.expressions.push_back(std::move(value));
      HEDDLE_TRY(end_of_tag());
      return s;
    }
    if (s.names.size() > 1 || !s.text.empty()) return expected("'='");
    s.kind = Statement::Kind::assign_block;
    ExpressionPtr filters;
    if (take_symbol("|")) {
      HEDDLE_ASSIGN(filters, filter_chain(nullptr, true));
    }
    s.expressions.push_back(std::move(filters));
    HEDDLE_TRY(body_to("endset", s));
    return s;
  }

  Result<void> parameters(Statement& s) {
    HEDDLE_TRY(want_symbol("("));
    while (!take_symbol(")")) {
      Parameter parameter;
      HEDDLE_ASSIGN(parameter.name, want_name("a parameter"));
      if (take_symbol("=")) {
        HEDDLE_ASSIGN(parameter.fallback, expression());
      } else if (!s.parameters.empty() && s.parameters.back().fallback) {
        return error("line {}: parameter '{}' without a default follows one with a default", now().line, parameter.name);
      }
      s.parameters.push_back(std::move(parameter));
      if (!is_symbol(")")) HEDDLE_TRY(want_symbol(","));
    }
    return {};
  }

  /// The body of a macro: a loop around it is no loop inside it.
  Result<void> macro_body(std::string_view end, Statement& s) {
    const int loops = std::exchange(loops_, 0);
    auto done = body_to(end, s);
    loops_ = loops;
    return done;
  }

  Result<Statement> macro(int line) {
    Statement s = statement(Statement::Kind::macro, line);
    HEDDLE_ASSIGN(s.text, want_name("the macro's name"));
    HEDDLE_TRY(parameters(s));
    HEDDLE_TRY(macro_body("endmacro", s));
    return s;
  }

  Result<Statement> call_block(int line) {
    Statement s = statement(Statement::Kind::call_block, line);
    if (is_symbol("(")) HEDDLE_TRY(parameters(s));
    HEDDLE_ASSIGN(ExpressionPtr call, expression());
    if (call->kind != Kind::call) return error("line {}: expected a call", line);
    s.expressions.push_back(std::move(call));
    HEDDLE_TRY(macro_body("endcall", s));
    return s;
  }

  Result<Statement> with(int line) {
    Statement s = statement(Statement::Kind::with, line);
    while (now().kind != TokenKind::tag_end) {
      HEDDLE_ASSIGN(std::string name, want_name("a variable"));
      HEDDLE_TRY(want_symbol("="));
      HEDDLE_ASSIGN(ExpressionPtr value, expression());
      s.names.push_back(std::move(name));
      s.expressions.push_back(std::move(value));
      if (now().kind != TokenKind::tag_end) HEDDLE_TRY(want_symbol(","));
    }
    HEDDLE_TRY(body_to("endwith", s));
    return s;
  }

  // ---- Expressions, from the loosest binding to the tightest

  static ExpressionPtr make(Kind kind, int line, std::string text = "") {
    auto e = std::make_unique<Expression>();
    e->kind = kind;
    e->line = line;
    e->text = std::move(text);
    return e;
  }
  /// An expression over these; null operands are left out of the height.
  template <class... Operands>
  Result<ExpressionPtr> over(Kind kind, int line, std::string text, Operands... operands) {
    ExpressionPtr e = make(kind, line, std::move(text));
    (e->operands.push_back(std::move(operands)), ...);
    return measured(std::move(e));
  }
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

  /// `a, b`; a comma makes a tuple. Without `conditional` an `if` ends it.
  Result<ExpressionPtr> tuple(bool conditional) {
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

  Result<ExpressionPtr> expression() {
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

  Result<ExpressionPtr> disjunction() {
    HEDDLE_ASSIGN(ExpressionPtr left, conjunction());
    while (is_name("or")) {
      const int line = take().line;
      HEDDLE_ASSIGN(ExpressionPtr right, conjunction());
      HEDDLE_ASSIGN(left, over(Kind::disjunction, line, "", std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExpressionPtr> conjunction() {
    HEDDLE_ASSIGN(ExpressionPtr left, negation());
    while (is_name("and")) {
      const int line = take().line;
      HEDDLE_ASSIGN(ExpressionPtr right, negation());
      HEDDLE_ASSIGN(left, over(Kind::conjunction, line, "", std::move(left), std::move(right)));
    }
    return left;
  }

  Result<ExpressionPtr> negation() {
    if (!is_name("not")) return comparison();
    const Level level(depth_);
    HEDDLE_TRY(check_depth());
    const int line = take().line;
    HEDDLE_ASSIGN(ExpressionPtr value, negation());
    return over(Kind::negation, line, "", std::move(value));
  }

  Result<ExpressionPtr> comparison() {
    HEDDLE_ASSIGN(ExpressionPtr first, sum());
    ExpressionPtr e;
    for (;;) {
      static constexpr std::string_view symbols[] = {"==", "!=", "<", ">", "<=", ">="};
      std::string symbol;
      const int line = now().line;
      if (now().kind == TokenKind::symbol && std::ranges::find(symbols, now().text) != std::end(symbols)) symbol = take().text;
      else if (take_name("in")) symbol = "in";
      else if (is_name("not") && tokens_[at_ + 1].kind == TokenKind::name && tokens_[at_ + 1].text == "in")
        take(), take(), symbol = "not in";
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
  Result<ExpressionPtr> chain(std::initializer_list<std::string_view> symbols, Next next) {
    HEDDLE_ASSIGN(ExpressionPtr left, next());
    while (now().kind == TokenKind::symbol && std::ranges::find(symbols, now().text) != symbols.end()) {
      const Token symbol = take();
      HEDDLE_ASSIGN(ExpressionPtr right, next());
      HEDDLE_ASSIGN(left, over(Kind::binary, symbol.line, symbol.text, std::move(left), std::move(right)));
    }
    return left;
  }
  Result<ExpressionPtr> sum() {
    return chain({"+", "-"}, [&] { return concatenation(); });
  }
  Result<ExpressionPtr> concatenation() {
    return chain({"~"}, [&] { return product(); });
  }
  Result<ExpressionPtr> product() {
    return chain({"*", "/", "//", "%"}, [&] { return power(); });
  }
  Result<ExpressionPtr> power() {
    return chain({"**"}, [&] { return signed_value(true); });
  }

  Result<ExpressionPtr> signed_value(bool with_filters) {
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

  Result<ExpressionPtr> primary() {
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

  Result<ExpressionPtr> bracketed() {
    if (take_symbol(")")) return make(Kind::tuple, now().line);
    HEDDLE_ASSIGN(ExpressionPtr value, tuple(true));
    HEDDLE_TRY(want_symbol(")"));
    return value;
  }

  Result<ExpressionPtr> list(int line) {
    ExpressionPtr e = make(Kind::list, line);
    while (!take_symbol("]")) {
      HEDDLE_ASSIGN(ExpressionPtr item, expression());
      e->operands.push_back(std::move(item));
      if (!is_symbol("]")) HEDDLE_TRY(want_symbol(","));
    }
    return measured(std::move(e));
  }

  Result<ExpressionPtr> dict(int line) {
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

  Result<ExpressionPtr> postfix(ExpressionPtr value) {
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

  Result<ExpressionPtr> subscript(ExpressionPtr value, int line) {
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

  Result<CallArguments> arguments() {
    CallArguments out;
    HEDDLE_TRY(want_symbol("("));
    while (!take_symbol(")")) {
      if (take_symbol("**")) {
        HEDDLE_ASSIGN(out.star_star, expression());
      } else if (take_symbol("*")) {
        HEDDLE_ASSIGN(out.star, expression());
      } else if (now().kind == TokenKind::name && tokens_[at_ + 1].kind == TokenKind::symbol && tokens_[at_ + 1].text == "=") {
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

  Result<ExpressionPtr> call(ExpressionPtr callee) {
    ExpressionPtr e = make(Kind::call, now().line);
    HEDDLE_ASSIGN(e->arguments, arguments());
    e->operands.push_back(std::move(callee));
    return measured(std::move(e));
  }

  /// One filter behind "|"; with `all` also those behind it, as in a filter block.
  Result<ExpressionPtr> filter_chain(ExpressionPtr value, bool all) {
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

  Result<ExpressionPtr> test(ExpressionPtr value) {
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
  bool starts_argument() const {
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

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0, branches_ = 0;
};

}  // namespace

Result<Block> parse_template(std::string_view source) {
  HEDDLE_ASSIGN(auto tokens, tokens_of(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace heddle::chat
