#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>

#include "ir/base/mapped_file.h"
#include "tools/cli/commands.h"
#include "tools/compiler/compile_model.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"
#include "tools/compiler/measured_choices.h"
#include "tools/compiler/quantized_weights.h"
#include "tools/compiler/targets.h"
#include "tools/measure/tune.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model;
  CompileOptions compile;
  std::vector<std::string> required;
  bool explain = false, tune = false;
};

/// Measures, and keeps what won where compiles look for it.
Result<void> tune_here(const Options& options) {
  if (options.compile.tuning == "none") return error("--tune: --tuning none names no file to keep what is measured in");
  HEDDLE_ASSIGN(const auto target, target_named(options.compile.target, options.compile.activations));
  const std::string path = tuning_path(target, options.compile);
  codegen::Tuning all;
  if (std::filesystem::exists(path)) {
    HEDDLE_ASSIGN(all, read_tuning(path, target));
  }
  HEDDLE_ASSIGN(TuneResult found, tune(options.model, options.compile, progress_line("measuring")));
  for (const Trial& trial : found.trials)
    fmt::print("{} {:>9.2f} us, default {:>9.2f} us, spread {:.2f}  {}\n", trial.kept ? "kept    " : "declined", trial.us, trial.default_us,
               trial.spread_us, trial.what);
  fmt::print("a step: {:.2f} us by default, {:.2f} us with what was kept\n", found.default_us, found.tuned_us);
  for (const auto& entry : found.tuning.entries) fmt::print("{:<12} {:>10.1f} us\n", entry.entry, entry.us);
  all.merge(found.tuning);
  const std::string text = codegen::print_tuning(all);
  HEDDLE_TRY(write_file_atomically(path, std::as_bytes(std::span(text))));
  fmt::print("measured choices: {}\n", path);
  return {};
}

/// Per pass: how often it fired, and the reasons it declined with their counts.
void print_fusions(const passes::Report& report, bool explain) {
  struct Line {
    int fired = 0;
    std::map<std::string, int> declined;
  };
  std::map<std::string, Line> lines;
  for (const auto& remark : report.remarks) {
    if (remark.outcome.kind == passes::Outcome::fired) ++lines[remark.pass].fired;
    if (remark.outcome.kind == passes::Outcome::declined) ++lines[remark.pass].declined[remark.outcome.reason];
  }
  fmt::print("passes:\n");
  for (const auto& pass : report.passes) {
    const Line& line = lines[pass.pass];
    if (line.fired == 0 && line.declined.empty()) continue;
    fmt::print("  {:<26} fired {:>4}", pass.pass, line.fired);
    int declined = 0;
    for (const auto& [reason, count] : line.declined) declined += count;
    if (declined > 0) fmt::print("   declined {:>4}", declined);
    fmt::print("\n");
    for (const auto& [reason, count] : line.declined) fmt::print("    declined {:>4} x  {}\n", count, reason);
    lines.erase(pass.pass);
  }
  if (explain)
    for (const auto& remark : report.remarks) fmt::print("{}\n", remark.str());
}

int run(Options& options) {
  auto required = parse_required(options.required);
  if (!required.ok()) return fail(required.error());
  options.compile.required = *required;
  if (options.tune)
    if (auto tuned = tune_here(options); !tuned.ok()) return fail(tuned.error());
  auto compiled = compile_model(options.model, options.compile);
  if (!compiled.ok()) return fail(compiled.error());
  const plan::Plan& plan = *compiled->plan;
  if (auto prepared = prepare_weights(plan, options.compile.listener); !prepared.ok()) return fail(prepared.error());
  fmt::print("{}: {} {}, {} layers, {:.1f} M parameters, weights {}\n", options.model, plan.model.architecture, plan.model.name,
             plan.model.layers, double(plan.model.parameters) / 1e6, human_bytes(plan.model.weight_bytes));
  if (!compiled->built) {
    fmt::print("up to date: {}\n", compiled->path);
    if (options.explain)
      for (const auto& remark : plan.remarks) fmt::print("{}\n", remark);
    return 0;
  }
  fmt::print("target {}, built because: {}\n", plan.target, compiled->why);
  for (const std::string& remark : compiled->remarks) fmt::print("  {}\n", remark);
  print_fusions(compiled->report, options.explain);
  for (const auto& entry : plan.entries)
    fmt::print("entry {:<12} {:>4} kernels a step, arena {}\n", entry.name, entry.nodes.size(), human_bytes(entry.arena_bytes));
  double total = 0;
  for (const auto& stage : compiled->stages) {
    fmt::print("{:<14} {:>8.1f} ms\n", stage.name, stage.milliseconds);
    total += stage.milliseconds;
  }
  fmt::print("{:<14} {:>8.1f} ms, {} distinct kernels, peak memory {}\n", "total", total, plan.kernels.size(), human_bytes(peak_memory()));
  if (!compiled->path.empty()) fmt::print("plan: {}\n", compiled->path);
  return 0;
}

}  // namespace

void add_compile(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("compile", "compile a model to a plan and say what was done");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file or a Hugging Face folder")->required();
  command->add_option("-o,--output", options->compile.output, "write the plan here (default: into the cache)");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  command->add_option("--require", options->required, "fail when PASS fired fewer than N times")->type_name("PASS=N")->take_all();
  command->add_option("--print-after", options->compile.print_after,
                      "print the IR to stderr after this pass ('all': after each that changed it)");
  command->add_option("--dump-ir", options->compile.dump_dir, "write the IR after each pass into this folder");
  command->add_flag("--tune", options->tune,
                    "CUDA: measure candidates of every kernel and every fusion on the GPU here, keep those that win, and time the steps that read "
                    "prompts");
  command->add_option("--tuning", options->compile.tuning,
                      "a file of measured choices; 'none' (default: measured here, else heddle's own)");
  command->add_flag("--explain", options->explain, "every place a pass looked at: fired, or declined and why");
  command->add_flag("--force", options->compile.force, "compile even if the cached plan is up to date");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace heddle::tools
