#include "codegen/spec.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/STLExtras.h>

#include <numeric>

#include "codegen/program_builder.h"
#include "runtime/plan/panels.h"

namespace heddle::codegen {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// A group's nodes by their place: before the loop, the loops themselves, after them. Constants have no place: they go where they are read.
struct Places {
  std::vector<const Node*> before, anchors, after;
  llvm::DenseMap<const Node*, bool> is_after;
};

bool depends_on(const Node& node, const llvm::DenseSet<const Node*>& set) {
  return llvm::any_of(node.operands(), [&](Value* value) { return value->producer() && set.contains(value->producer()); });
}

std::variant<Places, Refusal> places_of(const Node& group) {
  Places places;
  llvm::DenseSet<const Node*> anchors, after, before;
  const auto nodes = group.body()->nodes();
  for (const Node* node : nodes) {
    if (node->has(ir::terminator) || node->op() == Op::constant) continue;
    const bool reads_loop = depends_on(*node, anchors) || depends_on(*node, after);
    if (node->has(ir::anchor)) {
      if (reads_loop) return Refusal{node, "it reads the result of another loop in the same kernel"};
      if (!places.anchors.empty() && places.anchors.front()->op() != node->op())
        return Refusal{node, fmt::format("one kernel has one kind of loop, and {} is there already", places.anchors.front()->info().name)};
      places.anchors.push_back(node);
      anchors.insert(node);
    } else if (reads_loop) {
      places.after.push_back(node);
      after.insert(node);
    } else {
      places.before.push_back(node);
    }
  }
  return places;
}

/// Everything under construction: the spec and the IR value behind each argument.
struct Assembly {
  const Node& group;
  SpecOfGroup out;
  ArgTable args{out};

  explicit Assembly(const Node& group) : group(group) {}

  plan::Part& add_part(std::int64_t n) {
    plan::Part& part = out.spec.parts.emplace_back();
    part.n = n;
    return part;
  }
  /// Of the parts in order.
  void set_epilogue(unsigned part, ProgramBuilder& program) {
    out.spec.parts[part].epilogue = program.take();
    out.programs.push_back(program.nodes());
  }
};

/// Columns that `node` must see together when it stands after a loop; 0 if it cannot stand there.
std::int64_t columns_needed(const Node& node) {
  const std::int64_t n = node.operands().empty() ? 1 : node.operand(0)->type.width();
  if (node.has(ir::elementwise)) return 1;
  if (node.has(ir::blockwise)) return heddle::info(node.result()->type.dtype).elements;
  if (node.has(ir::row_pair)) return node.i64("head_dim");
  if (node.op() == Op::rms_norm && node.operand("gain")->type.width() < n) return node.operand("gain")->type.width();
  return 0;
}

/// Appends the nodes after the loop to the program of the part they belong to, with the stores of what leaves the group.
/// `part_of(value)`: the part a value is computed in, or null.
std::optional<Refusal> append_epilogue(Assembly& a, const Places& places, llvm::DenseMap<const Value*, unsigned>& part_of,
                                       std::vector<ProgramBuilder>& programs, bool whole_rows) {
  auto part_of_node = [&](const Node& node) -> std::variant<unsigned, Refusal> {
    std::optional<unsigned> part;
    for (Value* value : node.operands())
      if (auto found = part_of.find(value); found != part_of.end()) {
        if (part && *part != found->second) return Refusal{&node, "it joins columns of products of different widths"};
        part = found->second;
      }
    HEDDLE_CHECK(part, "{} after the loop reads nothing of it", node.info().name);
    return *part;
  };

  for (const Node* node : places.after) {
    if (node->op() == Op::kv_store) {
      const unsigned state = a.args.of(*node->operand("kv"), plan::ArgRole::state);
      a.out.spec.args[state].written = true;
      a.args.use_row_inputs(node->operand("slot"), node->operand("pos"));
      for (auto [name, kind] : {std::pair{"k", plan::StoreKind::cache_key}, std::pair{"v", plan::StoreKind::cache_value}}) {
        auto part = part_of.find(node->operand(name));
        if (part == part_of.end()) return Refusal{node, fmt::format("its {} does not come out of this loop", name)};
        if (auto refusal = programs[part->second].store(*node, *node->operand(name), kind, state)) return refusal;
      }
      continue;
    }
    auto part = part_of_node(*node);
    if (auto* refusal = std::get_if<Refusal>(&part)) return *refusal;
    const unsigned index = std::get<unsigned>(part);
    plan::Part& spec = a.out.spec.parts[index];
    const std::int64_t columns = columns_needed(*node);
    if (columns == 0 && !whole_rows) return Refusal{node, fmt::format("{} after the loop needs whole rows", node->info().name)};
    if (columns > 0) spec.granule = std::lcm(spec.granule, columns);
    const plan::Gemm* loop = a.out.spec.gemm();
    const std::int64_t n = loop && loop->gates < 0 ? spec.n / loop->chosen : spec.n;  // of one expert
    if (n % spec.granule != 0)
      return Refusal{
          node, fmt::format("{} works on {} columns together, which do not divide the {} of the loop", node->info().name, spec.granule, n)};
    if (auto refusal = programs[index].append(*node)) return refusal;
    part_of[node->result()] = index;
  }

  const Node* yield = a.group.body()->terminator();
  for (unsigned i = 0; i < yield->operands().size(); ++i) {
    const Value* value = yield->operand(i);
    if (value->type.state) continue;
    auto part = part_of.find(value);
    if (part == part_of.end())
      return Refusal{value->producer() ? value->producer() : yield, "it is computed before the loop and read outside"};
    const unsigned arg = a.args.of(*a.group.result(i), plan::ArgRole::buffer);
    a.out.spec.args[arg].written = true;
    if (auto refusal = programs[part->second].store(*yield, *value, plan::StoreKind::buffer, arg)) return refusal;
  }
  return std::nullopt;
}

std::optional<Refusal> gemm(Assembly& a, const Places& places) {
  auto& spec = a.out.spec;
  plan::Gemm& loop = spec.loop.emplace<plan::Gemm>();
  const Node& first = *places.anchors.front();
  const Value *x = first.operand("x"), *experts = first.operand("experts"), *gates = first.operand("gates");
  for (const Node* node : places.anchors) {
    if (node->operand("x") != x) return Refusal{node, "it multiplies another activation than the first product"};
    if (node->operand("experts") != experts || node->operand("gates") != gates)
      return Refusal{node, "it has other experts than the first product"};
  }
  loop.k = first.operand("w")->type.width();
  if (experts) {
    loop.experts = int(a.args.of(*experts, plan::ArgRole::buffer));
    loop.chosen = experts->type.width();
  }
  if (gates) loop.gates = int(a.args.of(*gates, plan::ArgRole::buffer));
  loop.activations = x->type.dtype;

  ProgramBuilder prologue(a.args, nullptr);
  for (const Node* node : places.before) {
    if (!node->has(ir::elementwise) && !node->has(ir::row_wise))
      return Refusal{node, fmt::format("{} cannot stand before a product", node->info().name)};
    if (node->has(ir::gather)) return Refusal{node, "rows cannot be gathered before a product"};
    if (auto refusal = prologue.append(*node)) return refusal;
  }
  if (auto refusal = prologue.require(*places.anchors.front(), *x)) return refusal;
  loop.activation = prologue.number_of(*x);

  // Products whose results meet in an elementwise op share a part.
  std::vector<unsigned> root(places.anchors.size());
  std::iota(root.begin(), root.end(), 0u);
  llvm::DenseMap<const Value*, unsigned> anchor_of;
  for (unsigned i = 0; i < places.anchors.size(); ++i) anchor_of[places.anchors[i]->result()] = i;
  auto find = [&](unsigned i) {
    while (root[i] != i) i = root[i];
    return i;
  };
  for (const Node* node : places.after) {
    if (node->op() == Op::kv_store) continue;
    std::optional<unsigned> first;
    for (Value* value : node->operands())
      if (auto found = anchor_of.find(value); found != anchor_of.end()) {
        const unsigned r = find(found->second);
        if (first && *first != r) {
          if (places.anchors[*first]->result()->type != places.anchors[r]->result()->type)
            return Refusal{node, "it joins columns of products of different widths"};
          root[std::max(*first, r)] = std::min(*first, r);
        }
        first = first ? std::min(*first, r) : r;
      }
    if (first) anchor_of[node->result()] = *first;
  }

  llvm::DenseMap<unsigned, unsigned> part_of_root;
  llvm::DenseMap<const Value*, unsigned> part_of;
  std::vector<ProgramBuilder> programs;
  for (unsigned i = 0; i < places.anchors.size(); ++i) {
    const Node& anchor = *places.anchors[i];
    const unsigned r = find(i);
    if (!part_of_root.contains(r)) {
      part_of_root[r] = unsigned(spec.parts.size());
      a.add_part(anchor.result()->type.width());
      programs.emplace_back(a.args, &prologue);
    }
    const unsigned part = part_of_root[r];
    const plan::Segment segment{a.args.of(*anchor.operand("w"), plan::ArgRole::weight)};
    programs[part].define_loop(*anchor.result(), unsigned(spec.parts[part].segments.size()));
    spec.parts[part].segments.push_back(segment);
    part_of[anchor.result()] = part;
  }
  if (auto refusal = append_epilogue(a, places, part_of, programs, false)) return refusal;
  loop.prologue = prologue.take();
  a.out.programs.push_back(prologue.nodes());
  for (unsigned i = 0; i < programs.size(); ++i) a.set_epilogue(i, programs[i]);
  return std::nullopt;
}

/// A row of every value by one index: nothing is computed.
std::optional<Refusal> select(Assembly& a, const Places& places) {
  plan::GatherRows& loop = a.out.spec.loop.emplace<plan::GatherRows>();
  const Node& first = *places.before.front();
  loop.rows = first.operand("x")->type.shape[0];
  const Value& index = *first.operand("index");
  if (!index.is_argument() || index.name != "last")
    return Refusal{&first, fmt::format("rows are taken by %last alone, not by %{}", index.name)};
  loop.index = a.args.of(index, plan::ArgRole::last);
  const Node* yield = a.group.body()->terminator();
  for (const Node* node : places.before) {
    if (node->op() != Op::select_rows) return Refusal{node, "it stands with the taking of rows, which computes nothing"};
    const Value& x = *node->operand("x");
    if (node->operand("index") != &index || x.type.shape[0] != loop.rows)
      return Refusal{node, "it takes rows by another index, or of others"};
    const bool slot = x.is_argument() && x.name == "slot", pos = x.is_argument() && x.name == "pos";
    if (x.type.dtype == DType::i32 && !slot && !pos)
      return Refusal{node, fmt::format("of integers it takes slots and positions, not %{}", x.name)};
    const auto role = slot ? plan::ArgRole::slots : pos ? plan::ArgRole::positions : plan::ArgRole::buffer;
    for (unsigned i = 0; i < yield->operands().size(); ++i) {
      if (yield->operand(i) != node->result()) continue;
      plan::GatherRows::Pair& pair = loop.pairs.emplace_back();
      pair.from = a.args.of(x, role);
      pair.to = a.args.of(*a.group.result(i), role);
      a.out.spec.args[pair.to].written = true;
    }
  }
  return std::nullopt;
}

/// top_k and the gates of what it chose, both of which leave the kernel.
std::optional<Refusal> route(Assembly& a, const Places& places) {
  const Node& top = *places.anchors.front();
  if (places.anchors.size() > 1) return Refusal{places.anchors[1], "one kernel holds one top_k"};
  if (!places.before.empty()) return Refusal{places.before.front(), "nothing can stand before top_k"};
  if (places.after.size() != 1 || places.after.front()->op() != Op::expert_gates)
    return Refusal{places.after.empty() ? &top : places.after.back(), "top_k is emitted with the gates of its experts alone"};
  const Node& gates = *places.after.front();
  if (gates.operand("x") != top.operand("x")) return Refusal{&gates, "its logits are not those of top_k"};
  plan::TopExperts& loop = a.out.spec.loop.emplace<plan::TopExperts>();
  loop.normalized = gates.i64("normalized") != 0;
  loop.logits = a.args.of(*top.operand("x"), plan::ArgRole::buffer);
  const Node* yield = a.group.body()->terminator();
  const auto written = [&](const Node& node) -> std::optional<unsigned> {
    for (unsigned i = 0; i < yield->operands().size(); ++i)
      if (yield->operand(i) == node.result()) {
        const unsigned arg = a.args.of(*a.group.result(i), plan::ArgRole::buffer);
        a.out.spec.args[arg].written = true;
        return arg;
      }
    return std::nullopt;
  };
  const auto experts = written(top), weights = written(gates);
  if (!experts || !weights || yield->operands().size() != 2) return Refusal{&top, "the kernel gives experts and gates"};
  loop.experts = *experts;
  loop.gates = *weights;
  return std::nullopt;
}

/// attention and embed: one loop, whose result an epilogue may change.
std::optional<Refusal> single_loop(Assembly& a, const Places& places) {
  const Node& anchor = *places.anchors.front();
  if (places.anchors.size() > 1) return Refusal{places.anchors[1], fmt::format("one kernel holds one {}", anchor.info().name)};
  if (!places.before.empty()) return Refusal{places.before.front(), fmt::format("nothing can stand before {}", anchor.info().name)};
  auto& spec = a.out.spec;
  const std::int64_t n = anchor.result()->type.width();
  plan::Part& part = a.add_part(n);
  if (anchor.op() == Op::attention) {
    plan::Attention& loop = spec.loop.emplace<plan::Attention>();
    loop.q = a.args.of(*anchor.operand("q"), plan::ArgRole::buffer);
    loop.kv = a.args.of(*anchor.operand("kv"), plan::ArgRole::state);
    loop.heads = anchor.i64("heads"), loop.kv_heads = anchor.i64("kv_heads"), loop.head_dim = anchor.i64("head_dim");
    loop.scale = anchor.f32("scale"), loop.window = anchor.i64("window"), loop.softcap = anchor.f32("softcap");
    loop.selected = !anchor.operand("slot")->is_argument() || !anchor.operand("pos")->is_argument();
    a.args.use_row_inputs(anchor.operand("slot"), anchor.operand("pos"));
    part.granule = loop.head_dim;
  } else {
    plan::Embed& loop = spec.loop.emplace<plan::Embed>();
    loop.table = a.args.of(*anchor.operand("table"), plan::ArgRole::weight);
    loop.tokens = a.args.of(*anchor.operand("tokens"), plan::ArgRole::tokens);
  }
  llvm::DenseMap<const Value*, unsigned> part_of{{anchor.result(), 0}};
  std::vector<ProgramBuilder> programs;
  programs.emplace_back(a.args, nullptr);
  programs[0].define_loop(*anchor.result(), 0);
  if (auto refusal = append_epilogue(a, places, part_of, programs, false)) return refusal;
  if (spec.attention() && part.granule != spec.attention()->head_dim)
    return Refusal{places.after.front(),
                   fmt::format("it works on {} columns together, and a head has {}", part.granule, spec.attention()->head_dim)};
  a.set_epilogue(0, programs[0]);
  return std::nullopt;
}

/// Values that elementwise and row-wise ops join are columns of one part; a cache store joins none, it takes keys and values as they come.
class Joined {
 public:
  explicit Joined(llvm::ArrayRef<const Node*> nodes) {
    for (const Node* node : nodes) {
      const Value* first = nullptr;
      const auto add = [&](const Value* value) {
        if (!is_row(*value)) return;
        parent_.try_emplace(value, value);
        if (node->op() == Op::kv_store) return;
        if (first) parent_[root(value)] = root(first);
        first = value;
      };
      for (const Value* value : node->operands()) add(value);
      for (unsigned i = 0; i < node->results().size(); ++i) add(node->result(i));
    }
  }
  static bool is_row(const Value& value) { return !value.type.state && !value.is_weight() && value.type.dtype != DType::i32; }
  const Value* root(const Value* value) const {
    while (parent_.lookup(value) != value) value = parent_.lookup(value);
    return value;
  }

 private:
  llvm::DenseMap<const Value*, const Value*> parent_;
};

std::optional<Refusal> rowwise(Assembly& a, Places& places) {
  a.out.spec.loop = plan::Rowwise{};
  if (places.before.empty()) return Refusal{&a.group, "there is nothing to compute"};
  const Joined joined(places.before);
  llvm::DenseMap<const Value*, unsigned> part_of_root, part_of;
  for (const Node* node : places.before) {
    if (!node->has(ir::elementwise) && !node->has(ir::row_wise) && !node->has(ir::state_write))
      return Refusal{node, fmt::format("{} is no row-wise op", node->info().name)};
    if (node->has(ir::gather)) return Refusal{node, "rows are taken by a kernel of their own"};
    for (const Value* value : node->operands()) {
      if (!Joined::is_row(*value)) continue;
      const auto [place, is_new] = part_of_root.try_emplace(joined.root(value), unsigned(a.out.spec.parts.size()));
      if (is_new) a.add_part(1);
      plan::Part& part = a.out.spec.parts[place->second];
      part.n = std::max(part.n, value->type.width());
      part_of.try_emplace(value, place->second);
    }
  }
  // Everything is "after the loop" of a kernel that has none: values enter as rows.
  std::vector<ProgramBuilder> programs;
  for (plan::Part& part : a.out.spec.parts) {
    part.granule = part.n;
    programs.emplace_back(a.args, nullptr);
  }
  places.after = std::move(places.before);
  if (auto refusal = append_epilogue(a, places, part_of, programs, true)) return refusal;
  for (unsigned i = 0; i < programs.size(); ++i) {
    a.out.spec.parts[i].granule = a.out.spec.parts[i].n;
    a.set_epilogue(i, programs[i]);
  }
  return std::nullopt;
}

/// Rows of a value that has one for each of the kernel's; 0: it has none (a constant, a state).
std::int64_t rows_of(const Value& value) {
  const ir::Shape& shape = value.type.shape;
  if (value.type.state || shape.empty() || (shape.size() == 1 && value.type.dtype != DType::i32)) return 0;
  return shape[0];
}

/// The rows that all of a group's nodes have in common; without any those of its function, where it stands in one.
std::variant<std::int64_t, Refusal> rows_of(const Node& group) {
  std::int64_t rows = 0;
  for (const Node* node : group.body()->nodes()) {
    if (node->has(ir::terminator)) continue;
    const std::int64_t here = rows_of(node->has(ir::state_write) ? *node->operand("k") : *node->result());
    if (here != 0 && rows != 0 && here != rows) return Refusal{node, fmt::format("it has {} rows, what stands before it {}", here, rows)};
    rows = std::max(rows, here);
  }
  if (rows > 0) return rows;
  return group.block() ? group.block()->function()->rows : 1;
}

}  // namespace

std::variant<SpecOfGroup, Refusal> spec_of(const Node& group) {
  HEDDLE_CHECK(group.op() == Op::group);
  const auto rows = rows_of(group);
  if (auto* refusal = std::get_if<Refusal>(&rows)) return *refusal;
  auto places = places_of(group);
  if (auto* refusal = std::get_if<Refusal>(&places)) return *refusal;
  Places& p = std::get<Places>(places);
  Assembly a(group);
  a.out.loop = p.anchors;
  std::optional<Refusal> refusal;
  if (p.anchors.empty() && !p.before.empty() && p.before.front()->op() == Op::select_rows) refusal = select(a, p);
  else if (p.anchors.empty()) refusal = rowwise(a, p);
  else if (p.anchors.front()->op() == Op::matmul) refusal = gemm(a, p);
  else if (p.anchors.front()->op() == Op::top_k) refusal = route(a, p);
  else refusal = single_loop(a, p);
  if (refusal) return *refusal;
  a.out.spec.rows = std::get<std::int64_t>(rows);
  a.out.spec.name = name_of(a.out.spec);
  return std::move(a.out);
}

const Node* SpecOfGroup::node_of(const Refusal& refused) const {
  if (refused.instr) return programs[refused.instr->program][refused.instr->index];
  return refused.op.empty() || loop.empty() ? nullptr : loop.back();
}

}  // namespace heddle::codegen
