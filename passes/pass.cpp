#include "passes/pass.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/STLExtras.h>

#include "ir/dependencies.h"
#include "passes/builtin.h"
#include "passes/cost_model.h"
#include "passes/match.h"

namespace heddle::passes {

using ir::Node;
using ir::Op;
using ir::Value;

std::string Remark::str() const {
  if (outcome.kind == Outcome::fired) return fmt::format("{}: {} fired", pass, outcome.where);
  return fmt::format("{}: {} declined: {}", pass, outcome.where, outcome.reason);
}

void Context::note(Outcome outcome) {
  if (outcome.kind == Outcome::no_match || !remarks) return;
  remarks->push_back({pass, function, std::move(outcome)});
}

bool Context::take_change() {
  if (!changes_left) return true;
  if (*changes_left <= 0) return false;
  --*changes_left;
  return true;
}

Pass at_each(std::string name, std::string summary, std::initializer_list<Op> ops, Visit visit) {
  auto run = [ops = std::vector<Op>(ops), visit = std::move(visit)](ir::Function& function, Context& context) -> Result<void> {
    const auto places_now = [&] {
      std::vector<Node*> found;
      const auto look = [&](Node& node) {
        if (llvm::is_contained(ops, node.op())) found.push_back(&node);
      };
      for (std::size_t i = 0; i < function.body().size(); ++i) {
        Node& node = function.body()[i];
        look(node);
        for (std::size_t k = 0; node.body() && k < node.body()->size(); ++k) look((*node.body())[k]);
      }
      return found;
    };
    const std::vector<Node*> places = places_now();
    llvm::DenseSet<const Node*> alive(places.begin(), places.end());
    for (Node* node : places) {
      if (!alive.contains(node)) continue;
      Outcome outcome = visit(*node, context);
      const bool changed = outcome.kind == Outcome::fired;
      if (!changed) outcome.where = place_of(*node);  // not the node of the group where the refusal was found
      context.note(std::move(outcome));
      if (!changed) continue;
      const auto left = places_now();
      alive = {left.begin(), left.end()};
    }
    return {};
  };
  return {std::move(name), std::move(summary), {}, std::move(run)};
}

Pass at_each(std::string name, std::string summary, Op op, Visit visit) {
  return at_each(std::move(name), std::move(summary), {op}, std::move(visit));
}

Outcome no_match() { return {}; }
Outcome fired(const Node& node) { return fired_at(place_of(node)); }
Outcome fired_at(std::string where) { return {Outcome::fired, std::move(where), {}}; }
Outcome declined_text(const Node& node, std::string reason) { return {Outcome::declined, place_of(node), std::move(reason)}; }

namespace {

/// A copy of `members` as one group that stands nowhere, for questions only. The members and their block stay as they are.
std::unique_ptr<Node> trial_group(llvm::ArrayRef<Node*> members, const std::string& label) {
  auto trial = std::make_unique<Node>(Op::group, llvm::ArrayRef<Value*>{}, std::vector<ir::AttrValue>{label});
  Node& group = *trial;
  llvm::DenseMap<Value*, Value*> copy_of;
  auto copied = [&](Value* value) {
    auto found = copy_of.find(value);
    return found == copy_of.end() ? value : found->second;
  };
  auto copy = [&](const Node& node) {
    llvm::SmallVector<Value*> operands;
    for (Value* value : node.operands()) operands.push_back(copied(value));
    Node& twin = group.body()->append(std::make_unique<Node>(node.op(), operands, node.attrs()));
    for (Value* value : node.results()) copy_of[value] = twin.add_result(value->type, value->name);
  };

  const llvm::DenseSet<const Node*> set(members.begin(), members.end());
  llvm::SmallVector<Value*> left;  // results of members that others read
  for (Node* member : members) {
    if (member->op() == Op::group) {
      for (Node* node : member->body()->nodes())
        if (!node->has(ir::terminator)) copy(*node);
      const auto yielded = member->body()->terminator()->operands();
      for (unsigned i = 0; i < yielded.size(); ++i) copy_of[member->result(i)] = copy_of.lookup(yielded[i]);
    } else {
      copy(*member);
    }
    for (Value* value : member->results())
      if (llvm::any_of(value->readers_in(*member->block()), [&](Node* reader) { return !set.contains(reader); }))
        left.push_back(value);
  }
  llvm::SmallVector<Value*> yielded;
  for (Value* value : left) {
    group.add_result(value->type, value->name);
    yielded.push_back(copied(value));
  }
  group.body()->append(std::make_unique<Node>(Op::yield, yielded));
  return trial;
}

}  // namespace

Outcome fuse_if_better(llvm::ArrayRef<Node*> nodes, std::string label, Context& context) {
  HEDDLE_CHECK(!nodes.empty());
  llvm::SmallVector<Node*> members(nodes.begin(), nodes.end());
  const ir::Block& block = *members.front()->block();
  llvm::sort(members, [&](Node* a, Node* b) { return block.position_of(*a) < block.position_of(*b); });
  Node& place = *members.back();
  if (!ir::Dependencies::between(*members.front(), place).is_convex(members))
    return declined(place, "another kernel would have to run in the middle of it");

  if (context.questions) {
    const auto trial = trial_group(members, label);
    if (const auto refusal = context.questions->cannot_emit(*trial))
      return declined(place, "cannot emit {}: {}", refusal->node ? place_of(*refusal->node) : "it", refusal->reason);
  }

  double apart = 0;
  for (Node* member : members) apart += kernel_us(*member, context.target);
  if (const double fused = kernel_us(members, context.target); fused > apart)
    return declined(place, "{:.1f} us fused, {:.1f} us apart", fused, apart);

  if (!context.take_change()) return declined(place, "the limit on changes is reached");
  return fired(ir::make_group(members, std::move(label)));
}

Registry& Registry::global() {
  static Registry registry = [] {
    Registry builtin;
    register_builtin_passes(builtin);
    return builtin;
  }();
  return registry;
}

Result<void> Registry::add(Pass pass) {
  if (passes_.contains(pass.name)) return error("pass '{}': there is one of this name already", pass.name);
  std::string name = pass.name;
  passes_.emplace(std::move(name), std::move(pass));
  return {};
}

const Pass* Registry::find(std::string_view name) const {
  auto found = passes_.find(name);
  return found == passes_.end() ? nullptr : &found->second;
}

std::vector<const Pass*> Registry::all() const {
  std::vector<const Pass*> out;
  for (auto& [name, pass] : passes_) out.push_back(&pass);
  return out;
}

}  // namespace heddle::passes
