#pragma once
#include <optional>

#include "frontends/safetensors/json.h"
#include "runtime/plan/plan.h"

namespace heddle::frontends::safetensors {

/// The files that say how texts become tokens; those that are optional may be missing.
struct TokenizerFiles {
  JsonObject config;
  std::optional<JsonObject> tokenizer, tokenizer_config, generation_config;
};

/// The vocabulary record of a tokenizer.json (source: the `tokenizers` library): kind "bpe" with its steps, or "none" where there is no
/// such file. `vocabulary` is the number of tokens that the model has, of which the last may have no text; 0: the tokenizer's. A model,
/// step or decoder that the record cannot express is refused by name.
Result<plan::Vocabulary> read_vocabulary(const TokenizerFiles& files, std::int64_t vocabulary);

/// The `chat_template` of a tokenizer_config.json: a text, or a list of named ones with one called "default". Empty if there is none.
Result<std::string> chat_template_of(const JsonObject& tokenizer_config);

}  // namespace heddle::frontends::safetensors
