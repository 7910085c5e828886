#include <algorithm>
#include <utility>

#include "runtime/jinja/expression_parser.h"

namespace heddle::chat {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

constexpr std::string_view refused_tags[] = {"autoescape", "block", "do", "extends", "from", "import", "include", "trans"};

class Parser : ExpressionParser {
 public:
  explicit Parser(std::vector<Token> tokens) : ExpressionParser(std::move(tokens)) {}
  Result<Block> run() { return statements({}); }

 private:
  Result<void> end_of_tag() {
    if (now().kind != TokenKind::tag_end) return expected("'%}'");
    take();
    return {};
  }

  bool at_tag(std::span<const std::string_view> names) const {
    return now().kind == TokenKind::tag_begin && after().kind == TokenKind::name && std::ranges::find(names, after().text) != names.end();
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
      const bool otherwise = is_name("else"), again = is_name("elif");
      take();
      if (again) continue;
      if (otherwise) {
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

  int loops_ = 0;
};

}  // namespace

Result<Block> parse_template(std::string_view source) {
  HEDDLE_ASSIGN(auto tokens, tokens_of(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace heddle::chat
