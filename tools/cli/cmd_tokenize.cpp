#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "frontends/model.h"
#include "runtime/plan/plan_file.h"
#include "runtime/text/tokenizer.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, text, decode, json_lines;
  bool has_text = false, has_decode = false, bos = false, special = false;
};

/// Each line a JSON text; for each a line of ids.
Result<void> tokenize_lines(const Options& options, const text::Tokenizer& tokenizer) {
  HEDDLE_ASSIGN(const std::string input, read_input(options.json_lines));
  std::size_t number = 0;
  for (std::string_view rest = input; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const auto line = nlohmann::json::parse(rest.substr(0, end), nullptr, /*allow_exceptions=*/false);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++number;
    if (!line.is_string()) return error("{}: line {} is no JSON text", options.json_lines, number);
    const auto ids = tokenizer.encode(line.get_ref<const std::string&>(), {.bos = options.bos, .special = options.special});
    fmt::print("{}\n", fmt::join(ids, " "));
  }
  return {};
}

Result<void> run(const Options& options) {
  plan::Vocabulary vocabulary;
  if (is_plan_file(options.model)) {
    HEDDLE_ASSIGN(auto plan, plan::read_plan(options.model));
    vocabulary = plan->vocabulary;
  } else {
    HEDDLE_ASSIGN(auto model, frontends::open_model(options.model));
    vocabulary = std::move(model.vocabulary);
  }
  auto tokenizer = text::Tokenizer::create(vocabulary);
  if (!tokenizer.ok()) return tokenizer.take_error().at(options.model);
  if (options.has_decode) {
    HEDDLE_ASSIGN(auto ids, parse_ids(options.decode, (*tokenizer)->size()));
    fmt::print("{}\n", (*tokenizer)->decode(ids, options.special));
    return {};
  }
  if (!options.json_lines.empty()) return tokenize_lines(options, **tokenizer);
  if (!options.has_text) return error("tokenize: TEXT, --json-lines FILE or --decode IDS is wanted");
  const auto ids = (*tokenizer)->encode(options.text, {.bos = options.bos, .special = options.special});
  fmt::print("{}\n", fmt::join(ids, " "));
  return {};
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("tokenize", "text to token ids, or back");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  auto* text = command->add_option("text", options->text, "the text (after -- if it begins with a dash)");
  auto* decode = command->add_option("--decode", options->decode, "ids to turn into text: 1,2,3")->type_name("IDS");
  command->add_option("--json-lines", options->json_lines, "a file with a JSON text in each line, for a line of ids each; - is standard input")
      ->type_name("FILE")
      ->excludes(text)
      ->excludes(decode);
  command->add_flag("--bos", options->bos, "put the vocabulary's first token in front");
  command->add_flag("--special", options->special, "texts of control tokens become those tokens (with --decode: print them)");
  command->callback([=, &exit_code] {
    options->has_text = text->count() > 0;
    options->has_decode = decode->count() > 0;
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
