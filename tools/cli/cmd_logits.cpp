#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, ids;
  CompileOptions compile;
  DeviceOptions device;
  bool json = false;
  int greedy = 0;
};

/// So many tokens behind what the session was fed, each the likeliest.
Result<std::vector<std::int32_t>> greedy_tokens(runtime::Session& session, std::span<const float> logits, int count) {
  std::vector<std::int32_t> out;
  while (int(out.size()) < count) {
    out.push_back(std::int32_t(std::ranges::max_element(logits) - logits.begin()));
    HEDDLE_ASSIGN(logits, session.feed(std::span(out).last(1)));
  }
  return out;
}

Result<void> run(const Options& options) {
  CompileOptions compile = options.compile;
  HEDDLE_ASSIGN(const auto wanted, parse_ids(options.ids, INT32_MAX));
  compile.context = std::int64_t(wanted.size()) + options.greedy;
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, compile));
  HEDDLE_ASSIGN(auto ids, parse_ids(options.ids, compiled.plan->model.vocabulary));
  if (ids.empty()) return error("--ids: at least one id is wanted");
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, compile.context, options.device));
  HEDDLE_ASSIGN(const auto last, session.feed(ids));
  const std::vector<float> logits(last.begin(), last.end());
  HEDDLE_ASSIGN(const auto greedy, greedy_tokens(session, logits, options.greedy));
  if (options.json) {
    nlohmann::json out{{"logits", logits}};
    if (options.greedy > 0) out["greedy"] = greedy;
    fmt::print("{}\n", out.dump());
  } else {
    for (std::size_t i = 0; i < logits.size(); ++i) fmt::print("{} {}\n", i, logits[i]);
    if (options.greedy > 0) fmt::print("greedy {}\n", fmt::join(greedy, " "));
  }
  return {};
}

}  // namespace

void add_logits(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("logits", "the logits of the whole vocabulary after the last id");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  command->add_option("--ids", options->ids, "token ids: 1,2,3")->required();
  command->add_flag("--json", options->json, "{\"logits\": [...]} instead of a line per token");
  command->add_option("--greedy", options->greedy, "then N tokens, each the likeliest after the ones before")
      ->check(CLI::Range(0, 1 << 20))
      ->type_name("N");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
