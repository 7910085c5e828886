#include "tools/verify/reference_device.h"

#include <algorithm>
#include <map>

#include "ir/text/text.h"
#include "tools/verify/device_values.h"
#include "tools/verify/plan_weights.h"

namespace heddle::tools {
namespace {

using ir::interp::Cache;
using ir::interp::Tensor;

class ReferenceDevice : public runtime::NodeDevice {
 public:
  std::string description() const override { return "reference interpreter"; }

  Result<void> load(std::shared_ptr<const plan::Plan> plan, const runtime::Capacity& capacity, const runtime::Progress&) override {
    plan_ = std::move(plan);
    HEDDLE_ASSIGN(module_, ir::parse(plan_->ir, "plan"));
    HEDDLE_ASSIGN(weights_, PlanWeights::open(*plan_));
    for (const auto& state : plan_->states) {
      ir::Type type{state.dtype, ir::Shape(state.shape.begin(), state.shape.end()), true};
      caches_.emplace(state.name, Cache(type, capacity.slots, capacity.context));
    }
    for (const auto& entry : plan_->entries) arena_.resize(std::max(arena_.size(), std::size_t(entry.arena_bytes)));
    interpreter_ = std::make_unique<ir::interp::Interpreter>([this](const ir::Value& weight) { return weights_->read(weight); });
    return {};
  }

  Result<void> run(std::size_t entry, std::span<const runtime::StepRow> rows) override {
    HEDDLE_ASSIGN(const ir::Function* function, function_of(entry));
    std::map<std::string, Cache*> caches;
    for (auto& [name, cache] : caches_) caches[name] = &cache;
    interpreter_->live_rows = live_rows_of(rows);
    HEDDLE_ASSIGN(outputs_, interpreter_->run(*function, arguments_of(rows), caches));
    return {};
  }

  Result<std::span<const float>> logits(std::size_t, std::size_t row) override {
    if (outputs_.empty()) return error("the last step has no logits");
    const auto& out = outputs_.front();
    return std::span<const float>(out.f.data() + std::int64_t(row) * out.type.width(), std::size_t(out.type.width()));
  }

  Result<void> run_nodes(std::size_t entry, std::span<const runtime::StepRow> rows,
                         const std::function<Result<void>(std::size_t)>& after) override {
    HEDDLE_ASSIGN(const ir::Function* function, function_of(entry));
    interpreter_->live_rows = live_rows_of(rows);
    inputs_.clear();
    const auto arguments = arguments_of(rows);
    for (const auto& port : plan_->entries[entry].inputs) inputs_.push_back(bytes_of(arguments.at(port.name)));
    outputs_.assign(plan_->entries[entry].outputs.size(), {});
    for (std::size_t i = 0; i + 1 < function->body().size(); ++i) {
      HEDDLE_TRY(run_group(entry, *function, function->body()[i]));
      HEDDLE_TRY(after(i));
    }
    return {};
  }

  Result<std::vector<std::byte>> read(std::size_t, const plan::Ref& ref) override {
    switch (ref.where) {
      case plan::Where::arena:
        return Bytes(arena_.begin() + std::ptrdiff_t(ref.offset), arena_.begin() + std::ptrdiff_t(ref.offset + ref.bytes));
      case plan::Where::input:
        return inputs_[ref.index];
      case plan::Where::output:
        return bytes_of(outputs_[ref.index]);
      case plan::Where::state:
        return bytes_of(caches_.at(plan_->states[ref.index].name));
      case plan::Where::weight:
        break;
    }
    return error("the reference interpreter keeps no bytes of weights");
  }

  Result<std::vector<std::vector<double>>> time_kernels(std::size_t, std::span<const runtime::StepRow>, int) override { return no_time(); }
  runtime::KernelTiming how_kernels_are_timed() const override { return {"not", false}; }
  Result<std::vector<double>> time_step(std::size_t, std::span<const runtime::StepRow>, int) override { return no_time(); }
  Result<std::vector<runtime::NodeSpan>> trace_step(std::size_t, std::span<const runtime::StepRow>) override { return no_time(); }
  Result<runtime::ReadRate> read_rate() override { return no_time(); }

 private:
  static Error no_time() { return error("the reference interpreter keeps no time"); }

  Result<const ir::Function*> function_of(std::size_t entry) const {
    const ir::Function* function = module_->function(plan_->entries[entry].name);
    if (!function) return error("the plan's IR has no function {}", plan_->entries[entry].name);
    return function;
  }

  /// Rows up to the last that is not idle.
  static std::int64_t live_rows_of(std::span<const runtime::StepRow> rows) {
    while (!rows.empty() && rows.back().slot < 0) rows = rows.first(rows.size() - 1);
    return std::int64_t(rows.size());
  }

  static std::map<std::string, Tensor> arguments_of(std::span<const runtime::StepRow> rows) {
    std::map<std::string, Tensor> arguments;
    for (const char* name : {"tokens", "slot", "pos"}) {
      Tensor tensor{{DType::i32, {std::int64_t(rows.size())}}, {}, {}};
      for (const auto& row : rows) tensor.i.push_back(name[0] == 't' ? row.token : name[0] == 's' ? row.slot : row.position);
      arguments.emplace(name, std::move(tensor));
    }
    arguments.emplace("last", Tensor{{DType::i32, {1}}, {}, {runtime::last_row(rows)}});  // of a prompt
    return arguments;
  }

  Cache& cache_behind(const ir::Value& state, const ir::Function& function) {
    return caches_.at(function.arguments()[std::size_t(state.placement.offset)]->name);
  }

  Result<void> run_group(std::size_t entry, const ir::Function& function, const ir::Node& group) {
    std::map<const ir::Value*, Tensor> inputs;
    ir::interp::Known known;
    for (const ir::Value* value : ir::inputs_of(group)) {
      if (value->is_weight()) continue;
      if (value->type.state) {
        known.caches[value] = &cache_behind(*value, function);
        continue;
      }
      HEDDLE_ASSIGN(const plan::Ref ref, place_of(*value, function, *plan_));
      HEDDLE_ASSIGN(const Bytes bytes, read(entry, ref));
      HEDDLE_ASSIGN(inputs[value], tensor_of(*value, bytes));
      known.tensors[value] = &inputs[value];
    }
    const std::vector<const ir::Value*> results(group.results().begin(), group.results().end());
    HEDDLE_ASSIGN(const ir::interp::Evaluated evaluated, interpreter_->evaluate(function, results, known));
    for (const ir::Value* value : results) {
      if (value->type.state) {
        cache_behind(*value, function) = Cache(*evaluated.caches.at(value));
        continue;
      }
      const Tensor& tensor = evaluated.tensors.at(value);
      HEDDLE_ASSIGN(const plan::Ref ref, place_of(*value, function, *plan_));
      if (ref.where == plan::Where::output) outputs_[ref.index] = tensor;
      else std::ranges::copy(bytes_of(tensor), arena_.begin() + std::ptrdiff_t(ref.offset));
    }
    return {};
  }

  std::shared_ptr<const plan::Plan> plan_;
  std::unique_ptr<ir::Module> module_;
  std::shared_ptr<const PlanWeights> weights_;
  std::map<std::string, Cache> caches_;  // by state
  std::unique_ptr<ir::interp::Interpreter> interpreter_;
  std::vector<Tensor> outputs_;
  std::vector<Bytes> inputs_;  // of the last step that ran node by node
  Bytes arena_;
};

}  // namespace

std::unique_ptr<runtime::NodeDevice> make_reference_device() { return std::make_unique<ReferenceDevice>(); }

}  // namespace heddle::tools
