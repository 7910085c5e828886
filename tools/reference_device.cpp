#include "tools/reference_device.h"

#include <map>

#include "ir/base/mapped_file.h"
#include "ir/interp/interpreter.h"
#include "ir/text.h"

namespace heddle::tools {
namespace {

class ReferenceDevice : public runtime::Device {
 public:
  std::string description() const override { return "reference interpreter"; }

  Result<void> load(std::shared_ptr<const plan::PlanT> plan, const runtime::Capacity& capacity, const runtime::Progress&) override {
    plan_ = std::move(plan);
    HEDDLE_ASSIGN(module_, ir::parse(plan_->ir, "plan"));
    for (const auto& file : plan_->files) {
      HEDDLE_ASSIGN(auto mapped, MappedFile::open(file->path));
      if (mapped.bytes().size() != file->bytes) return error("{}: {} bytes, the plan was made for {}", file->path, mapped.bytes().size(), file->bytes);
      files_.push_back(std::move(mapped));
    }
    for (const auto& state : plan_->states) {
      ir::Type type{*dtype_named(state->dtype), ir::Shape(state->shape.begin(), state->shape.end()), true};
      caches_.emplace(state->name, ir::interp::Cache(type, capacity.slots, capacity.context));
    }
    interpreter_ = std::make_unique<ir::interp::Interpreter>([this](const ir::Value& weight) { return read(weight); });
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
  Result<std::vector<float>> read(const ir::Value& value) {
    for (const auto& weight : plan_->weights) {
      if (weight->name != value.name) continue;
      const DType dtype = value.type.dtype;
      std::vector<float> out(value.type.elements());
      std::int64_t at = 0;
      for (const auto& source : weight->sources) {
        const std::int64_t blocks = std::int64_t(source->bytes) / info(dtype).bytes;
        info(dtype).dequantize(files_[source->file].bytes().data() + source->offset, out.data() + at, blocks);
        at += blocks * info(dtype).elements;
      }
      return out;
    }
    return error("the plan has no weight {}", value.name);
  }

  std::shared_ptr<const plan::PlanT> plan_;
  std::unique_ptr<ir::Module> module_;
  std::vector<MappedFile> files_;
  std::map<std::string, ir::interp::Cache> caches_;
  std::unique_ptr<ir::interp::Interpreter> interpreter_;
  std::vector<ir::interp::Tensor> outputs_;
};

}  // namespace

std::unique_ptr<runtime::Device> make_reference_device() { return std::make_unique<ReferenceDevice>(); }

}  // namespace heddle::tools
