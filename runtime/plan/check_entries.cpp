#include <algorithm>
#include <cmath>

#include "ir/base/shape.h"
#include "runtime/plan/check_parts.h"

/// Entry points: ports, nodes, edges, arena ranges.
namespace heddle::plan {
namespace {

constexpr std::string_view input_names[] = {"tokens", "slot", "pos", "last"};

bool is_prompt(const EntryPoint& entry) { return entry.kind == EntryKind::prompt; }

Result<void> check_ports(const EntryPoint& entry, const Plan& plan, const Place& place) {
  const std::int64_t vocabulary = plan.model.vocabulary;
  const std::span<const std::string_view> names = std::span(input_names).first(is_prompt(entry) ? 4 : 3);
  if (entry.inputs.size() != names.size()) return fail(place, "{} inputs, wanted {}", entry.inputs.size(), fmt::join(names, ", "));
  HEDDLE_TRY(check_each(entry.inputs, &place, "inputs", [&](const Port& port, const Place& at) -> Result<void> {
    const std::string_view wanted = input_names[std::size_t(at.index)];
    const std::int64_t rows = wanted == "last" ? 1 : entry.rows;
    if (port.name != wanted || port.dtype != DType::i32 || port.shape != std::vector{rows})
      return fail(at, "is {} {}[{}], wanted {} i32[{}]", port.name, port.dtype, fmt::join(port.shape, ", "), wanted, rows);
    return {};
  }));
  const std::size_t outputs = entry.kind == EntryKind::prefill ? 0 : 1;
  const std::int64_t rows = is_prompt(entry) ? 1 : entry.rows;
  if (entry.outputs.size() != outputs) return fail(place, "{} outputs, kind '{}' has {}", entry.outputs.size(), entry.kind, outputs);
  return check_each(entry.outputs, &place, "outputs", [&](const Port& port, const Place& at) -> Result<void> {
    if (port.dtype != DType::f32 || port.shape != std::vector{rows, vocabulary})
      return fail(at, "is {}[{}], wanted f32[{}, {}]", port.dtype, fmt::join(port.shape, ", "), rows, vocabulary);
    return {};
  });
}

/// The thing in memory has the type that the kernel's argument says.
template <class T>
Result<void> check_same_type(const T& thing, const Arg& arg, const Place& place) {
  if (thing.dtype == arg.dtype && thing.shape == arg.shape) return {};
  return fail(place, "is {}[{}], the kernel wants {}[{}]", thing.dtype, fmt::join(thing.shape, ", "), arg.dtype,
              fmt::join(arg.shape, ", "));
}

Result<void> check_arena_range(const Ref& ref, const Arg& arg, const EntryPoint& entry, const Place& place) {
  const std::uint64_t bytes = std::uint64_t(bytes_of(arg.dtype, elements_of(arg.shape)));  // bounded by check_shape
  if (ref.index != 0) return fail(place, "index is {}, the arena is one", ref.index);
  if (ref.bytes != bytes) return fail(place, "has {} bytes, {}[{}] needs {}", ref.bytes, arg.dtype, fmt::join(arg.shape, ", "), bytes);
  if (ref.offset % arena_alignment != 0) return fail(place, "offset is {}, wanted a multiple of {}", ref.offset, arena_alignment);
  if (bytes > entry.arena_bytes || ref.offset > entry.arena_bytes - bytes)
    return fail(place, "bytes {} to {} + {}, the arena has {}", ref.offset, ref.offset, bytes, entry.arena_bytes);
  return {};
}

/// Where an argument of each role may lie.
bool may_lie(ArgRole role, Where where) {
  switch (role) {
    case ArgRole::weight:
      return where == Where::weight;
    case ArgRole::buffer:
      return where == Where::arena || where == Where::output;
    case ArgRole::state:
      return where == Where::state;
    case ArgRole::slots:
    case ArgRole::positions:
      return where == Where::input || where == Where::arena;
    case ArgRole::tokens:
    case ArgRole::last:
      return where == Where::input;
  }
  return false;
}

std::size_t input_of(ArgRole role) {
  return role == ArgRole::tokens ? 0 : role == ArgRole::slots ? 1 : role == ArgRole::positions ? 2 : 3;
}

Result<void> check_ref(const Ref& ref, const Arg& arg, const EntryPoint& entry, const Plan& plan, const Place& place) {
  if (!may_lie(arg.role, ref.where)) return fail(place, "lies in '{}', the kernel wants a {}", name(ref.where), name(arg.role));
  if (ref.where == Where::arena) return check_arena_range(ref, arg, entry, place);
  if (ref.offset != 0 || ref.bytes != 0) return fail(place, "offset {} and bytes {} are for the arena only", ref.offset, ref.bytes);
  const auto check_index = [&](std::size_t count) -> Result<void> {
    if (ref.index < count) return {};
    return fail(place, "{} {}, there are {}", name(ref.where), ref.index, count);
  };
  switch (ref.where) {
    case Where::arena:
      return {};
    case Where::weight:
      HEDDLE_TRY(check_index(plan.weights.size()));
      if (const Layout layout = plan.weights[ref.index].layout; layout != arg.layout)
        return fail(place, "layout is '{}', the kernel wants '{}'", layout, arg.layout);
      return check_same_type(plan.weights[ref.index], arg, place);
    case Where::state:
      HEDDLE_TRY(check_index(plan.states.size()));
      return check_same_type(plan.states[ref.index], arg, place);
    case Where::output:
      HEDDLE_TRY(check_index(entry.outputs.size()));
      return check_same_type(entry.outputs[ref.index], arg, place);
    case Where::input:
      HEDDLE_TRY(check_index(entry.inputs.size()));
      if (ref.index != input_of(arg.role))
        return fail(place, "is input '{}', the kernel wants '{}'", input_names[ref.index], input_names[input_of(arg.role)]);
      return check_same_type(entry.inputs[ref.index], arg, place);
  }
  return {};
}

bool share_bytes(const Ref& a, const Ref& b) {
  if (a.where != b.where) return false;
  if (a.where != Where::arena) return a.index == b.index;
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;  // both inside the arena
}

/// What a kernel writes is nothing else that it is given: its threads write in any order.
Result<void> check_overlaps(const Node& node, const KernelSpec& spec, const Place& place) {
  for (std::size_t i = 0; i < node.args.size(); ++i)
    for (std::size_t j = 0; j < node.args.size() && spec.args[i].written; ++j)
      if (i != j && share_bytes(node.args[i], node.args[j]))
        return fail(Place{&place, "args", std::int64_t(i)}, "is written and shares bytes with argument {}", j);
  return {};
}

/// `before`: nodes of the entry point that stand before this one.
Result<void> check_node(const Node& node, const EntryPoint& entry, const Plan& plan, std::size_t before, const Place& place) {
  if (node.kernel >= plan.kernels.size()) return fail(place, "kernel is {}, there are {}", node.kernel, plan.kernels.size());
  const KernelSpec& spec = plan.kernels[node.kernel].spec;
  if (spec.rows != std::int64_t(entry.rows) && !(is_prompt(entry) && spec.rows == 1))
    return fail(place, "kernel {} has {} rows, the entry point has {}", node.kernel, spec.rows, entry.rows);
  if (node.args.size() != spec.args.size())
    return fail(place, "{} arguments, kernel {} has {}", node.args.size(), node.kernel, spec.args.size());
  HEDDLE_TRY(check_each(node.args, &place, "args", [&](const Ref& ref, const Place& at) {
    return check_ref(ref, spec.args[std::size_t(at.index)], entry, plan, at);
  }));
  HEDDLE_TRY(check_overlaps(node, spec, place));
  for (const std::uint32_t first : node.after)
    if (first >= before) return fail(place, "runs after node {}, wanted an earlier one", first);
  return {};
}

/// Slots and positions in the arena are addresses into caches: those that a select took of the inputs, and nothing has written there since.
class SelectedRows {
 public:
  Result<void> check(const Node& node, const KernelSpec& spec, const Place& place) {
    bool from_arena = false;
    for (std::size_t i = 0; i < node.args.size(); ++i) {
      const Place at{&place, "args", std::int64_t(i)};
      const Arg& arg = spec.args[i];
      const Ref& ref = node.args[i];
      const bool per_row = arg.role == ArgRole::slots || arg.role == ArgRole::positions;
      if (!per_row || ref.where != Where::arena) continue;
      if (arg.written && !spec.gather_rows()) return fail(at, "a loop of kind {} writes {} to the arena", name(spec.loop), name(arg.role));
      if (arg.written) continue;
      from_arena = true;
      const auto same = [&](const Selected& one) { return one.role == arg.role && one.offset == ref.offset && one.bytes == ref.bytes; };
      if (std::ranges::none_of(selected_, same)) return fail(at, "no select before it put {} of inputs there", name(arg.role));
    }
    if (spec.attention() && spec.attention()->selected != from_arena)
      return fail(place, "its slots and positions lie in the {}, the kernel is for those in the {}", from_arena ? "arena" : "input",
                  from_arena ? "input" : "arena");
    if (spec.gather_rows() && from_arena) return fail(place, "a select takes slots and positions of the inputs, not of another select");
    for (std::size_t i = 0; i < node.args.size(); ++i) {
      const Ref& ref = node.args[i];
      if (!spec.args[i].written || ref.where != Where::arena) continue;
      std::erase_if(selected_, [&](const Selected& one) { return ref.offset < one.offset + one.bytes && one.offset < ref.offset + ref.bytes; });
      if (spec.args[i].role != ArgRole::buffer) selected_.push_back({spec.args[i].role, ref.offset, ref.bytes});
    }
    return {};
  }

 private:
  struct Selected {
    ArgRole role;
    std::uint64_t offset, bytes;
  };
  std::vector<Selected> selected_;
};

bool draws(const Node& node, const Plan& plan) { return plan.kernels[node.kernel].spec.sample(); }

/// The nodes that draw tokens, behind the others: one loop of kind sample, and what it needs.
Result<void> check_sampling(const EntryPoint& entry, const Plan& plan, const Place& place) {
  HEDDLE_TRY(check_each(entry.sampling, &place, "sampling", [&](const Node& node, const Place& at) -> Result<void> {
    HEDDLE_TRY(check_node(node, entry, plan, entry.nodes.size() + std::size_t(at.index), at));
    return SelectedRows().check(node, plan.kernels[node.kernel].spec, at);
  }));
  if (entry.sampling.empty()) return {};
  if (entry.kind != EntryKind::decode) return fail(place, "sampling is there, kind '{}' draws no tokens", entry.kind);
  const auto loops = std::ranges::count_if(entry.sampling, [&](const auto& node) { return draws(node, plan); });
  if (loops != 1) return fail(place, "sampling has {} loops of kind sample, wanted one", loops);
  return {};
}

}  // namespace

Result<void> check_entry(const EntryPoint& entry, const Plan& plan, const Place& place) {
  if (entry.name.empty()) return fail(place, "name is empty");
  if (entry.kind != EntryKind::decode && entry.kind != EntryKind::prefill && entry.kind != EntryKind::prompt)
    return fail(place, "kind is '{}', wanted decode, prefill or prompt", entry.kind);
  if (entry.rows < 1 || entry.rows > max_rows) return fail(place, "rows is {}, wanted 1 to {}", entry.rows, max_rows);
  if (entry.arena_bytes > std::uint64_t(max_elements))
    return fail(place, "arena_bytes is {}, at most {} are possible", entry.arena_bytes, max_elements);
  if (!std::isfinite(entry.microseconds) || entry.microseconds < 0)
    return fail(place, "microseconds is {}, wanted a finite number of at least 0", entry.microseconds);
  if (!std::isfinite(entry.key_microseconds) || entry.key_microseconds < 0)
    return fail(place, "key_microseconds is {}, wanted a finite number of at least 0", entry.key_microseconds);
  HEDDLE_TRY(check_ports(entry, plan, place));
  SelectedRows selected;
  HEDDLE_TRY(check_each(entry.nodes, &place, "nodes", [&](const Node& node, const Place& at) -> Result<void> {
    HEDDLE_TRY(check_node(node, entry, plan, std::size_t(at.index), at));
    if (draws(node, plan)) return fail(at, "kernel {} is a loop of kind sample, which belongs to the sampling nodes", node.kernel);
    return selected.check(node, plan.kernels[node.kernel].spec, at);
  }));
  HEDDLE_TRY(check_sampling(entry, plan, place));
  std::vector<bool> written(entry.outputs.size());
  for (const auto& node : entry.nodes)
    for (std::size_t i = 0; i < node.args.size(); ++i)
      if (node.args[i].where == Where::output && plan.kernels[node.kernel].spec.args[i].written) written[node.args[i].index] = true;
  for (std::size_t i = 0; i < written.size(); ++i)
    if (!written[i]) return fail(Place{&place, "outputs", std::int64_t(i)}, "no node writes it");
  return {};
}

}  // namespace heddle::plan
