#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "codegen/backend.h"
#include "ir/text/ops_reference.h"
#include "ir/text/text.h"
#include "runtime/device/factory.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/compiler/kernel_files.h"
#include "tools/compiler/plan_inputs.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, after, function = "decode_1";
  std::string name, out;  // of kernels
  bool text = false, ptx = false;
  bool ir = false, kernels = false, memory = false, weights = false, dot = false, remarks = false, json = false, ops = false;
  std::int64_t context = 0;
  CompileOptions compile;
};

/// The module right after pass `name` (or "lowered": before any), which the plan does not hold: the pipeline is run again up to there.
Result<std::string> ir_after(const Options& options) {
  HEDDLE_ASSIGN(auto model, open_model(options.model, options.compile));
  HEDDLE_ASSIGN(auto module, lower(model, options.compile));
  if (options.after == "lowered") return ir::print(*module);
  passes::register_builtin_passes(passes::Registry::global());
  HEDDLE_ASSIGN(auto steps, steps_for(module->target, options.compile));
  auto last = std::find_if(steps.rbegin(), steps.rend(), [&](const passes::Step& step) { return step.pass == options.after; });
  if (last == steps.rend()) return error("--after: pass '{}' is not in the pipeline: {}", options.after, passes::print_pipeline(steps));
  steps.erase(last.base(), steps.end());
  const auto questions = codegen::backend(module->target).questions(module->target);
  passes::RunOptions run;
  run.disabled = options.compile.disabled;
  run.pass_limit = options.compile.pass_limit;
  HEDDLE_ASSIGN(auto report, passes::run_pipeline(*module, steps, questions.get(), run));
  (void)report;
  return ir::print(*module);
}

nlohmann::json json_of(const KernelInfo& kernel, const Options& options) {
  nlohmann::json out = {{"name", kernel.name}, {"nodes", kernel.nodes}, {"min_bytes", kernel.least_bytes}};
  if (const auto* code = kernel.cuda) {
    out["registers"] = code->registers, out["spill_bytes"] = code->spill_bytes;
    out["shared_bytes"] = std::int64_t(code->shared_bytes) + code->dynamic_shared_bytes, out["scratch_bytes"] = code->scratch_bytes;
    out["grid"] = code->grid, out["grid_per_sm"] = code->grid_per_sm, out["block"] = code->block;
    out["programmatic"] = code->programmatic, out["even_start"] = code->even_start;
    if (options.text) out["text"] = code->text;
    if (options.ptx) out["ptx"] = code->ptx;
  }
  return out;
}

/// "132 per SM x 256": blocks and threads of a launch.
std::string shape_of(const plan::CudaCode& code) {
  const auto product = [](const std::vector<std::uint32_t>& sizes) {
    std::uint64_t out = 1;
    for (const std::uint32_t size : sizes) out *= size;
    return out;
  };
  if (code.grid_per_sm > 0) return fmt::format("{} per SM x {}", code.grid_per_sm, product(code.block));
  return fmt::format("{} x {}", product(code.grid), product(code.block));
}

Result<void> print_kernels(const plan::Plan& plan, const Options& options, nlohmann::json* json) {
  const std::vector<KernelInfo> kernels = kernels_of(plan, options.name);
  if (!options.out.empty()) HEDDLE_TRY(write_kernels(plan, kernels, options.out));
  const bool cuda = plan.backend == BackendKind::cuda;
  if (!cuda && (options.text || options.ptx)) return error("target {} has no {}: its kernels are specs (--out writes them)", plan.target,
                                                           options.text ? "text" : "PTX");
  if (json) {
    *json = nlohmann::json::array();
    for (const KernelInfo& kernel : kernels) json->push_back(json_of(kernel, options));
    return {};
  }
  if (cuda) fmt::print("nodes       least  registers  shared  spilled      blocks x threads  kernel\n");
  for (const KernelInfo& kernel : kernels) {
    const std::string least = human_bytes(std::uint64_t(kernel.least_bytes));
    if (const auto* code = kernel.cuda)
      fmt::print("{:>5}  {:>10}  {:>9}  {:>6}  {:>7}  {:>20}  {}\n", kernel.nodes, least, code->registers,
                 std::int64_t(code->shared_bytes) + code->dynamic_shared_bytes, code->spill_bytes, shape_of(*code), kernel.name);
    else
      fmt::print("{:>4} nodes  {:>10} at least  {}\n", kernel.nodes, least, kernel.name);
  }
  for (const KernelInfo& kernel : kernels) {
    if (options.text) fmt::print("\n{}", kernel.cuda->text);
    if (options.ptx) fmt::print("\n{}\n", kernel.cuda->ptx);
  }
  return {};
}

void print_memory(const plan::Plan& plan, std::int64_t asked, nlohmann::json* json) {
  const runtime::Capacity capacity{1, context_for(plan, asked, 0)};
  const runtime::MemoryUse use = runtime::device_factory(plan.backend).memory_use(plan, capacity);
  if (json) {
    *json = {{"context", capacity.context}, {"weights", use.weights}, {"cache", use.cache},
             {"arena", use.arena},          {"scratch", use.scratch}, {"total", use.total()}};
    return;
  }
  fmt::print("weights  {:>14} bytes\ncache    {:>14} bytes for {} positions\narena    {:>14} bytes\n", use.weights, use.cache, capacity.context,
             use.arena);
  if (use.scratch > 0) fmt::print("scratch  {:>14} bytes\n", use.scratch);
  fmt::print("total    {:>14} bytes\n", use.total());
}

void print_weights(const plan::Plan& plan, nlohmann::json* json) {
  for (const auto& weight : plan.weights) {
    std::uint64_t bytes = 0;
    for (const auto& source : weight.sources) bytes += source.bytes;
    if (json) (*json).push_back({{"name", weight.name}, {"dtype", weight.dtype}, {"shape", weight.shape}, {"layout", weight.layout}, {"bytes", bytes}});
    else fmt::print("{:<32} {:<6} [{}] layout {}, {} bytes\n", weight.name, weight.dtype, fmt::join(weight.shape, ", "), weight.layout, bytes);
  }
}

Result<void> run(const Options& options) {
  if (options.ops) {
    fmt::print("{}", ir::ops_reference());
    return {};
  }
  if (options.model.empty()) return error("inspect: a model or a plan is wanted");
  if (!options.after.empty()) {
    if (is_plan_file(options.model)) return error("--after: a plan holds the final IR only; give the model");
    HEDDLE_ASSIGN(auto text, ir_after(options));
    fmt::print("{}", text);
    return {};
  }
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, options.compile));
  const plan::Plan& plan = *compiled.plan;
  nlohmann::json json;
  nlohmann::json* out = options.json ? &json : nullptr;
  if (options.dot) {
    HEDDLE_ASSIGN(auto module, ir::parse(plan.ir, "plan"));
    const ir::Function* function = module->function(options.function);
    if (!function) return error("--function: the plan has no entry point '{}'", options.function);
    fmt::print("{}", ir::to_dot(*function));
    return {};
  }
  if (options.ir) {
    fmt::print("{}", plan.ir);
    return {};
  }
  const bool all = !options.kernels && !options.memory && !options.weights && !options.remarks;
  if (all) {
    const auto& m = plan.model;
    if (out)
      json["model"] = {{"name", m.name}, {"architecture", m.architecture}, {"layers", m.layers}, {"vocabulary", m.vocabulary},
                       {"trained_context", m.trained_context}, {"parameters", m.parameters}, {"weight_bytes", m.weight_bytes}};
    else
      fmt::print("{} {}: {} layers, {} tokens of vocabulary ({}), trained for {} positions, {:.1f} M parameters, weights {}\ntarget {}\n",
                 m.architecture, m.name, m.layers, m.vocabulary, plan.vocabulary.kind, m.trained_context, double(m.parameters) / 1e6,
                 human_bytes(m.weight_bytes), plan.target);
    for (const auto& entry : plan.entries) {
      if (out) json["entries"].push_back({{"name", entry.name}, {"rows", entry.rows}, {"nodes", entry.nodes.size()}, {"arena_bytes", entry.arena_bytes},
                                          {"microseconds", entry.microseconds}, {"measured", entry.measured}, {"key_microseconds", entry.key_microseconds}});
      else fmt::print("entry {:<12} {:>4} kernels a step, {:>10.1f} us ({})\n", entry.name, entry.nodes.size(), entry.microseconds,
                      entry.measured ? "measured" : "estimated");
    }
    for (const auto& field : plan.key) {
      if (out) json["key"][field.name] = field.value;
      else fmt::print("  {:<18} {}\n", field.name, field.value);
    }
  }
  if (options.memory || all) print_memory(plan, options.context, out ? &json["memory"] : nullptr);
  if (options.kernels) HEDDLE_TRY(print_kernels(plan, options, out ? &json["kernels"] : nullptr));
  if (options.weights) print_weights(plan, out ? &json["weights"] : nullptr);
  if (options.remarks) {
    for (const auto& remark : plan.remarks)
      if (!out) fmt::print("{}\n", remark);
    if (out) json["remarks"] = plan.remarks;
  }
  if (out) fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  return {};
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("inspect", "look into a model or a plan: IR, kernels, memory, weights, remarks");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan");
  command->add_flag("--ir", options->ir, "the IR that the plan was made from");
  command->add_option("--after", options->after, "the IR right after this pass ('lowered': before any)")->type_name("PASS");
  auto* kernels = command->add_flag("--kernels", options->kernels,
                                    "the distinct kernels: how many nodes use each, the least bytes it must move; on CUDA registers, shared memory and "
                                    "spills in bytes, launch");
  command->add_option("--name", options->name, "only kernels whose name holds this")->needs(kernels)->type_name("TEXT");
  command->add_flag("--text", options->text, "with --kernels: the CUDA C++ text of each")->needs(kernels);
  command->add_flag("--ptx", options->ptx, "with --kernels: the PTX of each")->needs(kernels);
  command->add_option("--out", options->out, "with --kernels: write spec, text, PTX and cubin of each into this folder")->needs(kernels)->type_name("DIR");
  command->add_flag("--memory", options->memory, "bytes by name for a context length");
  command->add_option("--ctx", options->context, "the context length for --memory");
  command->add_flag("--weights", options->weights, "every weight with its type, shape and layout");
  command->add_flag("--dot", options->dot, "a graph for Graphviz, groups as clusters");
  command->add_option("--function", options->function, "which entry point for --dot")->capture_default_str();
  command->add_flag("--remarks", options->remarks, "what the passes did and declined");
  command->add_flag("--ops", options->ops, "the reference of the IR's ops, from ops.def (needs no model)");
  command->add_flag("--json", options->json, "as JSON");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
