#include "passes/pipeline.h"

#include <llvm/ADT/STLExtras.h>

#include <chrono>

#include "ir/base/mapped_file.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "passes/builtin.h"

namespace heddle::passes {

void register_builtin_passes(Registry& registry) {
  for (Pass pass : {choose_layouts(),
                    cse(),
                    dce(),
                    fold_constants(),
                    fuse_elementwise(),
                    fuse_gate_up_swiglu(),
                    fuse_norm_matmul(),
                    fuse_norm_residual(),
                    fuse_quantize(),
                    fuse_residual(),
                    fuse_rope_cache(),
                    group_gate_up(),
                    group_head_norms(),
                    group_qkv(),
                    group_rest(),
                    group_router(),
                    group_select(),
                    norm_scale_through_matmul(),
                    plan_memory(),
                    quantize_activations(),
                    schedule()}) {
    if (registry.find(pass.name)) continue;
    HEDDLE_CHECK(registry.add(std::move(pass)).ok());
  }
}

/// The same list for every target but for its extras: what a target does not gain from is declined by its figures and by what it can emit.
std::vector<Step> default_pipeline(std::span<const codegen::ExtraPass> extras) {
  std::vector<Step> steps;
  for (const char* pass : {
           "fold_constants",        // first: frontends write plain arithmetic
           "cse",                   // after folding, which makes nodes equal
           "dce",                   // a prefill reads no logits: what only they need goes before anything is grouped
           "quantize_activations",  // before all grouping: a quantize belongs to a group like any other node
           "cse",                   // leaves one quantize where several products read the same row
           "choose_layouts",        // before grouping: specs name the layout of every weight
           "group_qkv",             // before the fusions: Q, K and V become the one reader that a norm may join
           "group_gate_up",         // likewise gate and up
           "group_router",          // no kernel gives only the choice of experts or only their gates
           "group_select",          // the row of a prompt that goes on, and its slot and position
           "fuse_gate_up_swiglu",   // first of the fusions: it takes the wide quantize, which workers share behind a loop
           "fuse_norm_matmul",      // takes the quantizes that are left, which workers repeat in front of a loop
           "group_head_norms",      // before ropes look for a product to join: behind a norm over heads there is none
           "fuse_rope_cache",       // needs the group of q, k and v; the order of the last four is free
           "fuse_residual",         // also takes the biases that no group has
           "fuse_norm_residual",    // where a norm stands between the two
           "fuse_elementwise",      // last of the fusions: what the others take has a better place with them
           "dce",                   // what the fusions left unread
           "group_rest",            // from here on every top-level node is a kernel
           "schedule",              // the order, by which plan_memory knows when a value dies
           "plan_memory",           // last: every pass above may still add or drop a value
       })
    steps.push_back({pass, {}});
  const auto insert = [&](std::string_view pass, std::string_view before) {
    const auto place = llvm::find_if(steps, [&](const Step& step) { return step.pass == before; });
    if (place != steps.end()) steps.insert(place, {std::string(pass), {}});
  };
  for (const codegen::ExtraPass& extra : extras) insert(extra.pass, extra.before);
  for (const Pass* pass : Registry::global().all()) insert(pass->name, pass->before);
  return steps;
}

// ---- Pipeline strings

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

std::string list(std::vector<std::string> names) { return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")); }

Error unknown_pass(std::string_view place, std::string_view name, const Registry& registry) {
  std::vector<std::string> known;
  for (const Pass* pass : registry.all()) known.push_back(pass->name);
  return error("{}: unknown pass '{}' (known: {})", place, name, list(known));
}

Result<Options> parse_options(std::string_view text, const Pass& pass) {
  Options options;
  while (!trimmed(text).empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view item = trimmed(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t equals = item.find('=');
    if (equals == item.npos) return error("pipeline: option '{}' of {} has no value, wanted name=value", item, pass.name);
    const std::string key(trimmed(item.substr(0, equals)));
    if (!llvm::is_contained(pass.option_names, key))
      return error("pipeline: unknown option '{}' of {} (known: {})", key, pass.name, list(pass.option_names));
    if (!options.emplace(key, trimmed(item.substr(equals + 1))).second)
      return error("pipeline: option '{}' of {} is given twice", key, pass.name);
  }
  return options;
}

}  // namespace

Result<std::vector<Step>> parse_pipeline(std::string_view text, const Registry& registry) {
  std::vector<Step> steps;
  text = trimmed(text);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(",{"), text.size());
    const std::string_view name = trimmed(text.substr(0, end));
    const Pass* pass = registry.find(name);
    if (name.empty()) return error("pipeline: a pass's name is missing before '{}'", text.substr(0, 40));
    if (!pass) return unknown_pass("pipeline", name, registry);
    text.remove_prefix(end);
    Step step{std::string(name), {}};
    if (text.starts_with('{')) {
      const std::size_t close = text.find('}');
      if (close == text.npos) return error("pipeline: '{{' after {} is not closed", name);
      HEDDLE_ASSIGN(step.options, parse_options(text.substr(1, close - 1), *pass));
      text = trimmed(text.substr(close + 1));
      if (!text.empty() && !text.starts_with(',')) return error("pipeline: found '{}' after {}, wanted ','", text.substr(0, 40), name);
    }
    steps.push_back(std::move(step));
    if (text.empty()) break;
    text = trimmed(text.substr(1));
    if (text.empty()) return error("pipeline: a pass's name is missing after the last ','");
  }
  return steps;
}

std::string print_pipeline(const std::vector<Step>& steps) {
  std::string out;
  for (const Step& step : steps) {
    out += (out.empty() ? "" : ",") + step.pass;
    if (step.options.empty()) continue;
    std::string options;
    for (auto& [key, value] : step.options) options += fmt::format("{}{}={}", options.empty() ? "" : ",", key, value);
    out += "{" + options + "}";
  }
  return out;
}

// ---- Running

int Report::fired(std::string_view pass) const {
  int sum = 0;
  for (const PassReport& report : passes)
    if (report.pass == pass) sum += report.fired;
  return sum;
}

namespace {

Result<void> run_step(ir::Module& module, const Pass& pass, Context& context, bool verify) {
  for (auto& function : module.functions()) {
    context.function = function->name;
    if (auto done = pass.run(*function, context); !done.ok())
      return done.take_error().at(fmt::format("pass {}: @{}", pass.name, function->name));
  }
  for (auto& function : module.functions()) function->make_names_unique();
  if (!verify) return {};
  if (auto valid = ir::verify(module); !valid.ok()) return valid.take_error().at(fmt::format("pass {} broke the module", pass.name));
  return {};
}

Context context_of(const Step& step, const ir::Module& module, const codegen::Questions* questions) {
  return {.target = module.target, .questions = questions, .options = step.options, .remarks = nullptr, .pass = step.pass, .function = {}};
}

/// The text of what `steps` make of a module, which is given as text too; if they fail as well, none.
std::optional<std::string> text_after(const std::string& start, llvm::ArrayRef<Step> steps, const codegen::Questions* questions,
                                      const RunOptions& options) {
  auto module = ir::parse(start);
  if (!module.ok()) return std::nullopt;
  int changes_left = options.pass_limit;
  for (const Step& step : steps) {
    if (llvm::is_contained(options.disabled, step.pass)) continue;
    Context context = context_of(step, **module, questions);
    if (options.pass_limit >= 0) context.changes_left = &changes_left;
    if (!run_step(**module, *Registry::global().find(step.pass), context, false).ok()) return std::nullopt;
  }
  return ir::print(**module);
}

/// The text that `heddle opt` runs to see the failure again.
std::string reproducer_text(const std::string& path, llvm::ArrayRef<Step> left, std::string_view problem, const std::string& before) {
  return fmt::format("# heddle opt {} --passes '{}' --verify-each\n# {}\n{}", path, print_pipeline(left.vec()), problem, before);
}

}  // namespace

Result<Report> run_pipeline(ir::Module& module, const std::vector<Step>& steps, const codegen::Questions* questions,
                            const RunOptions& options) {
  const Registry& registry = Registry::global();
  for (const std::string& name : options.disabled)
    if (!registry.find(name)) return unknown_pass("disabled", name, registry);
  for (const Step& step : steps)
    if (!registry.find(step.pass)) return unknown_pass("pipeline", step.pass, registry);

  Report report;
  int changes_left = options.pass_limit;
  // A pass that fails leaves the module half done: what it was given is made again then, since to print it after every pass took longer than
  // all passes.
  const std::string given = options.reproducer.empty() ? std::string() : ir::print(module);
  std::string text = options.after ? ir::print(module) : std::string();
  for (auto& function : module.functions()) function->make_names_unique();  // remarks name values
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    if (llvm::is_contained(options.disabled, step.pass)) continue;
    const auto start = std::chrono::steady_clock::now();
    const std::size_t earlier = report.remarks.size();
    Context context = context_of(step, module, questions);
    if (options.pass_limit >= 0) context.changes_left = &changes_left;
    context.remarks = &report.remarks;
    auto done = run_step(module, *registry.find(step.pass), context, options.verify_each);
    if (!done.ok()) {
      if (options.reproducer.empty()) return done.take_error();
      const std::string problem = done.error().message();
      const auto before = text_after(given, llvm::ArrayRef(steps).take_front(i), questions, options);
      const std::string file =
          reproducer_text(options.reproducer, llvm::ArrayRef(steps).drop_front(before ? i : 0), problem, before ? *before : given);
      if (auto written = write_file_atomically(options.reproducer, std::as_bytes(std::span(file))); !written.ok())
        return error("{} (and no reproducer: {})", problem, written.error().message());
      return error("{} (to see it again: heddle opt {})", problem, options.reproducer);
    }

    PassReport& entry = report.passes.emplace_back();
    entry.pass = step.pass;
    for (const Remark& remark : llvm::ArrayRef(report.remarks).drop_front(earlier))
      ++(remark.outcome.kind == Outcome::fired ? entry.fired : entry.declined);
    entry.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (!options.after) continue;
    std::string now = ir::print(module);
    if (now == text) continue;
    text = std::move(now);
    options.after(step, module);
  }
  return report;
}

Result<void> check_required(const Report& report, const std::vector<std::pair<std::string, int>>& required) {
  for (auto& [pass, wanted] : required) {
    if (!Registry::global().find(pass)) return unknown_pass("required", pass, Registry::global());
    if (const int found = report.fired(pass); found < wanted)
      return error("required: {} fired {} times, wanted {} or more", pass, found, wanted);
  }
  return {};
}

}  // namespace heddle::passes
