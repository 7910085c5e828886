#pragma once
#include <initializer_list>
#include <memory>
#include <string>

#include "runtime/text/special_tokens.h"
#include "runtime/text/tokenizer.h"

/// Vocabularies of a few tokens, for tests.
namespace heddle::text {

using Ids = std::vector<std::int32_t>;

struct SmallToken {
  std::string text;
  float score = 0;
  TokenType type = TokenType::normal;
};

inline void add(plan::Vocabulary& vocabulary, const SmallToken& token) {
  vocabulary.tokens.push_back({.text = token.text, .score = token.score, .type = std::uint8_t(token.type), .match = {}});
}

/// 0 <unk>, 1 <s>, 2 </s> (ends a text), then `tokens` from 3 on.
inline plan::Vocabulary small_spm(std::initializer_list<SmallToken> tokens) {
  plan::Vocabulary v;
  v.kind = "spm";
  for (const SmallToken& t :
       {SmallToken{"<unk>", 0, TokenType::unknown}, SmallToken{"<s>", 0, TokenType::control}, SmallToken{"</s>", 0, TokenType::control}})
    add(v, t);
  for (const SmallToken& t : tokens) add(v, t);
  v.unknown = 0;
  v.bos = 1;
  v.eos = 2;
  v.end_tokens = {2};
  v.add_bos = true;
  return v;
}

/// Adds <0x00> to <0xFF>; returns the id of <0x00>.
inline std::int32_t add_byte_tokens(plan::Vocabulary& vocabulary) {
  const auto first = std::int32_t(vocabulary.tokens.size());
  for (int b = 0; b < 256; ++b) add(vocabulary, {fmt::format("<0x{:02X}>", b), 0, TokenType::byte});
  return first;
}

inline plan::Vocabulary small_bpe(std::initializer_list<SmallToken> tokens, std::vector<std::string> merges, std::string pre = "gpt-2") {
  plan::Vocabulary v;
  v.kind = "bpe";
  v.pre = std::move(pre);
  v.add_space_prefix = false;
  for (const SmallToken& t : tokens) add(v, t);
  v.merges = std::move(merges);
  return v;
}

inline std::unique_ptr<Tokenizer> open(const plan::Vocabulary& vocabulary) {
  auto made = Tokenizer::create(vocabulary);
  HEDDLE_CHECK(made.ok(), "{}", made.error().message());
  return std::move(*made);
}

inline std::string error_of(const plan::Vocabulary& vocabulary) {
  auto made = Tokenizer::create(vocabulary);
  return made.ok() ? "no error" : made.error().message();
}

}  // namespace heddle::text
