#include "codegen/write_plan.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/StringMap.h>

#include "codegen/spec.h"
#include "ir/dependencies.h"
#include "ir/text/text.h"

namespace heddle::codegen {
namespace {

using ir::Function;
using ir::Value;

template <class T>
T port(const Value& value, const std::string& name) {
  T out;
  out.name = name;
  out.dtype = value.type.dtype;
  out.shape.assign(value.type.shape.begin(), value.type.shape.end());
  return out;
}

Result<plan::Weight> weight_of(const Value& value, const TensorPlaces& tensors) {
  auto weight = port<plan::Weight>(value, value.name);
  weight.layout = value.layout;
  const std::int64_t columns = value.type.shape.back();
  for (const ir::WeightSource& from : value.sources) {
    if (from.tensor.empty()) {
      plan::WeightSource& source = weight.sources.emplace_back();
      source.values = from.values;
      source.rows = 1;
      source.columns = std::int64_t(from.values.size());
      continue;
    }
    const auto place = tensors(from.tensor);
    if (!place) return error("weight {}: the model has no tensor '{}'", value.name, from.tensor);
    plan::WeightSource source;
    source.tensor = from.tensor;
    source.file = place->file;
    source.row_begin = from.row_begin;
    source.rows = from.rows;
    source.columns = columns;
    source.dtype = from.dtype;
    source.plus = float(from.plus);
    const std::int64_t row_bytes = bytes_of(from.dtype.value_or(value.type.dtype), columns);
    source.offset = place->offset + std::uint64_t(from.row_begin * row_bytes);
    source.bytes = std::uint64_t(from.rows * row_bytes);
    weight.sources.push_back(std::move(source));
  }
  return weight;
}

/// Kernels by the bytes of their spec: equal ones are one.
class Kernels {
 public:
  explicit Kernels(plan::Plan& plan) : plan_(plan) {}
  unsigned add(const plan::KernelSpec& spec) {
    auto [found, is_new] = index_.try_emplace(plan::key_of(spec), unsigned(plan_.kernels.size()));
    if (is_new) plan_.kernels.push_back({.spec = spec, .min_bytes = min_bytes(spec), .cuda = {}});
    return found->second;
  }

 private:
  plan::Plan& plan_;
  llvm::StringMap<unsigned> index_;
};

Result<plan::Ref> ref_of(const Function& function, const Value& value, const llvm::StringMap<unsigned>& states) {
  plan::Ref ref;
  if (value.is_weight()) {
    ref.where = plan::Where::weight;
    ref.index = value.index();
    return ref;
  }
  switch (value.placement.kind) {
    case ir::Placement::none: return error("{}: %{} has no place in memory", function.name, value.name);
    case ir::Placement::arena:
      ref.where = plan::Where::arena;
      ref.offset = std::uint64_t(value.placement.offset);
      ref.bytes = std::uint64_t(value.placement.bytes);
      break;
    case ir::Placement::state:
      ref.where = plan::Where::state;
      ref.index = states.lookup(function.arguments()[std::size_t(value.placement.offset)]->name);
      break;
    case ir::Placement::input:
      ref.where = plan::Where::input;
      ref.index = unsigned(value.placement.offset);
      break;
    case ir::Placement::output:
      ref.where = plan::Where::output;
      ref.index = unsigned(value.placement.offset);
      break;
  }
  return ref;
}

}  // namespace

Result<void> write_plan(const ir::Module& module, const TensorPlaces& tensors, plan::Plan& plan) {
  for (const Value* weight : module.weights()) {
    HEDDLE_ASSIGN(auto entry, weight_of(*weight, tensors));
    plan.weights.push_back(std::move(entry));
  }
  llvm::StringMap<unsigned> states;
  Kernels kernels(plan);
  for (auto& function : module.functions()) {
    plan::EntryPoint entry;
    entry.name = function->name;
    entry.kind = function->kind;
    entry.rows = std::uint32_t(function->rows);
    entry.arena_bytes = std::uint64_t(function->arena_bytes);
    for (const Value* argument : function->arguments()) {
      if (!argument->type.state) {
        entry.inputs.push_back(port<plan::Port>(*argument, argument->name));
      } else if (auto [state, is_new] = states.try_emplace(argument->name, unsigned(plan.states.size())); is_new) {
        plan.states.push_back(port<plan::State>(*argument, argument->name));
      }
    }
    const ir::Block& body = function->body();
    for (const Value* value : body.terminator()->operands())
      if (!value->type.state) entry.outputs.push_back(port<plan::Port>(*value, value->name));
    const auto edges = ir::Dependencies(body).reduced();
    for (std::size_t i = 0; i + 1 < body.size(); ++i) {
      const ir::Node& group = body[i];
      if (group.op() != ir::Op::group) return error("{}: %{} is in no group", function->name, group.result()->name);
      auto spec = spec_of(group);
      if (auto* refusal = std::get_if<Refusal>(&spec))
        return error("{}: group %{} cannot be emitted: {}: {}", function->name, group.results().empty() ? "" : group.result()->name,
                     refusal->node->info().name, refusal->reason);
      const SpecOfGroup& kernel = std::get<SpecOfGroup>(spec);
      plan::Node node;
      node.kernel = kernels.add(kernel.spec);
      for (const Value* value : kernel.args) {
        HEDDLE_ASSIGN(auto ref, ref_of(*function, *value, states));
        node.args.push_back(std::move(ref));
      }
      node.after.assign(edges[i].begin(), edges[i].end());
      for (const Value* value : group.results()) node.value_names.push_back(value->name);
      entry.nodes.push_back(std::move(node));
    }
    plan.entries.push_back(std::move(entry));
  }
  plan.target = module.target.name;
  const auto backend = backend_of(plan.target);
  if (!backend) return error("target '{}' is not known", plan.target);
  plan.backend = *backend;
  plan.ir = ir::print(module);
  return {};
}

}  // namespace heddle::codegen
