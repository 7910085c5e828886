#include "tools/reference_device.h"

#include <map>

#include "ir/interp/interpreter.h"
#include "ir/text.h"
#include "tools/plan_weights.h"

namespace heddle::tools {
namespace {

class ReferenceDevice : public runtime::Device {
 public:
  std::string description() const override { return "reference interpreter"; }

  Result<void> load(std::shared_ptr<const plan::PlanT> plan, const runtime::Capacity& capacity, const runtime::Progress&) override {
    plan_ = std::move(plan);
    HEDDLE_ASSIGN(module_, ir::parse(plan_->ir, "plan"));
    HEDDLE_ASSIGN(weights_, PlanWeights::open(*plan_));
    for (const auto& state : plan_->states) {
      ir::Type type{*dtype_named(state->dtype), ir::Shape(state->shape.begin(), state->shape.end()), true};
      caches_.emplace(state->name, ir::interp::Cache(type, capacity.slots, capacity.context));
    }
    interpreter_ = std::make_unique<ir::interp::Interpreter>([this](const ir::Value& weight) { return weights_->read(weight); });
    return {};
  }

  Result<void> run(std::size_t entry, std::span<const runtime::StepRow> rows) override {
    const ir::Function* function = module_->function(plan_->entries[entry]->name);
    if (!function) return error("the plan's IR has no function {}", plan_->entries[entry]->name);
    std::map<std::string, ir::interp::Tensor> arguments;
    for (const char* name : {"tokens", "slot", "pos"}) {
      ir::interp::Tensor tensor{{DType::i32, {std::int64_t(rows.size())}}, {}, {}};
      for (const auto& row : rows) tensor.i.push_back(name[0] == 't' ? row.token : name[0] == 's' ? row.slot : row.position);
      arguments.emplace(name, std::move(tensor));
    }
    std::map<std::string, ir::interp::Cache*> caches;
    for (auto& [name, cache] : caches_) caches[name] = &cache;
    HEDDLE_ASSIGN(outputs_, interpreter_->run(*function, arguments, caches));
    return {};
  }

  Result<std::span<const float>> logits(std::size_t, std::size_t row) override {
    if (outputs_.empty()) return error("the last step has no logits");
    const auto& out = outputs_.front();
    return std::span<const float>(out.f.data() + std::int64_t(row) * out.type.width(), std::size_t(out.type.width()));
  }

 private:
  std::shared_ptr<const plan::PlanT> plan_;
  std::unique_ptr<ir::Module> module_;
  std::shared_ptr<const PlanWeights> weights_;
  std::map<std::string, ir::interp::Cache> caches_;
  std::unique_ptr<ir::interp::Interpreter> interpreter_;
  std::vector<ir::interp::Tensor> outputs_;
};

}  // namespace

std::unique_ptr<runtime::Device> make_reference_device() { return std::make_unique<ReferenceDevice>(); }

}  // namespace heddle::tools
