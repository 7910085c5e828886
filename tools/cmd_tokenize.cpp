#include <CLI/CLI.hpp>

#include "frontends/model.h"
#include "runtime/text/tokenizer.h"
#include "tools/commands.h"
#include "tools/console.h"
#include "tools/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, text, decode;
  bool has_text = false, has_decode = false, bos = false, special = false;
};

Result<void> run(const Options& options) {
  plan::VocabularyT vocabulary;
  if (is_plan_file(options.model)) {
    HEDDLE_ASSIGN(auto plan, plan::read_plan(options.model));
    vocabulary = *plan->vocabulary;
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
  if (!options.has_text) return error("tokenize: TEXT or --decode IDS is wanted");
  const auto ids = (*tokenizer)->encode(options.text, {.bos = options.bos, .special = options.special});
  fmt::print("{}\n", fmt::join(ids, " "));
  return {};
}

}  // namespace

void add_tokenize(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("tokenize", "text to token ids, or back");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file or a plan")->required();
  auto* text = command->add_option("text", options->text, "the text (after -- if it begins with a dash)");
  auto* decode = command->add_option("--decode", options->decode, "ids to turn into text: 1,2,3")->type_name("IDS");
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
