#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/jinja/value.h"

/// The tree of a template: Jinja's grammar (template designer documentation of Jinja 3.1) as far as chat templates use it.
namespace heddle::chat {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr star, star_star;  // *x, **x; may be null
};

struct Expression {
  enum class Kind {
    constant,     // value
    name,         // text
    attribute,    // operands[0] . text
    item,         // operands[0] [ operands[1] ]
    slice,        // operands[0] [ operands[1] : operands[2] : operands[3] ], of which each may be null
    call,         // operands[0] ( arguments )
    filter,       // operands[0] | text ( arguments ); in a filter block the first filter has no operand
    test,         // operands[0] is text ( arguments )
    negation,     // not operands[0]
    unary,        // text ("-", "+") operands[0]
    binary,       // operands[0] text operands[1]: + - * / // % ** ~
    comparison,   // operands[0] texts[0] operands[1] texts[1] operands[2] ...: a < b < c
    conjunction,  // operands[0] and operands[1]
    disjunction,  // operands[0] or operands[1]
    conditional,  // operands[1] if operands[0] else operands[2], which may be null
    list,
    tuple,
    dict  // operands: key, value, key, value ...
  };
  Kind kind;
  int line;
  int height = 1;  // of the tree below
  std::string text;
  Value value;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> texts;
  CallArguments arguments;
};

struct Statement;
using Block = std::vector<Statement>;

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // may be null
};

struct Statement {
  enum class Kind {
    text,          // text
    output,        // expressions[0]
    branches,      // if expressions[i] then bodies[i]; one more body is the else
    loop,          // for names in expressions[0] if expressions[1], which may be null: bodies[0]; else bodies[1]
    assign,        // names = expressions[0]; with text: text.names[0]
    assign_block,  // names[0] = bodies[0], through the filters of expressions[0], which may be null
    macro,         // text(parameters): bodies[0]
    call_block,    // expressions[0], a call, with the macro of parameters and bodies[0] as `caller`
    filter_block,  // bodies[0] through the filters of expressions[0]
    with,          // names[i] = expressions[i] in bodies[0]
    leave,         // break
    next,          // continue
    body           // bodies[0]
  };
  Kind kind;
  int line;
  std::string text;
  std::vector<std::string> names;
  std::vector<ExpressionPtr> expressions;
  std::vector<Parameter> parameters;
  std::vector<Block> bodies;
  bool recursive = false;
};

/// "line 3: unknown tag 'foo'", "line 3: tag 'include' is not supported", "line 3: expected 'endif', found the end".
Result<Block> parse_template(std::string_view source);

}  // namespace heddle::chat
