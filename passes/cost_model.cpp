#include "passes/cost_model.h"

#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/SmallPtrSet.h>

#include "ir/base/scalar_ops.h"
#include "ir/base/shape.h"

namespace heddle::passes {

using ir::Node;
using ir::Op;
using ir::Value;

namespace {

consteval bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

/// Float operations of an expression of scalar_ops.def: 1 for a sign, 8 for a function; a function that stands in neither list does not compile.
consteval double flops_of(std::string_view text) {
  const auto in_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; };
  double flops = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && in_word(text[end])) ++end;
    if (const std::string_view word = text.substr(at, end - at); !word.empty() && end < text.size() && text[end] == '(') {
      if (is_one_of(word, {"exp", "tanh", "sqrt", "erf"})) flops += 8;
      else if (!is_one_of(word, {"F", "max", "min"})) throw "a function that costs nobody knows what";
    }
    if (end == at) {
      flops += text[at] == '+' || text[at] == '-' || text[at] == '*' || text[at] == '/';
      ++end;
    }
    at = end;
  }
  return std::max(flops, 1.0);
}

constexpr double scalar_flops[] = {
#define HEDDLE_SCALAR_OP(name, arity, ...) flops_of(#__VA_ARGS__),
#include "ir/base/scalar_ops.def"
};

/// Float operations for one element, by the op's traits; of an elementwise op, by its expression.
double flops_per_element(const Node& node) {
  if (node.has(ir::elementwise)) {
    const auto op = scalar_op_named(node.info().name);
    HEDDLE_CHECK(op, "{} has no row in scalar_ops.def", node.info().name);
    return scalar_flops[std::size_t(*op)];
  }
  if (node.has(ir::gather)) return 0;     // it copies
  if (node.has(ir::blockwise)) return 6;  // largest magnitude, scale, round, sum
  if (node.has(ir::row_pair)) return 6;   // two products and a sum for each, sine and cosine shared by the heads
  if (node.has(ir::reduction) && !node.has(ir::anchor)) return 4;
  HEDDLE_CHECK(!node.has(ir::row_wise), "{} has no trait that says what an element costs", node.info().name);
  return 0;
}

double row_work(const Node& node) {
  if (node.has(ir::anchor) || node.results().empty()) return 0;
  const Value& counted = node.has(ir::reduction) ? *node.operand(0) : *node.result();  // a row scalar reads whole rows
  return flops_per_element(node) * double(counted.type.elements());
}

double bytes_of(const ir::Type& type) { return double(heddle::bytes_of(type.dtype, type.elements())); }

/// Bytes that one read of weight `value` moves.
double weight_bytes(const Node& reader, const Value& value) {
  const ir::Type& type = value.type;
  if (reader.op() == Op::embed) return double(bytes_of_rows(type.dtype, type.width(), reader.result()->type.rows()));
  if (reader.op() == Op::matmul && reader.operand("experts"))
    return double(bytes_of_matrices(type.dtype, type.shape, reader.operand("experts")->type.elements()));
  return bytes_of(type);
}

/// Whether anybody outside the kernel reads `value`; `inside` holds its nodes and the groups they come from.
bool leaves(const Value& value, const llvm::DenseSet<const Node*>& inside) {
  return llvm::any_of(value.uses(), [&](const Value::Use& use) {
    if (inside.contains(use.node)) return false;
    const Node* group = use.node->enclosing_group();
    return use.node->op() != Op::yield || !inside.contains(group) || leaves(*group->result(use.operand), inside);
  });
}

/// Bytes to and from memory; those of activations count less.
double bytes_moved(llvm::ArrayRef<const Node*> nodes, const llvm::DenseSet<const Node*>& inside) {
  double bytes = 0;
  llvm::SmallPtrSet<const Value*, 16> seen;
  for (const Node* node : nodes) {
    for (const Value* value : node->operands()) {
      if (value->producer() && inside.contains(value->producer())) continue;
      if (value->type.state) {
        if (node->has(ir::state_read)) bytes += double(bytes_of_positions(value->type.dtype, value->type.shape, nominal_context));
        continue;
      }
      if (!seen.insert(value).second) continue;
      const ir::Type& type =
          node->has(ir::gather) && value == node->operand(0) ? node->result()->type : value->type;  // only rows that it takes
      bytes += value->is_weight() ? weight_bytes(*node, *value) : bytes_of(type) / cache_speedup;
    }
    for (const Value* value : node->results()) {
      if (value->type.state) bytes += double(bytes_of_positions(value->type.dtype, value->type.shape, node->operand("k")->type.rows()));
      else if (leaves(*value, inside)) bytes += bytes_of(value->type) / cache_speedup;
    }
  }
  return bytes;
}

}  // namespace

double kernel_us(llvm::ArrayRef<const Node*> members, const ir::Target& target) {
  std::vector<const Node*> nodes;
  for (const Node* member : members) {
    if (!member->body()) nodes.push_back(member);
    else
      for (Node* node : member->body()->nodes())
        if (!node->has(ir::terminator)) nodes.push_back(node);
  }
  llvm::DenseSet<const Node*> inside(nodes.begin(), nodes.end());
  inside.insert(members.begin(), members.end());

  double before = 0, after = 0;
  std::int64_t rows = 1;
  bool loop = false;
  llvm::DenseSet<const Node*> behind;  // the loop, and all that depends on it
  auto reads_loop = [&](const Value* value) {
    const Node* producer = value->producer();
    if (!producer) return false;
    if (producer->op() == Op::group) producer = producer->body()->terminator()->operand(value->index())->producer();
    return behind.contains(producer);
  };
  for (const Node* node : nodes) {
    if (!node->results().empty() && !node->result()->type.state) rows = std::max(rows, node->result()->type.rows());
    if (node->has(ir::anchor)) loop = true;
    if (node->has(ir::anchor) || llvm::any_of(node->operands(), reads_loop)) behind.insert(node);
    (behind.contains(node) ? after : before) += row_work(*node);
  }

  const double flops_per_us = target.worker_gflops * 1e3;
  const double sharing_rows = double(std::min<std::int64_t>(target.workers, rows));
  double before_us = before / flops_per_us, after_us = after / flops_per_us / target.workers;
  if (!loop) before_us /= sharing_rows;
  else if (target.has("shared_prologue")) before_us = std::min(before_us, target.launch_us + before_us / sharing_rows);
  return target.launch_us + bytes_moved(nodes, inside) / (target.memory_gbps * 1e3) + before_us + after_us;
}

double step_us(const ir::Function& function, const codegen::Questions* questions, const ir::Target& target) {
  double sum = 0;
  for (Node* group : function.body().nodes()) {
    if (group->has(ir::terminator)) continue;
    std::optional<double> loop = questions && group->body() ? questions->loop_us(*group) : std::nullopt;
    if (!loop) {
      loop = 0;
      for (const Node* node : group->body() ? group->body()->nodes() : std::vector<Node*>{group})
        if (node->op() == Op::matmul)
          *loop += weight_bytes(*node, *node->operand("w")) / (target.memory_gbps * 1e3) * double(node->result()->type.rows()) /
                   rows_per_weight_read;
    }
    sum += std::max(kernel_us(*group, target), target.launch_us + *loop);
  }
  return sum;
}

double key_us(const ir::Function& function, std::int64_t rows, const codegen::Questions& questions) {
  double sum = 0;
  for (const Node* group : function.body().nodes()) {
    if (!group->body()) continue;
    const bool all_rows = llvm::any_of(
        group->body()->nodes(), [&](const Node* node) { return node->op() == Op::attention && node->result()->type.rows() == rows; });
    if (all_rows) sum += questions.key_us(*group);
  }
  return sum;
}

double kernel_us(const Node& node, const ir::Target& target) {
  const Node* one = &node;
  return kernel_us(llvm::ArrayRef(one), target);
}

}  // namespace heddle::passes
