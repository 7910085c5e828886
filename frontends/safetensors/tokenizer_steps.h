#pragma once
#include "frontends/safetensors/json.h"
#include "runtime/plan/plan.h"

namespace heddle::frontends::safetensors {

/// The `normalizer`, `pre_tokenizer` and `decoder` of a tokenizer.json as the record's steps: sets normalizers, pre_steps, characters and
/// add_space_prefix. "tokenizer.json: 'pre_tokenizer': 'BertPreTokenizer' is not supported".
Result<void> read_steps(const JsonObject& file, plan::Vocabulary& vocabulary);

/// Its `post_processor`: sets add_bos and add_eos, and the ids that it puts around a text. The tokens are there already.
Result<void> read_template(const JsonObject& file, plan::Vocabulary& vocabulary);

}  // namespace heddle::frontends::safetensors
