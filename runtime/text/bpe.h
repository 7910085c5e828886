#pragma once
#include <array>
#include <deque>
#include <string_view>

#include "runtime/text/pre_tokenizers.h"
#include "runtime/text/special_tokens.h"
#include "runtime/text/text_index.h"
#include "runtime/text/tokenizer.h"

namespace heddle::text {

/// BPE by a list of merges (vocabulary kind "bpe"): a text is rewritten (`normalizers`) and cut into words (pre_tokenizers.h), whose
/// symbols are merged in the order of the list, the leftmost first. A word's symbols are its bytes as characters of GPT-2's alphabet, or,
/// where the vocabulary says `characters`, its characters, those that are no token as byte tokens <0xNN> or unknown; only then U+2581
/// stands for a blank and `add_space_prefix` applies, to texts that are put together from tokens.
class BpeTokenizer final : public Tokenizer {
 public:
  /// "merge 5 is 'abc', wanted two symbols separated by a blank" and the errors of PreTokenizer::create.
  static Result<std::unique_ptr<Tokenizer>> create(const plan::Vocabulary& vocabulary);
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options) const override;
  std::string piece(std::int32_t token, bool first, bool special) const override;

 private:
  struct Scratch;

  BpeTokenizer(const plan::Vocabulary& vocabulary, TextSteps normalizers, PreTokenizer pre);
  Result<void> add_merges();
  /// A symbol is a text over the alphabet that a merge takes or gives: the id of the token with this text, or a number above all ids.
  std::int32_t symbol(std::string_view text);
  void encode_text(std::string_view text, bool at_start, bool special, Scratch& scratch, std::vector<std::int32_t>& out) const;
  void encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const;
  void add_symbols(std::string_view word, Scratch& scratch) const;
  void append_byte(std::uint8_t byte, std::vector<std::int32_t>& out) const;

  TextSteps normalizers_;
  PreTokenizer pre_;
  SpecialTokens special_, rewritten_special_;
  TextIndex symbols_;
  std::deque<std::string> own_texts_;           // of symbols that are no tokens
  std::array<std::int32_t, 256> byte_symbols_;  // a number above all ids where a byte has none
  MergeIndex merges_;
};

}  // namespace heddle::text
