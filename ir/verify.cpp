#include "ir/verify.h"

#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/StringSet.h>

#include <array>

#include "ir/infer_types.h"
#include "ir/text/lexer.h"
#include "ir/verify_rules.h"

namespace heddle::ir {
namespace {

Result<void> check_operands(const Function& function) {
  for (const Node* node : function.all_nodes())
    if (auto checked = check_row(*node); !checked.ok()) return rule_broken(function, *node, "{}", checked.error().message());
  return {};
}

Result<void> check_terminators(const Function& function) {
  auto in_place = [&](const Block& block, Op wanted) -> Result<void> {
    const auto whose = [&] { return block.group() ? fmt::format("node '{}': its body", head(*block.group())) : "its body"; };
    if (block.empty()) return rule_broken(function, "{} is empty, wants {} at the end", whose(), info(wanted).name);
    for (const Node* node : block.nodes()) {
      const bool last = node == &block[block.size() - 1];
      if (last && node->op() != wanted)
        return rule_broken(function, "{} ends with '{}', wants {} at the end", whose(), head(*node), info(wanted).name);
      if (!last && node->has(terminator)) return rule_broken(function, *node, "stands before the end of its block");
    }
    return {};
  };
  HEDDLE_TRY(in_place(function.body(), Op::ret));
  for (const Node* node : function.body().nodes())
    if (node->body()) HEDDLE_TRY(in_place(*node->body(), Op::yield));
  return {};
}

Result<void> check_groups(const Function& function) {
  for (const Node* node : function.all_nodes()) {
    if (!node->has(region)) continue;
    if (node->enclosing_group()) return rule_broken(function, *node, "stands in a group, groups do not nest");
    if (node->body()->size() < 2) return rule_broken(function, *node, "its body has no nodes, wants at least one before the yield");
  }
  return {};
}

Result<void> check_dominance(const Function& function) {
  llvm::DenseSet<const Value*> known;
  for (const Value* weight : function.module().weights()) known.insert(weight);
  for (const Value* argument : function.arguments()) known.insert(argument);
  auto reads_known = [&](const Node& node) -> Result<void> {
    for (const Value* value : node.operands())
      if (!known.contains(value))
        return rule_broken(function, node, "reads {}{}, which is not defined before it", value->is_weight() ? '@' : '%', value->name);
    return {};
  };
  for (const Node* node : function.body().nodes()) {
    HEDDLE_TRY(reads_known(*node));
    if (node->body()) {
      const std::vector<Node*> inner = node->body()->nodes();
      for (const Node* one : inner) {
        HEDDLE_TRY(reads_known(*one));
        for (const Value* result : one->results()) known.insert(result);
      }
      for (const Node* one : inner)
        for (const Value* result : one->results()) known.erase(result);
    }
    for (const Value* result : node->results()) known.insert(result);
  }
  return {};
}

Result<void> check_group_results(const Function& function, const Node& group) {
  const Node& yield = *group.body()->terminator();
  if (yield.operands().size() != group.results().size())
    return rule_broken(function, group, "has {} results, its body yields {} values", group.results().size(), yield.operands().size());
  for (unsigned i = 0; i < group.results().size(); ++i)
    if (group.result(i)->type != yield.operand(i)->type)
      return rule_broken(function, group, "result {} is {}, its body yields {}", i, group.result(i)->type.str(),
                         yield.operand(i)->type.str());
  return {};
}

Result<void> check_types(const Function& function) {
  for (const Value* argument : function.arguments())
    if (auto checked = check_type(argument->type); !checked.ok())
      return rule_broken(function, "argument %{}: {}", argument->name, checked.error().message());
  for (const Node* node : function.all_nodes()) {
    for (const Value* value : node->results())
      if (auto checked = check_type(value->type); !checked.ok()) return rule_broken(function, *node, "{}", checked.error().message());
    for (const Value* value : node->operands())
      if (auto checked = check_type(value->type); !checked.ok() && value->is_weight())
        return rule_broken(function, "weight @{}: {}", value->name, checked.error().message());
    if (node->has(region)) continue;
    const std::size_t wanted = node->has(terminator) ? 0 : 1;
    if (node->results().size() != wanted) return rule_broken(function, *node, "has {} results, wants {}", node->results().size(), wanted);
    if (wanted == 0) continue;
    const auto inferred = infer_type(*node);
    if (!inferred.ok()) return rule_broken(function, *node, "{}", inferred.error().message());
    if (*inferred != node->result()->type)
      return rule_broken(function, *node, "result is {}, {} gives {}", node->result()->type.str(), node->info().name, inferred->str());
  }
  for (const Node* node : function.body().nodes())
    if (node->body()) HEDDLE_TRY(check_group_results(function, *node));
  return {};
}

Result<void> check_after(const Function& function) {
  auto look = [&](const Block& block) -> Result<void> {
    llvm::DenseSet<const Node*> earlier;
    for (const Node* node : block.nodes()) {
      for (const Node* awaited : node->after) {
        if (!earlier.contains(awaited))
          return rule_broken(function, *node, "waits for '{}', which is no earlier node of its block", head(*awaited));
        if (awaited->results().empty())
          return rule_broken(function, *node, "waits for '{}', which has no result to name it by", head(*awaited));
      }
      earlier.insert(node);
    }
    return {};
  };
  HEDDLE_TRY(look(function.body()));
  for (const Node* node : function.body().nodes())
    if (node->body()) HEDDLE_TRY(look(*node->body()));
  return {};
}

bool is_name(std::string_view name) { return !name.empty() && std::all_of(name.begin(), name.end(), is_name_char); }

Result<void> check_names(const Function& function) {
  if (!is_name(function.name)) return rule_broken(function, "a function's name is made of [A-Za-z0-9_.-]");
  llvm::DenseSet<llvm::StringRef> taken;
  auto look = [&](const Value& value) -> Result<void> {
    if (value.name.empty()) return {};
    if (!is_name(value.name)) return rule_broken(function, "value '{}': a value's name is made of [A-Za-z0-9_.-]", value.name);
    if (!taken.insert(value.name).second) return rule_broken(function, "value %{}: two values have this name", value.name);
    return {};
  };
  for (const Value* argument : function.arguments()) {
    if (argument->name.empty()) return rule_broken(function, "argument {} has no name", argument->index());
    HEDDLE_TRY(look(*argument));
  }
  for (const Node* node : function.all_nodes())
    for (const Value* result : node->results()) HEDDLE_TRY(look(*result));
  return {};
}

Result<void> check_module_types(const Module& module) {
  for (const Value* weight : module.weights()) {
    if (auto checked = check_type(weight->type); !checked.ok()) return error("weight @{}: {}", weight->name, checked.error().message());
    if (weight->type.state) return error("weight @{}: is a state, wants a tensor", weight->name);
  }
  return {};
}

Result<void> check_module_names(const Module& module) {
  llvm::StringSet<> taken;
  for (const Value* weight : module.weights()) {
    if (!is_name(weight->name)) return error("weight '{}': a weight's name is made of [A-Za-z0-9_.-]", weight->name);
    if (!taken.insert(weight->name).second) return error("weight @{}: two weights have this name", weight->name);
  }
  taken.clear();
  for (const auto& function : module.functions())
    if (!taken.insert(function->name).second) return error("function '{}': two functions have this name", function->name);
  return {};
}

Result<void> nothing(const Module&) { return {}; }

struct Rule {
  RuleInfo info;
  Result<void> (*function)(const Function&);
  Result<void> (*module)(const Module&) = nothing;
};
constexpr Rule rules[] = {
    {{"operands", "a node has the operands and attributes of its row in ops.def"}, check_operands},
    {{"terminators", "a function ends with ret, the body of a group with yield; neither stands elsewhere"}, check_terminators},
    {{"groups", "groups do not nest and are not empty"}, check_groups},
    {{"dominance", "a node reads weights of its module, arguments and results of earlier nodes; what is in a group is read only there"},
     check_dominance},
    {{"types", "types are well formed; a result has the type that its op's rule gives, a group's results those that its body yields"},
     check_types,
     check_module_types},
    {{"after", "a node waits only for earlier nodes of its own block"}, check_after},
    {{"names", "names are made of [A-Za-z0-9_.-] and are unique: weights and functions in the module, values in the function"},
     check_names,
     check_module_names},
    {{"states", "a version of a state is written at most once, after all its readers; the last version of every state is returned, once"},
     check_states},
    {{"placements",
      "places fit their values and the arena; values alive at the same time do not overlap, and who uses bytes again waits for those "
      "before; "
      "versions of a state share its bytes, and who replaces one waits for its readers"},
     check_placements},
};

}  // namespace

Result<void> verify(const Function& function) {
  for (const Rule& rule : rules) HEDDLE_TRY(rule.function(function));
  return {};
}

Result<void> verify(const Module& module) {
  for (const Rule& rule : rules) HEDDLE_TRY(rule.module(module));
  for (const auto& function : module.functions()) HEDDLE_TRY(verify(*function));
  return {};
}

std::span<const RuleInfo> verifier_rules() {
  static const auto infos = [] {
    std::array<RuleInfo, std::size(rules)> out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = rules[i].info;
    return out;
  }();
  return infos;
}

}  // namespace heddle::ir
