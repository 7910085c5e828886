#include "tools/verify/verify_model.h"

#include <algorithm>

#include "codegen/backend.h"
#include "ir/verify.h"
#include "tools/compiler/plan_inputs.h"

namespace heddle::tools {

Result<std::unique_ptr<ir::Module>> reference_module(const std::string& path, const CompileOptions& options) {
  HEDDLE_ASSIGN(const auto model, frontends::open_model(path));
  HEDDLE_ASSIGN(auto module, lower(model, options));
  HEDDLE_ASSIGN(std::vector<passes::Step> steps, steps_for(module->target, options));
  std::erase_if(steps, [](const passes::Step& step) { return !passes::Registry::global().find(step.pass)->approximates; });
  const auto questions = codegen::backend(module->target).questions(module->target);
  passes::RunOptions run;
  run.disabled = options.disabled;
  HEDDLE_ASSIGN([[maybe_unused]] const auto report, passes::run_pipeline(*module, steps, questions.get(), run));
  for (const auto& function : module->functions()) function->make_names_unique();  // an empty pipeline names nothing
  return module;
}

Result<Verified> verify_model(const VerifyRequest& request, const Compiled& compiled) {
  Verified out;
  std::unique_ptr<ir::Module> reference;
  if (is_plan_file(request.model)) {
    out.passes_not_judged = "a plan holds the final IR only";
  } else if (request.compile.pass_limit >= 0) {
    out.passes_not_judged = "a limit on changes cuts off passes that change values by design";
  } else {
    HEDDLE_ASSIGN(reference, reference_module(request.model, request.compile));
  }
  HEDDLE_ASSIGN(const auto device, request.make(*compiled.plan));
  const auto context = std::int64_t(request.ids.size());
  HEDDLE_TRY(device->load(compiled.plan, runtime::Capacity{1, context}, {}));
  out.device = device->description();
  HEDDLE_ASSIGN(out.checks, verify_nodes(*device, *compiled.plan, request.ids, context, {request.entries, reference.get()}));
  return out;
}

Result<std::vector<Suspect>> bisect(const VerifyRequest& request, const Compiled& compiled,
                                    const std::function<void(const Suspect&)>& report) {
  if (is_plan_file(request.model)) return error("--bisect: a plan cannot be made anew; give the model");
  const auto field = std::ranges::find_if(compiled.plan->key, [](const auto& entry) { return entry.name == "pipeline"; });
  if (field == compiled.plan->key.end()) return error("--bisect: the plan does not say which passes made it");
  HEDDLE_ASSIGN(const auto steps, passes::parse_pipeline((*field).value, passes::Registry::global()));

  std::vector<Suspect> suspects;
  for (const passes::Step& step : steps) {
    const auto is_known = [&](const Suspect& suspect) { return suspect.pass == step.pass; };
    if (std::ranges::any_of(suspects, is_known) || std::ranges::count(request.compile.disabled, step.pass) > 0) continue;
    VerifyRequest without = request;
    without.compile.disabled.push_back(step.pass);
    without.compile.use_cache = false;  // plans that nobody will run
    Suspect& suspect = suspects.emplace_back();
    suspect.pass = step.pass;
    const auto made = compile_model(request.model, without.compile);
    if (!made.ok()) {
      suspect.outcome = Suspect::cannot_be_left_out, suspect.detail = made.error().message();
    } else {
      auto verified = verify_model(without, *made);
      if (!verified.ok()) return verified.take_error().at("without " + step.pass);
      const EntryCheck* check = first_fault(verified->checks);
      suspect.outcome = check ? Suspect::no_help : Suspect::mends;
      if (check) suspect.detail = text_of(*check, *check->fault);
    }
    if (report) report(suspect);
  }
  return suspects;
}

std::string text_of(const EntryCheck& check, const Fault& fault) {
  return fmt::format("{}, step {}, node {} ({}): {}", check.entry, fault.step, fault.node, check.nodes[fault.node].kernel, fault.what);
}

}  // namespace heddle::tools
