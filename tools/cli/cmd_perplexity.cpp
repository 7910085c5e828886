#include <CLI/CLI.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "ir/base/mapped_file.h"
#include "runtime/text/tokenizer.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, file, tokens;
  std::int64_t window = 512, limit = 0, rows = INT32_MAX;
  CompileOptions compile;
  DeviceOptions device;
  bool json = false;
};

Result<std::vector<std::int32_t>> tokens_of(const Options& options, const plan::Plan& plan) {
  std::vector<std::int32_t> tokens;
  if (!options.tokens.empty()) {
    HEDDLE_ASSIGN(auto file, MappedFile::open(options.tokens));
    if (file.bytes().size() % 4 != 0) return error("{}: {} bytes are no whole number of 32-bit ids", options.tokens, file.bytes().size());
    tokens.resize(file.bytes().size() / 4);
    std::memcpy(tokens.data(), file.bytes().data(), file.bytes().size());
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (tokens[i] < 0 || tokens[i] >= std::int64_t(plan.model.vocabulary))
        return error("{}: id {} at {} is outside the vocabulary of {} tokens", options.tokens, tokens[i], i, plan.model.vocabulary);
    return tokens;
  }
  HEDDLE_ASSIGN(auto tokenizer, text::Tokenizer::create(plan.vocabulary));
  HEDDLE_ASSIGN(auto text, read_input(options.file.empty() ? "-" : options.file));
  return tokenizer->encode(text, {.bos = false, .special = true});  // a text for scoring holds its own end tokens
}

/// -log softmax(logits)[token], in double.
double negative_log_likelihood(std::span<const float> logits, std::int32_t token) {
  double largest = -INFINITY, sum = 0;
  for (float x : logits) largest = std::max(largest, double(x));
  for (float x : logits) sum += std::exp(x - largest);
  return std::log(sum) + largest - logits[std::size_t(token)];
}

Result<void> run(const Options& options) {
  CompileOptions compile = options.compile;
  compile.context = options.window;
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, compile));
  HEDDLE_ASSIGN(auto tokens, tokens_of(options, *compiled.plan));
  const std::size_t window = std::size_t(options.window);
  std::size_t windows = tokens.size() / window;
  if (options.limit > 0) windows = std::min(windows, std::size_t(options.limit));
  if (windows == 0) return error("{} tokens are fewer than one window of {}", tokens.size(), window);
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, options.window, options.device));
  auto progress = progress_line("scoring");
  double total = 0;
  std::size_t scored = 0;
  for (std::size_t w = 0; w < windows; ++w) {
    session.rewind(0);
    const std::span<const std::int32_t> ids(tokens.data() + w * window, window);
    HEDDLE_TRY(session.feed_all_logits(
        ids,
        [&](std::size_t i, std::span<const float> logits) -> Result<void> {
          if (i + 1 == window) return {};
          const double nll = negative_log_likelihood(logits, ids[i + 1]);
          if (!std::isfinite(nll)) return error("logits after token {} of window {} are not finite", i, w);
          total += nll;
          ++scored;
          return {};
        },
        std::size_t(options.rows)));
    progress(double(w + 1) / double(windows));
  }
  const double nll = total / double(scored), perplexity = std::exp(nll);
  if (options.json)
    fmt::print("{}\n",
               nlohmann::json{{"ppl", perplexity}, {"nll_per_token", nll}, {"tokens_scored", scored}, {"window", options.window}}.dump());
  else fmt::print("perplexity {:.4f} over {} tokens in windows of {} ({:.6f} nats a token)\n", perplexity, scored, window, nll);
  return {};
}

}  // namespace

void add_perplexity(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("perplexity", "perplexity over windows of a text; every position of a window but the first is scored");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  auto* file = command->add_option("-f,--file", options->file, "a text file; - is standard input");
  command->add_option("--tokens", options->tokens, "token ids instead: a file of little-endian 32-bit integers")->excludes(file);
  command->add_option("--window", options->window, "tokens a window")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t(2), std::int64_t(1) << 24));
  command->add_option("--windows", options->limit, "score only the first N windows")->check(CLI::PositiveNumber);
  command->add_option("--rows", options->rows, "tokens a step at most (default: as many as the plan's widest decode entry point has)")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "a JSON object");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
