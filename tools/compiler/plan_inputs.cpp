#include "tools/compiler/plan_inputs.h"

#include <fmt/ranges.h>
#include <xxhash.h>

#include "codegen/backend.h"
#include "ir/base/build_id.h"
#include "passes/plugin.h"
#include "tools/compiler/entries.h"
#include "tools/compiler/targets.h"

namespace heddle::tools {
namespace {

/// Hashes of the plug-ins, which are loaded.
Result<std::string> load_plugins(const CompileOptions& options) {
  std::string out;
  for (const std::string& path : options.plugins) {
    HEDDLE_ASSIGN(auto plugin, passes::load_pass_plugin(path));
    out += (out.empty() ? "" : ",") + plugin.hash;
  }
  return out;
}

std::string hash_of(const std::string& text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

plan::Key key_for(const frontends::Model& model, const ir::Target& target, const CompileOptions& options, const std::string& plugins,
                  const std::vector<passes::Step>& steps, const std::string& nvrtc, const std::string& tuning) {
  return {
      {"model fingerprint", model.fingerprint},
      {"target", target.name},
      {"activations", std::string(name(target.activations))},
      {"kv", cache_type_name(target, options)},
      {"rope", model.config.original_context == 0                          ? ""
               : frontends::wants_long_rope(model.config, options.context) ? "long"
                                                                           : "short"},
      {"quantize", options.quantize},
      {"pipeline", passes::print_pipeline(steps)},
      {"prefill rows", fmt::format("{}", fmt::join(options.prefill, ","))},
      {"disabled passes", fmt::format("{}", fmt::join(options.disabled, ","))},
      {"tuning", tuning},
      {"pass limit", options.pass_limit < 0 ? std::string() : std::to_string(options.pass_limit)},
      {"plug-ins", plugins},
      {"nvrtc", nvrtc},
      {"program build", build_id()},
  };
}

}  // namespace

Result<std::vector<passes::Step>> steps_for(const ir::Target& target, const CompileOptions& options) {
  if (options.pipeline.empty()) return passes::default_pipeline(codegen::backend(target).extra_passes());
  return passes::parse_pipeline(options.pipeline, passes::Registry::global());
}

Result<PlanInputs> inputs_of(const std::string& path, const CompileOptions& options) {
  PlanInputs out;
  passes::register_builtin_passes(passes::Registry::global());
  HEDDLE_ASSIGN(const std::string plugins, load_plugins(options));
  HEDDLE_ASSIGN(out.model, open_model(path, options));
  HEDDLE_ASSIGN(out.target, target_named(options.target, options.activations));
  const codegen::Backend& backend = codegen::backend(out.target);
  HEDDLE_ASSIGN(out.steps, steps_for(out.target, options));
  HEDDLE_ASSIGN(const std::string kernel_compiler, backend.kernel_compiler());
  HEDDLE_ASSIGN(out.choices, choices_for(out.target, options));
  out.remarks = backend.remarks(out.target);
  if (!out.choices.remark.empty()) out.remarks.push_back(out.choices.remark);
  const codegen::Tuning& tuning = out.choices.tuning;
  const bool any = !tuning.kernels.empty() || !tuning.passes.empty();
  out.key = key_for(out.model, out.target, options, plugins, out.steps, kernel_compiler, any ? hash_of(codegen::print_tuning(tuning)) : "");
  return out;
}

}  // namespace heddle::tools
