#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "runtime/session/conversation.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/line_editor.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, system, chat_template;
  CompileOptions compile;
  DeviceOptions device;
  runtime::GenerateOptions generate;
  std::int64_t context = 0;
  bool json = false, stats = false;
};

std::string json_of(const runtime::Conversation::Turn& turn) {
  const nlohmann::json out = {{"text", turn.text},
                              {"prompt_tokens", turn.prompt_tokens},
                              {"kept_tokens", turn.kept_tokens},
                              {"tokens", turn.result.tokens},
                              {"stop", std::string(runtime::name(turn.result.reason))}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// One question and its answer, which is printed as it comes.
Result<void> answer(runtime::Conversation& conversation, const std::string& question, const Options& options, std::int64_t context) {
  catch_interrupts();
  const auto print = [&](std::string_view piece) {
    if (options.json) return;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  HEDDLE_ASSIGN(const auto turn, conversation.say(question, options.generate, print, [](std::int32_t) { return !interrupted(); }));
  fmt::print("{}\n", options.json ? json_of(turn) : "");
  std::fflush(stdout);
  const auto& result = turn.result;
  if (result.reason == runtime::StopReason::context_full)
    fmt::print(stderr,
               "heddle: the context of {} positions is full and the answer cut off: /clear begins a new conversation, --ctx makes room\n",
               context);
  if (options.stats)
    fmt::print(stderr, "prompt {} tokens, {} of them in the cache; fed in {:.2f} s; answer {} tokens, {:.1f} tokens/s; stopped: {}\n",
               turn.prompt_tokens, turn.kept_tokens, result.prefill_seconds, result.tokens.size(),
               std::max(double(result.tokens.size()) - 1, 0.0) / std::max(result.decode_seconds, 1e-9), runtime::name(result.reason));
  return {};
}

Result<void> run(const Options& options) {
  CompileOptions compile = options.compile;
  compile.context = options.context;
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, compile));
  if (options.context == 0 && depends_on_context(*compiled.plan)) {
    compile.context = context_for(*compiled.plan, 0, 0);
    HEDDLE_ASSIGN(compiled, plan_for(options.model, compile));
  }
  if (compiled.built) fmt::print(stderr, "compiled: {}\n", compiled.why);
  const plan::Plan& plan = *compiled.plan;
  HEDDLE_ASSIGN(const auto tokenizer, text::Tokenizer::create(plan.vocabulary));
  HEDDLE_ASSIGN(const auto chat_template, template_for(plan, options.chat_template));
  const std::int64_t context = context_for(plan, options.context, 0);
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, context, options.device));
  runtime::Conversation conversation(session, *tokenizer, chat_template);
  conversation.begin(options.system);

  LineEditor lines("> ");
  if (lines.terminal())
    fmt::print("{}; {}\nCtrl-C stops an answer; /clear begins a new conversation, /exit or Ctrl-D ends this one\n\n", plan.model.name,
               session.device().description());
  for (;;) {
    if (lines.terminal()) catch_interrupts();
    const auto line = lines.next();
    if (!line || *line == "/exit") return {};
    if (*line == "/clear") {
      conversation.begin(options.system);
      continue;
    }
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    auto answered = answer(conversation, *line, options, context);
    if (answered.ok()) {
      if (lines.terminal()) fmt::print("\n");
      continue;
    }
    if (!lines.terminal()) return answered;
    fail(answered.error());
  }
}

}  // namespace

void add_chat(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("chat", "talk to a model in a terminal, or line by line through a pipe");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  command->add_option("--system", options->system, "the system message: what the model shall be");
  add_template_option(*command, options->chat_template);
  command->add_option("--ctx", options->context, "positions to make room for (default: trained length or 4096, whichever is less)")
      ->check(CLI::Range(std::int64_t(1), std::int64_t(1) << 30));
  add_sampling_options(*command, options->generate);
  command->add_flag("--json", options->json, "one JSON object an answer instead of text");
  command->add_flag("--stats", options->stats, "after each answer: tokens fed, kept and generated, and how fast");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
