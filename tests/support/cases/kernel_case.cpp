#include "tests/support/cases/kernel_case.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <span>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/target.h"
#include "codegen/write_plan.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "passes/pipeline.h"
#include "runtime/plan/layout.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

std::uint64_t hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::vector<std::byte> random_weight(const ir::Value& weight) {
  if (weight.sources.size() == 1 && weight.sources[0].tensor.empty() && !weight.sources[0].values.empty()) {
    const auto bytes = std::as_bytes(std::span(weight.sources[0].values));
    return {bytes.begin(), bytes.end()};
  }
  std::mt19937_64 random(hash(weight.name));
  const DTypeInfo& type = info(weight.type.dtype);
  const std::int64_t blocks = weight.type.elements() / type.elements;
  std::vector<std::byte> out(std::size_t(blocks * type.bytes));
  const bool matrix = weight.type.shape.size() > 1;
  if (type.quantize) {
    std::normal_distribution<double> normal(matrix ? 0 : 1, matrix ? 1 / std::sqrt(double(weight.type.width())) : 0.3);
    std::vector<float> floats(std::size_t(weight.type.elements()));
    for (float& x : floats) x = float(normal(random));
    type.quantize(floats.data(), out.data(), blocks);
    return out;
  }
  std::mt19937 blocks_random(static_cast<unsigned>(hash(weight.name)));
  return random_blocks(weight.type.dtype, blocks, 2 / std::sqrt(float(weight.type.width())), blocks_random);
}

std::int32_t last_row(const std::vector<CaseRow>& step) {
  const auto last = std::find_if(step.rbegin(), step.rend(), [](const CaseRow& row) { return row.slot >= 0; });
  return std::int32_t(step.rend() - last) - 1;
}

Result<PreparedCase> prepare(const KernelCase& test, const std::string& target) {
  PreparedCase out;
  HEDDLE_ASSIGN(out.module, ir::parse(test.text, test.name));
  HEDDLE_ASSIGN(out.module->target, codegen::cuda::target_named(target));
  for (ir::Value* weight : out.module->weights()) {
    weight->sources = {{weight->name, 0, weight->type.elements() / weight->type.width()}};
    weight->layout = codegen::cuda::layout_of(weight->type.dtype);
    out.weights.push_back(random_weight(*weight));
  }
  HEDDLE_TRY(ir::verify(*out.module));
  const std::vector<passes::Step> steps{{"group_rest", {}}, {"schedule", {}}, {"plan_memory", {}}};
  HEDDLE_ASSIGN([[maybe_unused]] auto report, passes::run_pipeline(*out.module, steps, nullptr, {}));
  const auto places = [&](const std::string& tensor) -> std::optional<codegen::TensorPlace> {
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < out.weights.size(); ++i) {
      const ir::Value& weight = *out.module->weights()[i];
      const std::uint64_t bytes = out.weights[i].size();
      if (weight.name == tensor) return codegen::TensorPlace{0, offset, bytes, weight.sources[0].rows, weight.type.width()};
      offset += (bytes + 255) / 256 * 256;
    }
    return std::nullopt;
  };
  HEDDLE_TRY(codegen::write_plan(*out.module, places, out.plan));
  return out;
}

Result<std::vector<std::vector<float>>> interpret(const KernelCase& test, const PreparedCase& prepared) {
  const ir::Function& function = *prepared.module->functions().front();
  ir::interp::Interpreter interpreter([&](const ir::Value& weight) -> Result<std::vector<float>> {
    const DTypeInfo& type = info(weight.type.dtype);
    std::vector<float> floats(std::size_t(weight.type.elements()));
    type.dequantize(prepared.weights[weight.index()].data(), floats.data(), weight.type.elements() / type.elements);
    return floats;
  });
  std::vector<std::pair<std::string, ir::interp::Cache>> caches;
  for (const ir::Value* argument : function.arguments())
    if (argument->type.state) caches.emplace_back(argument->name, ir::interp::Cache(argument->type, test.slots, test.capacity));
  std::map<std::string, ir::interp::Cache*> by_name;
  for (auto& [name, cache] : caches) by_name[name] = &cache;

  std::vector<std::vector<float>> out;
  for (const auto& step : test.steps) {
    std::map<std::string, ir::interp::Tensor> arguments;
    for (const ir::Value* argument : function.arguments()) {
      if (argument->type.state) continue;
      ir::interp::Tensor tensor{argument->type, {}, {}};
      if (argument->name == "last") tensor.i = {last_row(step)};
      else
        for (const CaseRow& row : step)
          tensor.i.push_back(argument->name == "tokens" ? row.token : argument->name == "slot" ? row.slot : row.position);
      arguments.emplace(argument->name, std::move(tensor));
    }
    HEDDLE_ASSIGN(auto returned, interpreter.run(function, arguments, by_name));
    out.push_back(std::move(returned.front().f));
  }
  return out;
}

std::string difference(const KernelCase& test, const std::vector<std::vector<float>>& wanted,
                       const std::vector<std::vector<float>>& found) {
  std::string where;
  double worst = 0;
  for (std::size_t step = 0; step < wanted.size(); ++step) {
    double largest = 0;
    for (float x : wanted[step]) largest = std::max(largest, std::abs(double(x)));
    for (std::size_t i = 0; i < wanted[step].size(); ++i) {
      const double off = std::abs(double(wanted[step][i]) - found[step][i]) / largest;
      if (off <= test.tolerance) continue;  // false for NaN
      if (!(off <= worst)) {
        worst = off;
        where = fmt::format("step {} [{}]: {} wanted, {} found ({:.2g} of the largest, {:.2g} allowed)", step, i, wanted[step][i],
                            found[step][i], off, test.tolerance);
      }
      if (std::isnan(off)) return where;
    }
  }
  return where;
}

Result<std::vector<std::byte>> stored_weight(const PreparedCase& prepared, std::size_t index) {
  const plan::Weight& weight = prepared.plan.weights[index];
  if (weight.layout == Layout::rows) return prepared.weights[index];
  const DType type = weight.dtype;
  const std::int64_t columns = weight.shape.back(), rows = prepared.module->weights()[index]->type.elements() / columns;
  HEDDLE_ASSIGN(const std::int64_t bytes, plan::stored_bytes(weight.layout, type, rows, columns));
  std::vector<std::byte> out(static_cast<std::size_t>(bytes));
  plan::to_planes(type, prepared.weights[index].data(), 0, rows, columns, rows, out.data());
  return out;
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const KernelCase& test : kernel_cases()) names.push_back(test.name);
  return names;
}

std::vector<std::string> case_names(bool slow) {
  std::vector<std::string> names;
  for (const KernelCase& test : kernel_cases())
    if (test.slow == slow) names.push_back(test.name);
  return names;
}

}  // namespace heddle::testing
