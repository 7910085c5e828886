// passes/fold_constants.cpp: compute what is known, and rewrite by local rules, until nothing changes.
//   before  %a = constant {value=2}  %b = constant {value=3}  %c = mul %a, %b  %y = mul %x, %c     %z = mul %y, %one
//   after   %c = constant {value=6}  %y = mul %x, %c                                               (readers of %z read %y)
#include <cmath>
#include <limits>

#include "ir/base/scalar_ops.h"
#include "ir/builder.h"
#include "passes/builtin.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// A pattern or replacement: a variable, a known number, or an op over terms. In a pattern, `c` stands for any constant.
struct Term {
  enum Kind { variable, number, constant, inverse, op } kind;
  char name = 0;
  double value = 0;
  Op what = Op::constant;
  std::vector<Term> args = {};
};
struct Match {
  std::map<char, Value*> values;
  double c = 0;
};

const Term x{Term::variable, 'x'}, y{Term::variable, 'y'};
const Term c{Term::constant};  // any constant; one per pattern
const Term one_over_c{Term::inverse};
Term k(double value) { return {Term::number, 0, value}; }
Term make(Op what, std::vector<Term> args) { return {Term::op, 0, 0, what, std::move(args)}; }
Term add(Term a, Term b) { return make(Op::add, {std::move(a), std::move(b)}); }
Term sub(Term a, Term b) { return make(Op::sub, {std::move(a), std::move(b)}); }
Term mul(Term a, Term b) { return make(Op::mul, {std::move(a), std::move(b)}); }
Term div(Term a, Term b) { return make(Op::div, {std::move(a), std::move(b)}); }
Term max(Term a, Term b) { return make(Op::max, {std::move(a), std::move(b)}); }
Term neg(Term a) { return make(Op::neg, {std::move(a)}); }
Term relu(Term a) { return make(Op::relu, {std::move(a)}); }

bool has_exact_inverse(const Match& match) {
  int exponent;
  return std::abs(std::frexp(match.c, &exponent)) == 0.5 && std::abs(exponent) < 120;
}

struct Row {
  Term pattern, replacement;
  bool (*guard)(const Match&) = nullptr;
};
/// Every row keeps every bit of every finite result (but the sign of a zero). Patterns of add, mul and max match in both orders.
const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {add(x, k(0)), x},
      {sub(x, k(0)), x},
      {mul(x, k(1)), x},
      {div(x, k(1)), x},
      {mul(x, k(-1)), neg(x)},
      {sub(k(0), x), neg(x)},
      {neg(neg(x)), x},
      {neg(sub(x, y)), sub(y, x)},
      {add(x, neg(y)), sub(x, y)},
      {sub(x, neg(y)), add(x, y)},
      {mul(neg(x), neg(y)), mul(x, y)},
      {div(neg(x), neg(y)), div(x, y)},
      {div(x, c), mul(x, one_over_c), has_exact_inverse},
      {max(x, x), x},
      {relu(relu(x)), relu(x)},
  };
  return table;
}

bool commutes(Op op) { return op == Op::add || op == Op::mul || op == Op::max; }

bool matches(const Term& term, Value& value, Match& match) {
  const Node* node = value.producer();
  switch (term.kind) {
    case Term::variable: {
      auto [found, is_new] = match.values.try_emplace(term.name, &value);
      return is_new || found->second == &value;
    }
    case Term::number:
      return node && node->op() == Op::constant && node->f32("value") == term.value;
    case Term::constant:
      if (!node || node->op() != Op::constant) return false;
      match.c = node->f32("value");
      return true;
    case Term::inverse:
      return false;
    case Term::op:
      break;
  }
  if (!node || node->op() != term.what) return false;
  const Match start = match;
  if (term.args.size() == 1) return matches(term.args[0], *node->operand(0), match);
  if (matches(term.args[0], *node->operand(0), match) && matches(term.args[1], *node->operand(1), match)) return true;
  match = start;
  return commutes(term.what) && matches(term.args[0], *node->operand(1), match) && matches(term.args[1], *node->operand(0), match);
}

/// The replacement.
Value* build(const Term& term, const Match& match, ir::Builder& builder) {
  if (term.kind == Term::variable) return match.values.at(term.name);
  if (term.kind == Term::inverse) return builder.constant("", 1 / match.c);
  if (term.kind == Term::number) return builder.constant("", term.value);
  llvm::SmallVector<Value*> operands;
  for (const Term& arg : term.args) operands.push_back(build(arg, match, builder));
  return builder.op(term.what, "", operands, {});
}

void replace(Node& node, Value& value) {
  const std::string name = node.result()->name;
  node.result()->replace_all_uses_with(value);
  if (value.name.empty()) value.name = name;
  node.erase();
}

/// The value of an elementwise op over constants, rounded as the interpreter rounds it.
std::optional<double> known_value(const Node& node) {
  const auto op = scalar_op_named(node.info().name);
  double in[3] = {};
  for (unsigned i = 0; i < node.operands().size(); ++i) {
    const Node* producer = node.operand(i)->producer();
    if (!producer || producer->op() != Op::constant) return std::nullopt;
    in[i] = float(producer->f32("value"));
  }
  return double(float(apply<double>(*op, in[0], in[1], in[2])));
}

Outcome fold(Node& node, Context& context) {
  const std::string where = "%" + node.result()->name;
  if (auto value = known_value(node)) {
    if (!std::isfinite(*value)) return declined(node, "the result is {}", *value);
    if (!context.take_change()) return declined(node, "the limit on changes is reached");
    replace(node, *ir::Builder::before(node).constant("", *value));
    return fired_at(where);
  }
  for (const Row& row : rows()) {
    Match match;
    if (!matches(row.pattern, *node.result(), match) || (row.guard && !row.guard(match))) continue;
    if (row.replacement.kind == Term::variable && match.values.at(row.replacement.name)->type != node.result()->type)
      return declined(node, "{} has another shape than the result", match.values.at(row.replacement.name)->type.str());
    if (!context.take_change()) return declined(node, "the limit on changes is reached");
    auto builder = ir::Builder::before(node);
    replace(node, *build(row.replacement, match, builder));
    return fired_at(where);
  }
  return no_match();
}

void fold_all(ir::Function& function, Context& context) {
  // A change makes a node match that did not; every rule makes the function smaller or its ops cheaper, so this ends.
  for (bool changed = true; changed;) {
    changed = false;
    std::vector<Outcome> refused;
    for (Node* node : function.all_nodes()) {
      if (!node->has(ir::elementwise)) continue;
      Outcome outcome = fold(*node, context);
      if (outcome.kind == Outcome::fired) changed = true, context.note(std::move(outcome));
      else if (outcome.kind == Outcome::declined) refused.push_back(std::move(outcome));
    }
    if (!changed)
      for (Outcome& outcome : refused) context.note(std::move(outcome));
  }
}

}  // namespace

Pass fold_constants() {
  return {"fold_constants",
          "computes what is known and simplifies arithmetic by a table of rules",
          {},
          [](ir::Function& function, Context& context) -> Result<void> {
            fold_all(function, context);
            return {};
          }};
}

}  // namespace heddle::passes
