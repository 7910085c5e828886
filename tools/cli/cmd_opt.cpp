#include <CLI/CLI.hpp>

#include "codegen/spec.h"
#include "ir/interp/check_numerics.h"
#include "codegen/backend.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "passes/plugin.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string file, passes;
  CompileOptions compile;
  bool explain = false, check_numerics = false, verify_each = false, list = false;
};

Result<void> run(const Options& options) {
  auto& registry = passes::Registry::global();
  passes::register_builtin_passes(registry);
  for (const auto& path : options.compile.plugins) {
    HEDDLE_ASSIGN(auto plugin, passes::load_pass_plugin(path));
    (void)plugin;
  }
  if (options.list) {
    for (const passes::Pass* pass : registry.all()) fmt::print("{:<28} {}\n", pass->name, pass->summary);
    return {};
  }
  HEDDLE_ASSIGN(auto text, read_input(options.file.empty() ? "-" : options.file));
  const std::string name = options.file.empty() || options.file == "-" ? "<stdin>" : options.file;
  HEDDLE_ASSIGN(auto module, ir::parse(text, name));
  if (auto valid = ir::verify(*module); !valid.ok()) return valid.take_error().at(name);
  std::vector<passes::Step> steps;
  if (options.passes.empty()) {
    steps = passes::default_pipeline(codegen::backend(module->target).extra_passes());
  } else {
    HEDDLE_ASSIGN(steps, passes::parse_pipeline(options.passes, registry));
  }
  const auto questions = codegen::backend(module->target).questions(module->target);
  passes::RunOptions run;
  run.disabled = options.compile.disabled;
  run.pass_limit = options.compile.pass_limit;
  run.verify_each = options.verify_each;
  HEDDLE_ASSIGN(auto report, passes::run_pipeline(*module, steps, questions.get(), run));
  if (auto valid = ir::verify(*module); !valid.ok()) return valid.take_error().at("after the passes");
  if (options.explain)
    for (const auto& remark : report.remarks) fmt::print(stderr, "{}\n", remark.str());
  if (options.check_numerics) {
    HEDDLE_ASSIGN(auto before, ir::parse(text, name));
    HEDDLE_ASSIGN(const auto difference, ir::interp::check_numerics(*before, *module, 1));
    fmt::print(stderr, "numerics: largest difference {}\n", difference.largest);
    if (!difference.identical()) return error("the passes changed the results: {}", difference.where);
  }
  fmt::print("{}", ir::print(*module));
  return {};
}

}  // namespace

void add_opt(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("opt", "IR text in, passes, IR text out");
  auto options = std::make_shared<Options>();
  command->add_option("file", options->file, "IR text; - or nothing is standard input");
  command->add_option("--passes", options->passes, "a,b{option=value},c (default: the target's list)");
  command->add_option("--disable", options->compile.disabled, "leave a pass out (again for more)")->take_all()->type_name("PASS");
  command->add_option("--pass-plugin", options->compile.plugins, "a shared library with passes of your own")->take_all()->type_name("LIB");
  command->add_option("--pass-limit", options->compile.pass_limit, "stop changing the IR after N changes")->type_name("N");
  command->add_flag("--explain", options->explain, "what each pass did and declined, on stderr");
  command->add_flag("--check-numerics", options->check_numerics, "run the IR before and after on the interpreter with random inputs; any difference fails");
  command->add_flag("--verify-each", options->verify_each, "check the IR after every pass");
  command->add_flag("--list", options->list, "the passes there are");
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
