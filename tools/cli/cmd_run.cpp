#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>

#include "runtime/session/conversation.h"
#include "runtime/cuda/device.h"
#include "runtime/session/generate.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, prompt, file, ids, system, chat_template;
  bool has_prompt = false, chat = false;
  CompileOptions compile;
  DeviceOptions device;
  runtime::GenerateOptions generate;
  std::int64_t context = 0;
  bool json = false, no_echo = false, ignore_eos = false;
};

struct Prompt {
  std::string text;
  std::vector<std::int32_t> tokens;
};

Result<Prompt> prompt_of(const Options& options, const plan::Plan& plan, const text::Tokenizer* tokenizer, const std::optional<Error>& why_not) {
  Prompt prompt;
  if (!options.ids.empty()) {
    HEDDLE_ASSIGN(prompt.tokens, parse_ids(options.ids, plan.model.vocabulary));
    if (tokenizer) prompt.text = tokenizer->decode(prompt.tokens);
  } else {
    if (!tokenizer) return error("-p: {}; use --ids", why_not->message());
    prompt.text = options.prompt;
    if (!options.has_prompt) {
      HEDDLE_ASSIGN(prompt.text, read_input(options.file.empty() ? "-" : options.file));
    }
    if (options.chat) {
      HEDDLE_ASSIGN(const auto chat_template, template_for(plan, options.chat_template));
      std::vector<chat::Message> messages;
      if (!options.system.empty()) messages.push_back({"system", options.system});
      messages.push_back({"user", prompt.text});
      HEDDLE_ASSIGN(prompt.tokens, runtime::chat_tokens(chat_template, messages, *tokenizer));
      prompt.text = tokenizer->decode(prompt.tokens, /*special=*/true);
    } else {
      prompt.tokens = tokenizer->encode(prompt.text, {.bos = true, .special = true});
    }
  }
  if (prompt.tokens.empty()) return error("the prompt is empty");
  return prompt;
}

Result<void> run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  CompileOptions compile = options.compile;
  compile.context = options.context;
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, compile));
  const double plan_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (compiled.built) fmt::print(stderr, "compiled: {}\n", compiled.why);
  const plan::Plan& plan = *compiled.plan;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::optional<Error> why_not;
  if (auto made = text::Tokenizer::create(plan.vocabulary); made.ok()) tokenizer = std::move(*made);
  else why_not = made.take_error();

  HEDDLE_ASSIGN(auto prompt, prompt_of(options, plan, tokenizer.get(), why_not));
  const std::int64_t count = options.generate.max_tokens;
  const std::int64_t context = context_for(plan, options.context, std::int64_t(prompt.tokens.size()) + std::max<std::int64_t>(count, 0));
  auto used = compiled.plan;
  if (compile.context != context && depends_on_context(plan)) {
    compile.context = context;
    HEDDLE_ASSIGN(auto again, plan_for(options.model, compile));
    used = again.plan;
  }
  HEDDLE_ASSIGN(auto session, open_session(used, context, options.device));

  catch_interrupt();
  const bool plain = !options.json;
  if (plain && !options.no_echo && !options.chat) fmt::print("{}", prompt.text);
  std::fflush(stdout);
  std::string text;
  auto on_text = [&](std::string_view piece) {
    if (plain) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    }
    text += piece;
  };
  auto on_token = [&](std::int32_t id) {
    if (plain && !tokenizer) {
      fmt::print(" {}", id);
      std::fflush(stdout);
    }
    return !interrupted();
  };
  HEDDLE_ASSIGN(auto result, runtime::generate(session, tokenizer.get(), prompt.tokens, options.generate, on_text, on_token));
  if (options.json) {
    nlohmann::json out = {{"prompt", prompt.text},
                          {"text", text},
                          {"prompt_tokens", prompt.tokens},
                          {"tokens", result.tokens},
                          {"stop", std::string(runtime::name(result.reason))},
                          {"prefill_seconds", result.prefill_seconds},
                          {"decode_seconds", result.decode_seconds}};
    fmt::print("{}\n", out.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("\n");
  }
  const double prompt_tokens = double(result.prompt_tokens), generated = double(result.tokens.size());
  if (const auto* cuda = dynamic_cast<const runtime::CudaDevice*>(&session.device())) {
    const auto load = cuda->load_seconds();
    fmt::print(stderr, "load: plan {:.2f} s, kernels {:.2f} s, weights {:.2f} s, graphs {:.2f} s\n", plan_seconds, load.modules, load.upload, load.graphs);
  }
  fmt::print(stderr, "prompt {} tokens, {:.1f} tokens/s; generated {} tokens, {:.1f} tokens/s; stopped: {}; {}{}\n", result.prompt_tokens,
             prompt_tokens / std::max(result.prefill_seconds, 1e-9), result.tokens.size(), std::max(generated - 1, 0.0) / std::max(result.decode_seconds, 1e-9),
             runtime::name(result.reason), session.device().description(), result.drawn_on_device || plan.backend == BackendKind::cpu ? "" : ", sampled by the host");
  return {};
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("run", "generate text; compiles the model first when there is no valid plan");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  auto* prompt = command->add_option("-p,--prompt", options->prompt, "the text to continue");
  command->add_option("-f,--file", options->file, "read the prompt from a file; - is standard input")->excludes(prompt);
  auto* ids = command->add_option("--ids", options->ids, "the prompt as token ids: 1,2,3")->excludes(prompt);
  command->add_option("--ctx", options->context, "positions to make room for (default: trained length or 4096, whichever is less)")
      ->check(CLI::Range(std::int64_t(1), std::int64_t(1) << 30));
  auto* chat = command->add_flag("--chat", options->chat, "the prompt is a question, put to the model through its chat template")->excludes(ids);
  command->add_option("--system", options->system, "with --chat: the system message")->needs(chat);
  add_template_option(*command, options->chat_template);
  add_sampling_options(*command, options->generate);
  command->add_flag("--no-echo", options->no_echo, "do not print the prompt");
  command->add_flag("--json", options->json, "one JSON object instead of text");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, prompt, &exit_code] {
    options->has_prompt = prompt->count() > 0;
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
