#include "codegen/program_builder.h"

namespace heddle::codegen {

using ir::Node;
using ir::Op;
using ir::Value;

unsigned ArgTable::of(const Value& value, plan::ArgRole role) {
  auto [found, is_new] = index_.try_emplace(&value, unsigned(out_->args.size()));
  if (is_new) {
    auto& arg = out_->spec.args.emplace_back(std::make_unique<plan::ArgT>());
    arg->role = role;
    arg->dtype = std::string(heddle::name(value.type.dtype));
    arg->shape.assign(value.type.shape.begin(), value.type.shape.end());
    arg->layout = value.is_weight() ? value.layout.name : std::string("rows");
    // Named by place, not by layer: equal kernels of different layers are one kernel.
    arg->name = fmt::format("{}{}", plan::EnumNameArgRole(role), out_->args.size());
    out_->args.push_back(&value);
  }
  return found->second;
}

void ArgTable::use_row_inputs(const Value* slot, const Value* pos) {
  if (slot) out_->spec.slots_arg = int(of(*slot, plan::ArgRole::slots));
  if (pos) out_->spec.positions_arg = int(of(*pos, plan::ArgRole::positions));
}

void ProgramBuilder::add_input(const Value& value, plan::InputKind kind, unsigned index, double constant) {
  auto input = std::make_unique<plan::InputT>();
  input->kind = kind;
  input->index = index;
  input->value = constant;
  handles_[&value] = {false, unsigned(program_.inputs.size())};
  program_.inputs.push_back(std::move(input));
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

std::optional<Refusal> ProgramBuilder::append(const Node& node) {
  auto instr = std::make_unique<plan::InstrT>();
  instr->op = std::string(node.info().name);
  std::vector<Handle> operands;
  for (unsigned i = 0; i < node.operands().size(); ++i) {
    const Value& value = *node.operand(i);
    if (node.op() == Op::rope && i == unsigned(node.info().operand_index("pos"))) {  // an argument of the kernel, not of the program
      args_->use_row_inputs(nullptr, &value);
      continue;
    }
    if (auto refusal = require(node, value)) return refusal;
    operands.push_back(handles_.lookup(&value));
  }
  // The attributes of a row in order: integers to i0, i1; the float to f0; the text.
  std::int64_t* integers[] = {&instr->i0, &instr->i1};
  unsigned used = 0;
  for (const ir::AttrValue& attr : node.attrs()) {
    if (auto* i = std::get_if<std::int64_t>(&attr)) *integers[used++] = *i;
    else if (auto* f = std::get_if<double>(&attr)) instr->f0 = *f;
    else instr->text = std::get<std::string>(attr);
  }
  handles_[node.result()] = {true, unsigned(program_.instrs.size())};
  program_.instrs.push_back(std::move(instr));
  instr_operands_.push_back(std::move(operands));
  return std::nullopt;
}

std::optional<Refusal> ProgramBuilder::store(const Node& node, const Value& value, plan::StoreKind kind, unsigned arg) {
  if (auto refusal = require(node, value)) return refusal;
  auto store = std::make_unique<plan::StoreT>();
  store->kind = kind;
  store->index = arg;
  program_.stores.push_back(std::move(store));
  stored_.push_back(handles_.lookup(&value));
  return std::nullopt;
}

plan::ProgramT ProgramBuilder::take() {
  for (std::size_t i = 0; i < program_.instrs.size(); ++i)
    for (Handle handle : instr_operands_[i]) program_.instrs[i]->operands.push_back(number(handle));
  for (std::size_t i = 0; i < program_.stores.size(); ++i) program_.stores[i]->value = number(stored_[i]);
  return std::move(program_);
}

}  // namespace heddle::codegen
