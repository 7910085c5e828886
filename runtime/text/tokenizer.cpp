#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <cmath>

#include "runtime/text/bpe.h"
#include "runtime/text/special_tokens.h"
#include "runtime/text/spm.h"
#include "runtime/text/utf8.h"

namespace heddle::text {
namespace {

Result<void> check(const plan::Vocabulary& v) {
  const auto size = std::int32_t(v.tokens.size());
  if (size == 0) return error("vocabulary: no tokens");
  const auto check_id = [&](std::string_view what, std::int32_t id, std::int32_t least) -> Result<void> {
    if (id < least || id >= size) return error("vocabulary: {} token is {}, there are {} tokens", what, id, size);
    return {};
  };
  HEDDLE_TRY(check_id("bos", v.bos, -1));
  HEDDLE_TRY(check_id("eos", v.eos, -1));
  HEDDLE_TRY(check_id("unknown", v.unknown, -1));
  for (std::int32_t id : v.end_tokens) HEDDLE_TRY(check_id("end", id, 0));
  for (std::int32_t i = 0; i < size; ++i) {
    if (std::isnan(v.tokens[i].score)) return error("vocabulary: score of token {} is nan", i);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const plan::Vocabulary& vocabulary) {
  if (vocabulary.kind == "none") return error("vocabulary kind 'none': the model has no tokenizer; give ids");
  if (vocabulary.kind != "spm" && vocabulary.kind != "bpe") {
    return error("vocabulary kind '{}' is not supported (supported: bpe, spm)", vocabulary.kind);
  }
  HEDDLE_TRY(check(vocabulary));
  if (vocabulary.kind == "bpe") return BpeTokenizer::create(vocabulary);
  return std::unique_ptr<Tokenizer>(std::make_unique<SpmTokenizer>(vocabulary));
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens, bool special) const {
  Detokenizer detokenizer(*this, true, special);
  std::string out;
  for (std::int32_t token : tokens) out += detokenizer.add(token);
  return out += detokenizer.finish();
}

bool Tokenizer::is_end(std::int32_t token) const {
  return std::find(vocabulary_->end_tokens.begin(), vocabulary_->end_tokens.end(), token) != vocabulary_->end_tokens.end();
}

std::string Detokenizer::add(std::int32_t token) {
  if (token < 0 || token >= tokenizer_->size()) return "";
  held_ += tokenizer_->piece(token, first_, special_);
  if (!is_control(tokenizer_->vocabulary(), token)) first_ = false;
  return take_characters(held_);
}

std::string Detokenizer::finish() {
  if (held_.empty()) return "";
  held_.clear();
  return std::string(replacement_character);
}

}  // namespace heddle::text
