#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/console.h"
#include "tools/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, ids;
  CompileOptions compile;
  DeviceOptions device;
  bool json = false;
};

Result<void> run(const Options& options) {
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, options.compile));
  HEDDLE_ASSIGN(auto ids, parse_ids(options.ids, compiled.plan->model->vocabulary));
  if (ids.empty()) return error("--ids: at least one id is wanted");
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, std::int64_t(ids.size()), options.device));
  HEDDLE_ASSIGN(auto logits, session.feed(ids));
  if (options.json) {
    fmt::print("{}\n", nlohmann::json{{"logits", std::vector<float>(logits.begin(), logits.end())}}.dump());
  } else {
    for (std::size_t i = 0; i < logits.size(); ++i) fmt::print("{} {}\n", i, logits[i]);
  }
  return {};
}

}  // namespace

void add_logits(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("logits", "the logits of the whole vocabulary after the last id");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file or a plan")->required();
  command->add_option("--ids", options->ids, "token ids: 1,2,3")->required();
  command->add_flag("--json", options->json, "{\"logits\": [...]} instead of a line per token");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
