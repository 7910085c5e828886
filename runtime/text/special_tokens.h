#pragma once
#include <bitset>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/plan/plan.h"
#include "runtime/text/text_steps.h"

/// Tokens whose texts are cut out of a text before the engine sees the rest.
namespace heddle::text {

/// Token types as in GGUF.
enum class TokenType : std::uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

inline TokenType type_of(const plan::Token& token) { return TokenType(token.type); }

/// A control token, or one that ends a text whatever its type says (llama.cpp overrides the type of end tokens in the same way).
bool is_control(const plan::Vocabulary& vocabulary, std::int32_t token);

struct Fragment {
  std::string_view text;
  std::int32_t token = -1;  // the token whose text this is; -1: text for the engine
};

class SpecialTokens {
 public:
  /// Those that are found in a text as it is. `vocabulary` outlives this.
  explicit SpecialTokens(const plan::Vocabulary& vocabulary);
  /// Those that are found after `normalizers` (TokenMatch::rewritten), by what these make of their texts.
  SpecialTokens(const plan::Vocabulary& vocabulary, const TextSteps& normalizers);

  /// Cuts `text` at user-defined tokens and, with `special`, at control and unknown tokens too: from left to right, at each place the
  /// longest that matches. No fragment is empty. (llama.cpp takes the longest token of the whole text first; the two differ only where
  /// special tokens overlap. Hugging Face's added tokens are leftmost-longest as here.) A token may take the white space beside it along,
  /// or count only where it is no part of a word (TokenMatch).
  std::vector<Fragment> split(std::string_view text, bool special) const;

 private:
  struct Entry {
    std::string_view text;
    std::int32_t token;
    plan::TokenMatch match;
  };
  /// Texts in order, so that those with a common start are neighbours.
  struct Set {
    std::vector<Entry> entries;
    std::bitset<256> first_bytes;
    void finish();
    const Entry* longest_match(std::string_view text) const;
  };
  void add(std::string_view text, std::int32_t token);
  bool fits(const Entry& entry, std::string_view text, std::size_t begin) const;

  const plan::Vocabulary& vocabulary_;
  Set always_, with_special_;
  std::deque<std::string> own_texts_;  // rewritten ones
};

}  // namespace heddle::text
