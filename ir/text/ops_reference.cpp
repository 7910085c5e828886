#include "ir/text/ops_reference.h"

#include "ir/base/dtype.h"
#include "ir/base/scalar_ops.h"
#include "ir/infer_types.h"
#include "ir/op.h"
#include "ir/verify.h"

namespace heddle::ir {
namespace {

struct TraitRow {
  Trait trait;
  std::string_view name, meaning;
};
constexpr TraitRow trait_rows[] = {
    {pure, "pure", "no effect but its result: may be merged and dropped"},
    {elementwise, "elementwise", "every element by the row's scalar expression; operands repeat by the rule `broadcast`"},
    {row_wise, "row_wise", "a function of whole rows"},
    {row_pair, "row_pair", "a function of pairs of elements of one head"},
    {reduction, "reduction", "reads whole rows of its operand before the first result is known"},
    {anchor, "anchor", "a loop of its own: at most one kind in a kernel"},
    {state_write, "state_write", "gives the new version of its first operand; never merged, never dropped"},
    {state_read, "state_read", "reads a version of a state"},
    {blockwise, "blockwise", "a function of whole blocks along the row"},
    {gather, "gather", "reads rows chosen at run time"},
    {region, "region", "has a body"},
    {terminator, "terminator", "ends a block"},
};

std::string traits_of(const OpInfo& row) {
  std::string out;
  for (const TraitRow& trait : trait_rows)
    if (row.has(trait.trait)) out += fmt::format("{}{}", out.empty() ? "" : ", ", trait.name);
  return out;
}

/// The op as it stands in IR text: %y = rope %x, %pos[, %factors] {head_dim=i64, ...}
std::string form_of(const OpInfo& row) {
  std::string out(row.has(terminator) ? "" : row.has(region) ? "%y, ... = " : "%y = ");
  out += row.name;
  if (row.variadic) out += " %values, ...";
  for (std::size_t i = 0; i < row.operands.size(); ++i)
    out += fmt::format("{}{}%{}{}", i >= row.required ? "[" : "", i == 0 ? " " : ", ", row.operands[i], i >= row.required ? "]" : "");
  if (row.has(region)) return out + " \"label\" { ... }";
  constexpr std::string_view kinds[] = {"i64", "f32", "str"};
  for (std::size_t i = 0; i < row.attrs.size(); ++i)
    out += fmt::format("{}{}={}", i == 0 ? " {" : ", ", row.attrs[i].name, kinds[std::size_t(row.attrs[i].kind)]);
  return out + (row.attrs.empty() ? "" : "}");
}

}  // namespace

std::string ops_reference() {
  std::string out = "# The ops of heddle's IR\n\nWritten by the program from its tables; see `ir/text/text.h` for the text around the nodes.\n";
  for (const OpInfo& row : all_ops()) {
    out += fmt::format("\n## {}\n\n    {}\n\n{}\n\n- result: `{}`\n- traits: {}\n", row.name, form_of(row), row.doc, row.result_rule,
                       traits_of(row));
    if (!row.has(elementwise)) continue;
    if (const auto scalar = scalar_op_named(row.name)) out += fmt::format("- expression: `{}`\n", heddle::info(*scalar).expression);
  }
  out += "\n## Results\n\n";
  for (const ResultRule& rule : result_rules()) out += fmt::format("- `{}`: {}\n", rule.name, rule.meaning);
  out += "\n## Traits\n\n";
  for (const TraitRow& trait : trait_rows) out += fmt::format("- {}: {}\n", trait.name, trait.meaning);
  out += "\n## Types\n\n| dtype | elements of a block | bytes of a block |\n|---|---|---|\n";
  for (const DTypeInfo& dtype : all_dtypes()) out += fmt::format("| {} | {} | {} |\n", dtype.name, dtype.elements, dtype.bytes);
  out += "\n## What the verifier checks\n\n";
  for (const RuleInfo& rule : verifier_rules()) out += fmt::format("- {}: {}\n", rule.name, rule.meaning);
  return out;
}

}  // namespace heddle::ir
