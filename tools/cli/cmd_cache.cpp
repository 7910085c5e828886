#include <CLI/CLI.hpp>

#include "runtime/plan/cache.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

plan::PlanCache cache_of(const CompileOptions& options) {
  return plan::PlanCache(cache_dir_of(options));
}

int list(const CompileOptions& options) {
  const auto cache = cache_of(options);
  for (const auto& item : cache.list())
    fmt::print("{:>10}  {:<12} {}  {}{}\n", human_bytes(item.bytes), item.target, item.path, item.model, item.state == "ok" ? "" : "  (" + item.state + ")");
  return 0;
}

int clear(const CompileOptions& options) {
  const auto cache = cache_of(options);
  auto removed = cache.clear();
  if (!removed.ok()) return fail(removed.error());
  fmt::print("{} files removed from {}\n", *removed, cache.dir());
  return 0;
}

int explain(const std::string& model, CompileOptions& options) {
  auto stale = explain_cached(model, options);
  if (!stale.ok()) return fail(stale.error());
  fmt::print("{}\n", *stale);
  return 0;
}

}  // namespace

void add_cache(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("cache", "look at the plan cache: disposable files, rebuilt when anything they depend on changes");
  command->require_subcommand(1);
  auto options = std::make_shared<CompileOptions>();
  auto model = std::make_shared<std::string>();
  auto* sub = command->add_subcommand("list", "the plans and quantised weights there are");
  sub->add_option("--cache-dir", options->cache_dir, "another folder than the default");
  sub->callback([options, &exit_code] { exit_code = list(*options); });
  sub = command->add_subcommand("explain", "whether a model's plan is up to date, or what differs");
  sub->add_option("model", *model, "a GGUF file or a Hugging Face folder")->required();
  add_plan_options(*sub, *options);
  add_pass_options(*sub, *options);
  sub->callback([options, model, &exit_code] { exit_code = explain(*model, *options); });
  sub = command->add_subcommand("clear", "remove all plans and quantised weights");
  sub->add_option("--cache-dir", options->cache_dir, "another folder than the default");
  sub->callback([options, &exit_code] { exit_code = clear(*options); });
}

}  // namespace heddle::tools
