#pragma once
#include "frontends/gguf/metadata.h"
#include "runtime/plan/plan.h"

namespace heddle::frontends::gguf {

/// The vocabulary that a file's `tokenizer.ggml.*` keys describe; of kind "none" where there is none. Every id is one of the vocabulary,
/// arrays are of one length, types are 1 to 6, byte tokens are "<0xNN>", merges have two parts. What the file leaves open is as in
/// llama.cpp: an "spm" vocabulary has unknown 0, BOS 1, EOS 2, puts BOS and a blank in front; a "bpe" one does neither, but for some
/// pre-tokenizers, which put BOS in front (if the file names one). `end_tokens`: EOS, end of turn, end of message, then control tokens with
/// well-known texts.
Result<plan::Vocabulary> read_vocabulary(const Metadata& metadata);

}  // namespace heddle::frontends::gguf
