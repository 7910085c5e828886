#include "codegen/program_builder.h"

namespace heddle::codegen {

using ir::Node;
using ir::Op;
using ir::Value;

unsigned ArgTable::of(const Value& value, plan::ArgRole role) {
  auto [found, is_new] = index_.try_emplace(&value, unsigned(out_->args.size()));
  if (is_new) {
    auto& arg = out_->spec.args.emplace_back();
    arg.role = role;
    arg.dtype = value.type.dtype;
    arg.shape.assign(value.type.shape.begin(), value.type.shape.end());
    arg.layout = value.is_weight() ? value.layout : Layout::rows;
    // Named by place, not by layer: equal kernels of different layers are one kernel.
    arg.name = fmt::format("{}{}", plan::name(role), out_->args.size());
    out_->args.push_back(&value);
  }
  return found->second;
}

void ArgTable::use_row_inputs(const Value* slot, const Value* pos) {
  if (slot) out_->spec.slots_arg = int(of(*slot, plan::ArgRole::slots));
  if (pos) out_->spec.positions_arg = int(of(*pos, plan::ArgRole::positions));
}

void ProgramBuilder::add_input(const Value& value, plan::InputKind kind, unsigned index, double constant) {
  handles_[&value] = {false, unsigned(program_.inputs.size())};
  program_.inputs.push_back({kind, index, constant});
}

void ProgramBuilder::define_loop(const Value& value, unsigned index) { add_input(value, plan::InputKind::loop, index); }

unsigned ProgramBuilder::number_of(const Value& value) const { return number(handles_.lookup(&value)); }

std::optional<Refusal> ProgramBuilder::require(const Node& reader, const Value& value) {
  if (handles_.contains(&value)) return std::nullopt;
  const Node* producer = value.producer();
  if (value.is_weight()) {
    if (value.type.shape.size() != 1) return Refusal{&reader, fmt::format("it reads the matrix @{} outside a product", value.name)};
    add_input(value, plan::InputKind::vector, args_->of(value, plan::ArgRole::weight));
  } else if (producer && producer->op() == Op::constant) {
    add_input(value, plan::InputKind::constant, 0, producer->f32("value"));
  } else if (prologue_ && prologue_->has(value) && producer && producer->block() == reader.block()) {
    if (value.type.width() != 1) return Refusal{&reader, fmt::format("it reads %{}, which is computed before the loop", value.name)};
    add_input(value, plan::InputKind::row_scalar, prologue_->number_of(value));
  } else {
    if (value.type.state || value.type.dtype == DType::i32) return Refusal{&reader, fmt::format("it reads %{} as numbers", value.name)};
    add_input(value, plan::InputKind::rows, args_->of(value, plan::ArgRole::buffer));
  }
  return std::nullopt;
}

namespace {

/// A node's attributes by the names that the row below the IR has for them, which are the same.
struct AttributesOf {
  const Node& node;
  void operator()(std::string_view name, std::int64_t& value) const { value = node.i64(name); }
  void operator()(std::string_view name, double& value) const { value = node.f32(name); }
  void operator()(std::string_view name, DType& value) const { value = *dtype_named(node.str(name)); }
  void operator()(std::string_view name, Pairing& value) const { value = *pairing_named(node.str(name)); }
};

bool is_positions(const RowOp& op, std::string_view operand) {
  if (std::holds_alternative<Elementwise>(op)) return false;
  return llvm::any_of(row_op_info(op.index()).operands, [&](const RowOperandInfo& row) {
    return row.kind == RowOperandInfo::positions && row.name == operand;
  });
}

}  // namespace

std::optional<Refusal> ProgramBuilder::append(const Node& node) {
  auto op = row_op_named(node.info().name);
  HEDDLE_CHECK(op, "{} is no row-wise op", node.info().name);
  std::vector<Handle> operands;
  for (unsigned i = 0; i < node.operands().size(); ++i) {
    const Value& value = *node.operand(i);
    if (is_positions(*op, node.info().operands[i])) {  // an argument of the kernel, not of the program
      args_->use_row_inputs(nullptr, &value);
      continue;
    }
    if (auto refusal = require(node, value)) return refusal;
    operands.push_back(handles_.lookup(&value));
  }
  for_each_attribute(*op, AttributesOf{node});
  handles_[node.result()] = {true, unsigned(program_.instrs.size())};
  program_.instrs.push_back({*op, {}});
  nodes_.push_back(&node);
  instr_operands_.push_back(std::move(operands));
  return std::nullopt;
}

std::optional<Refusal> ProgramBuilder::store(const Node& node, const Value& value, plan::StoreKind kind, unsigned arg) {
  if (auto refusal = require(node, value)) return refusal;
  program_.stores.push_back({.value = 0, .kind = kind, .index = arg});
  stored_.push_back(handles_.lookup(&value));
  return std::nullopt;
}

plan::Program ProgramBuilder::take() {
  for (std::size_t i = 0; i < program_.instrs.size(); ++i)
    for (Handle handle : instr_operands_[i]) program_.instrs[i].operands.push_back(number(handle));
  for (std::size_t i = 0; i < program_.stores.size(); ++i) program_.stores[i].value = number(stored_[i]);
  return std::move(program_);
}

}  // namespace heddle::codegen
