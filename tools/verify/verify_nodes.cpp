#include "tools/verify/verify_nodes.h"

#include <fmt/ranges.h>
#include <llvm/ADT/STLExtras.h>

#include <algorithm>
#include <cmath>

#include "codegen/backend.h"
#include "ir/text/text.h"
#include "tools/verify/device_values.h"
#include "tools/verify/plan_weights.h"

namespace heddle::tools {
namespace {

using ir::Value;
using ir::interp::Cache;
using ir::interp::Evaluated;
using ir::interp::Interpreter;
using ir::interp::Known;
using ir::interp::Tensor;

/// A value as the device holds it.
struct Held {
  Bytes bytes;
  std::optional<Tensor> tensor;
  std::optional<Cache> cache;  // of a state
};

Tensor integers(const std::vector<std::int32_t>& values) { return {{DType::i32, {std::int64_t(values.size())}}, {}, values}; }

/// Gives integers (experts of a row) their values as floats as well, by which all is compared.
Tensor as_numbers(Tensor tensor) {
  if (tensor.type.dtype == DType::i32) tensor.f.assign(tensor.i.begin(), tensor.i.end());
  return tensor;
}
Evaluated as_numbers(Evaluated values) {
  for (auto& [value, tensor] : values.tensors) tensor = as_numbers(std::move(tensor));
  return values;
}

std::int64_t most_different_in_a_row(const Tensor& a, const Tensor& b) {
  std::int64_t most = 0;
  const std::int64_t width = a.type.width();
  for (std::int64_t begin = 0; begin < std::int64_t(a.f.size()); begin += width) {
    std::int64_t count = 0;
    for (std::int64_t i = begin; i < begin + width; ++i) count += a.f[i] != b.f[i];
    most = std::max(most, count);
  }
  return most;
}

/// Checks one entry point.
class EntryVerifier {
 public:
  EntryVerifier(runtime::NodeDevice& device, const plan::Plan& plan, std::size_t entry, const ir::Function& function,
                const ir::Function* reference, Interpreter& interpreter, Interpreter& reference_interpreter, std::int64_t context)
      : device_(device),
        plan_(plan),
        entry_(entry),
        function_(function),
        reference_(reference),
        interpreter_(interpreter),
        reference_interpreter_(reference_interpreter),
        context_(context) {
    report_.entry = function.name;
    const ir::Block& body = function.body();
    for (std::size_t i = 0; i + 1 < body.size(); ++i) {
      NodeCheck& node = report_.nodes.emplace_back();
      node.node = i;
      const plan::KernelSpec& spec = plan.kernels[plan.entries[entry].nodes[i].kernel].spec;
      const bool halves = codegen::backend(plan.backend).multiplies_halves(spec);
      node.kernel = spec.name;
      node.label = body[i].str("label");
      for (const Value* value : body[i].results())
        node.values.push_back({value->name, value->type.dtype, tolerance_of(value->type.dtype, halves), 0, {}, 0});
      for (unsigned r = 0; r < body[i].results().size(); ++r) results_[body[i].body()->terminator()->operand(r)] = body[i].result(r);
    }
    for (const Value* argument : function.arguments())
      if (argument->type.state) own_caches_.emplace(argument->name, Cache(argument->type, 1, context));
    if (!reference) return;
    for (const Value* argument : reference->arguments()) by_name_[argument->name] = argument;
    for (const ir::Node* node : reference->all_nodes())
      for (const Value* value : node->results()) by_name_[value->name] = value;
  }

  Result<EntryCheck> run(std::span<const std::int32_t> ids) {
    const std::size_t rows = plan_.entries[entry_].rows;
    for (std::size_t begin = 0; begin < ids.size(); begin += rows, ++report_.steps) {
      std::vector<runtime::StepRow> step(rows);
      for (std::size_t i = 0; i < std::min(rows, ids.size() - begin); ++i) step[i] = {ids[begin + i], 0, std::int32_t(begin + i)};
      HEDDLE_TRY(take(step));
    }
    return std::move(report_);
  }

 private:
  Result<void> take(const std::vector<runtime::StepRow>& step) {
    std::vector<std::int32_t> tokens, slots, positions;
    live_.clear();
    for (const runtime::StepRow& row : step) {
      tokens.push_back(row.token), slots.push_back(row.slot), positions.push_back(row.position);
      live_.push_back(row.slot >= 0);
      if (row.slot >= 0) filled_ = std::int64_t(row.position) + 1;
    }
    const std::map<std::string, Tensor> arguments = {{"tokens", integers(tokens)},
                                                     {"slot", integers(slots)},
                                                     {"pos", integers(positions)},
                                                     {"last", integers({runtime::last_row(step)})}};
    const auto last = std::find(live_.rbegin(), live_.rend(), true);
    interpreter_.live_rows = reference_interpreter_.live_rows = live_.rend() - last;
    HEDDLE_TRY(run_own(arguments));
    held_.clear();
    for (const Value* argument : function_.arguments()) {
      if (argument->type.state) {
        HEDDLE_ASSIGN(held_[argument], take_from_device(*argument));
      } else if (const auto found = arguments.find(argument->name); found != arguments.end()) {
        held_[argument].tensor = found->second;
      }
    }
    HEDDLE_TRY(look_at_inputs(0));
    return device_.run_nodes(entry_, step, [&](std::size_t node) -> Result<void> {
      HEDDLE_TRY(check(node));
      if (node + 1 < report_.nodes.size()) HEDDLE_TRY(look_at_inputs(node + 1));
      return {};
    });
  }

  /// The interpreter's own run of the whole step.
  Result<void> run_own(const std::map<std::string, Tensor>& arguments) {
    own_.clear();
    std::map<std::string, Cache*> caches;
    for (auto& [name, cache] : own_caches_) caches[name] = &cache;
    interpreter_.observe = [&](const Value& value, const Tensor& tensor) {
      if (const auto result = results_.find(&value); result != results_.end()) own_[result->second] = as_numbers(tensor);
    };
    auto ran = interpreter_.run(function_, arguments, caches);
    interpreter_.observe = nullptr;
    if (!ran.ok()) return ran.take_error();
    return {};
  }

  /// Reads a value from where the plan puts it.
  Result<Held> take_from_device(const Value& value) const {
    Held held;
    HEDDLE_ASSIGN(const plan::Ref ref, place_of(value, function_, plan_));
    HEDDLE_ASSIGN(held.bytes, device_.read(entry_, ref));
    if (value.type.state) {
      HEDDLE_ASSIGN(held.cache, cache_of(value, 1, context_, held.bytes));
    } else {
      HEDDLE_ASSIGN(auto tensor, tensor_of(value, held.bytes));
      held.tensor = as_numbers(std::move(tensor));
    }
    return held;
  }

  /// What node `node` is about to read, which must still be what its producers left.
  Result<void> look_at_inputs(std::size_t node) {
    for (const Value* value : ir::inputs_of(function_.body()[node])) {
      if (value->is_weight() || value->placement.kind == ir::Placement::input) continue;
      HEDDLE_ASSIGN(Held held, take_from_device(*value));
      if (held.bytes != held_[value].bytes)
        fault(node, fmt::format("memory: %{} was overwritten before node {} reads it", value->name, node));
      held_[value] = std::move(held);
    }
    return {};
  }

  Result<void> check(std::size_t index) {
    const ir::Node& group = function_.body()[index];
    Known inputs;
    for (const Value* value : ir::inputs_of(group)) add_held(*value, *value, inputs);
    const std::vector<const Value*> results(group.results().begin(), group.results().end());
    Slice body(interpreter_, function_, results, inputs);
    HEDDLE_TRY(body.compute());

    // The same values of the IR before the passes, from whatever the device holds of it by name.
    Known before;
    std::vector<const Value*> originals;
    for (const auto& [value, held] : held_)
      if (const Value* same = original_of(*value)) add_held(*value, *same, before);
    for (const Value* value : results)
      if (const Value* same = original_of(*value)) originals.push_back(same);
    std::optional<Slice> original;
    if (!originals.empty()) {
      original.emplace(reference_interpreter_, *reference_, originals, before);
      HEDDLE_TRY(original->compute());
    }

    std::vector<Held> taken;  // not among the known values before all is computed from those
    for (const Value* value : results) {
      HEDDLE_ASSIGN(Held held, take_from_device(*value));
      taken.push_back(std::move(held));
    }
    for (unsigned i = 0; i < results.size(); ++i) {
      const Value& value = *results[i];
      ValueCheck& check = report_.nodes[index].values[i];
      HEDDLE_TRY(compare_with(index, value, taken[i], body, value, check.tolerance, check.kernel, "kernel"));
      if (const Value* same = original_of(value)) {
        if (!check.passes) check.passes = 0;
        HEDDLE_TRY(compare_with(index, value, taken[i], *original, *same, check.tolerance, *check.passes, "passes"));
      }
      check.accumulated = std::max(check.accumulated, worst_of(value, taken[i], own_wanted(value), filled_).error);
    }
    for (unsigned i = 0; i < results.size(); ++i) held_[results[i]] = std::move(taken[i]);
    return {};
  }

  /// The value of the IR before the passes that has this one's name; null: none.
  const Value* original_of(const Value& value) const {
    const auto found = by_name_.find(value.name);
    return found != by_name_.end() && found->second->type == value.type ? found->second : nullptr;
  }

  /// A slice of a function, as the interpreter computes it from known values.
  class Slice {
   public:
    Slice(Interpreter& interpreter, const ir::Function& function, std::vector<const Value*> wanted, const Known& known)
        : interpreter_(interpreter), function_(function), wanted_(std::move(wanted)), known_(known) {}

    Result<void> compute() {
      interpreter_.observe = [&](const Value& value, const Tensor& tensor) {
        if (value.producer() && value.producer()->op() == ir::Op::quantize) rounded_.emplace(&value, tensor);
      };
      auto plain = interpreter_.evaluate(function_, wanted_, known_);
      interpreter_.observe = nullptr;
      if (!plain.ok()) return plain.take_error();
      plain_ = as_numbers(std::move(*plain));
      return {};
    }

    Wanted of(const Value& value) const {
      const auto found = slack_.find(&value);
      return {of(plain_, value), found == slack_.end() ? std::span<const float>() : found->second};
    }

    /// Finds out what roundings to 8 bits that are too close to call may change. False when that is known already.
    Result<bool> find_slack() {
      if (rounded_.empty() || !slack_.empty()) return false;
      HEDDLE_TRY(add_class(1, 0));
      if (turned_ <= 1) return true;
      // Several at once may cancel out. So many classes, one after the other, that hardly two of a row's are in the same one.
      slack_.clear();
      const std::int64_t classes = turned_ <= 4 ? 13 : 61;
      for (std::int64_t which = 0; which < classes; ++which) HEDDLE_TRY(add_class(classes, which));
      return true;
    }

   private:
    static std::span<const float> of(const Evaluated& evaluated, const Value& value) {
      if (value.type.state) return evaluated.caches.at(&value)->data;
      return evaluated.tensors.at(&value).f;
    }

    Result<void> add_class(std::int64_t classes, std::int64_t which) {
      for (const double by : {rounding_nudge, -rounding_nudge}) {
        interpreter_.nudge = {by, classes, which};
        interpreter_.observe = [&](const Value& value, const Tensor& tensor) {
          if (const auto found = rounded_.find(&value); found != rounded_.end())
            turned_ = std::max(turned_, most_different_in_a_row(tensor, found->second));
        };
        auto nudged = interpreter_.evaluate(function_, wanted_, known_);
        interpreter_.nudge = {}, interpreter_.observe = nullptr;
        if (!nudged.ok()) return nudged.take_error();
        const Evaluated turned = as_numbers(std::move(*nudged));
        for (const Value* value : wanted_) {
          const std::span<const float> here = of(plain_, *value), there = of(turned, *value);
          std::vector<float>& sum = slack_[value];
          sum.resize(here.size());
          for (std::size_t i = 0; i < here.size(); ++i) sum[i] += std::abs(there[i] - here[i]);
        }
      }
      return {};
    }

    Interpreter& interpreter_;
    const ir::Function& function_;
    std::vector<const Value*> wanted_;
    const Known& known_;
    Evaluated plain_;
    std::map<const Value*, Tensor> rounded_;            // what quantize gave
    std::map<const Value*, std::vector<float>> slack_;  // by element
    std::int64_t turned_ = 0;                           // roundings of one row that a nudge turned, at most
  };

  void add_held(const Value& value, const Value& as, Known& known) const {
    const auto found = held_.find(&value);
    if (found == held_.end()) return;
    if (found->second.cache) known.caches[&as] = &*found->second.cache;
    if (found->second.tensor) known.tensors[&as] = &*found->second.tensor;
  }

  Wanted own_wanted(const Value& value) const {
    if (value.type.state) return {own_caches_.at(function_.arguments()[std::size_t(value.placement.offset)]->name).data};
    return {own_.at(&value).f};
  }

  /// Of a state the first `positions`.
  Worst worst_of(const Value& value, const Held& held, const Wanted& wanted, std::int64_t positions) const {
    // What has not a row for each of the step's is of the row that a prompt goes on with.
    const std::int64_t rows = value.type.shape.size() == 1 ? value.type.shape[0] : value.type.rows();
    const bool of_step = rows == std::int64_t(live_.size());
    if (!value.type.state)
      return compare(value.type.dtype, value.type.elements() / rows, held.tensor->f, wanted, of_step ? live_ : std::vector<bool>(std::size_t(rows), true));
    const std::int64_t width = value.type.shape[1] * value.type.shape[2];  // a position's keys, or its values
    std::vector<bool> live(std::size_t(2 * context_));
    std::fill_n(live.begin(), 2 * positions, true);
    return compare(value.type.dtype, width, held.cache->data, wanted, live);
  }

  Result<void> compare_with(std::size_t node, const Value& value, const Held& held, Slice& slice, const Value& as, double tolerance,
                            double& error, std::string_view judge) {
    Worst worst = worst_of(value, held, slice.of(as), context_);
    if (worst.error > tolerance) {
      HEDDLE_ASSIGN(const bool found, slice.find_slack());
      if (found) worst = worst_of(value, held, slice.of(as), context_);
    }
    error = std::max(error, worst.error);
    if (worst.error > tolerance)
      fault(node, fmt::format("{}: %{}[{}, {}] is {}, wanted {}: error {:.2g}, tolerance {:.2g}", judge, value.name, worst.row,
                              worst.column, worst.got, worst.wanted, worst.error, tolerance));
    return {};
  }

  void fault(std::size_t node, std::string what) {
    if (!report_.fault) report_.fault = Fault{report_.steps, node, std::move(what)};
  }

  runtime::NodeDevice& device_;
  const plan::Plan& plan_;
  const std::size_t entry_;
  const ir::Function& function_;
  const ir::Function* reference_;
  Interpreter& interpreter_;
  Interpreter& reference_interpreter_;
  const std::int64_t context_;
  EntryCheck report_;

  std::map<const Value*, const Value*> results_;  // what a group yields -> its result
  std::map<std::string, const Value*> by_name_;   // values of the reference
  std::map<std::string, Cache> own_caches_;       // of the interpreter's own run
  std::map<const Value*, Tensor> own_;            // of this step
  std::map<const Value*, Held> held_;             // of this step: all that the device has computed so far
  std::vector<bool> live_;                        // rows of this step
  std::int64_t filled_ = 0;                       // positions, this step's among them
};

}  // namespace

Result<std::vector<EntryCheck>> verify_nodes(runtime::NodeDevice& device, const plan::Plan& plan, std::span<const std::int32_t> ids,
                                             std::int64_t context, const VerifyOptions& options) {
  HEDDLE_ASSIGN(const auto module, ir::parse(plan.ir, "plan"));
  HEDDLE_ASSIGN(const auto weights, PlanWeights::open(plan));
  // Two, for a pass may give a weight's name to something else.
  Interpreter interpreter([&](const Value&weight) { return weights->read(weight); }), reference = interpreter;
  std::vector<EntryCheck> checks;
  for (const std::string& name : options.entries)
    if (!module->function(name)) return error("the plan has no entry point '{}'", name);
  for (std::size_t entry = 0; entry < plan.entries.size(); ++entry) {
    const std::string& name = plan.entries[entry].name;
    if (!options.entries.empty() && !llvm::is_contained(options.entries, name)) continue;
    const ir::Function* function = module->function(name);
    if (!function || function->body().size() != plan.entries[entry].nodes.size() + 1)
      return error("the plan's IR and its entry point {} are not the same", name);
    const ir::Function* original = options.reference ? options.reference->function(name) : nullptr;
    EntryVerifier verifier(device, plan, entry, *function, original, interpreter, reference, context);
    auto check = verifier.run(ids);
    if (!check.ok()) return check.take_error().at(name);
    checks.push_back(std::move(*check));
  }
  return checks;
}

const EntryCheck* first_fault(const std::vector<EntryCheck>& checks) {
  const auto found = std::ranges::find_if(checks, [](const EntryCheck& check) { return check.fault.has_value(); });
  return found == checks.end() ? nullptr : &*found;
}

}  // namespace heddle::tools
