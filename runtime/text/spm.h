#pragma once
#include <array>
#include <string_view>

#include "runtime/text/special_tokens.h"
#include "runtime/text/text_index.h"
#include "runtime/text/tokenizer.h"

namespace heddle::text {

/// SentencePiece BPE (vocabulary kind "spm"): of all neighbours that together are a token, the pair with the best score is merged, the
/// leftmost among equals. Characters that are no token fall back to byte tokens <0xNN>. A blank is the character U+2581, which tokens may
/// hold anywhere; one is put in front of a text and after a special token when `add_space_prefix` is set.
class SpmTokenizer final : public Tokenizer {
 public:
  explicit SpmTokenizer(const plan::Vocabulary& vocabulary);
  std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options) const override;
  std::string piece(std::int32_t token, bool first, bool special) const override;

 private:
  void encode_part(std::string_view text, std::vector<std::int32_t>& out) const;
  void append_bytes(std::string_view character, std::vector<std::int32_t>& out) const;

  SpecialTokens special_;
  TextIndex ids_;
  std::size_t longest_ = 0;       // bytes of the longest token
  bool blanks_are_first_ = true;  // no token has a blank after another character
  std::array<std::int32_t, 256> byte_tokens_;
};

}  // namespace heddle::text
