#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/SmallPtrSet.h>

#include "ir/dependencies.h"
#include "ir/text/text.h"

namespace heddle::ir {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

/// Of a group's result, the value in the body that it stands for; any other value as it is.
const Value& behind(const Value& value) {
  const Node* group = value.producer() && value.producer()->body() ? value.producer() : nullptr;
  const Node* yield = group ? group->body()->terminator() : nullptr;
  return yield && value.index() < yield->operands().size() ? behind(*yield->operand(value.index())) : value;
}

class Writer {
 public:
  explicit Writer(const Function& function) : function_(function), dependencies_(function.body()) {
    for (const Node* node : function.all_nodes()) ids_.try_emplace(node, ids_.size());
  }

  std::string text() {
    out_ = fmt::format("digraph \"{}\" {{\n  node [shape=box, fontname=monospace];\n", escaped(function_.name));
    for (const Value* argument : function_.arguments())
      out_ += fmt::format("  a{} [shape=ellipse, label=\"%{}\\n{}\"];\n", argument->index(), escaped(argument->name), argument->type.str());
    for (const Node* node : function_.body().nodes()) {
      if (!node->body()) {
        box(*node, "  ");
        continue;
      }
      out_ += fmt::format("  subgraph cluster_{} {{\n    label=\"{}\";\n", id(*node), escaped(node->str("label")));
      for (const Node* inner : node->body()->nodes())
        if (!inner->has(terminator)) box(*inner, "    ");
      out_ += "  }\n";
    }
    for (const Node* node : function_.all_nodes())
      if (node->op() != Op::yield && !node->body()) data_edges(*node);
    for (const Node* node : function_.body().nodes()) order_edges(*node);
    return out_ + "}\n";
  }

 private:
  std::size_t id(const Node& node) const { return ids_.lookup(&node); }

  void box(const Node& node, std::string_view indent) {
    std::string label;
    if (!node.results().empty()) label += fmt::format("%{}\\n", escaped(node.result()->name));
    label += node.info().name;
    for (const Value* value : node.operands())
      if (value->is_weight()) label += fmt::format(" @{}", escaped(value->name));
    for (const Value* result : node.results()) label += "\\n" + result->type.str();
    out_ += fmt::format("{}n{} [label=\"{}\"];\n", indent, id(node), label);
  }

  void data_edges(const Node& node) {
    llvm::SmallPtrSet<const Value*, 4> drawn;
    for (const Value* value : node.operands()) {
      const Value& shown = behind(*value);
      if (shown.is_weight() || !drawn.insert(&shown).second) continue;
      if (const Node* from = shown.producer()) out_ += fmt::format("  n{} -> n{};\n", id(*from), id(node));
      else out_ += fmt::format("  a{} -> n{};\n", shown.index(), id(node));
    }
  }

  /// `after` lists and readers that a state writer waits for, between nodes or, at a group, its first node.
  void order_edges(const Node& node) {
    llvm::SmallPtrSet<const Node*, 4> data;
    auto add = [&](const Node& reader) {
      for (const Value* value : reader.operands())
        if (value->producer()) data.insert(value->producer());
    };
    add(node);
    if (node.body())
      for (const Node* inner : node.body()->nodes()) add(*inner);
    for (const Node* before : dependencies_.direct(node))
      if (!data.contains(before))
        out_ += fmt::format("  n{} -> n{} [style=dashed, constraint=false];\n", id(anchor_of(*before)), id(anchor_of(node)));
  }
  static const Node& anchor_of(const Node& node) { return node.body() && !node.body()->empty() ? (*node.body())[0] : node; }

  const Function& function_;
  const Dependencies dependencies_;
  llvm::DenseMap<const Node*, std::size_t> ids_;
  std::string out_;
};

}  // namespace

std::string to_dot(const Function& function) { return Writer(function).text(); }

}  // namespace heddle::ir
