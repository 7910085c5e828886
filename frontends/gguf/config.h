#pragma once
#include "frontends/gguf/file.h"

namespace heddle::frontends::gguf {

/// The hyper-parameters of a file of a supported architecture. Defaults are GGUF's (rope.freq_base 10000, head_count_kv = head_count,
/// key_length = embedding_length / head_count, rope.dimension_count = key_length). A key under "<architecture>." that would change what is
/// computed and that heddle does not know, or a value that it does not support, is refused by name. `vocabulary` is the number of tokens,
/// or 0 if the file has no tokenizer: then vocab_size or the rows of token_embd.weight say it.
Result<Config> read_config(const File& file, const std::string& architecture, std::int64_t vocabulary);

}  // namespace heddle::frontends::gguf
