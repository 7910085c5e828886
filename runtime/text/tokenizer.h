#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

/// Tokenizer engines over a vocabulary record of a plan.
namespace heddle::text {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// "vocabulary kind 'none': the model has no tokenizer; give ids", "pre-tokenizer 'foo' is not supported (supported: ...)" and the like.
  static Result<std::unique_ptr<Tokenizer>> create(const plan::Vocabulary& vocabulary);

  struct EncodeOptions {
    bool bos = false;      // put the vocabulary's BOS in front (when it has one and asks for it)
    bool special = false;  // texts of control and unknown tokens become those tokens (those of user-defined ones always do)
  };
  /// `text` is any bytes; what is not UTF-8 is encoded bytewise where the vocabulary can, else as the unknown token.
  virtual std::vector<std::int32_t> encode(std::string_view text, EncodeOptions options) const = 0;

  /// The bytes a token stands for (a control, unknown or unused token: none, unless `special`; an id outside the vocabulary: none).
  /// `first` is true at the start of a text, where SPM drops the space it had put in front. Bytes of one character may be spread over
  /// tokens: see Detokenizer.
  virtual std::string piece(std::int32_t token, bool first, bool special = false) const = 0;

  /// All pieces as UTF-8, with U+FFFD for bytes that are not.
  std::string decode(std::span<const std::int32_t> tokens, bool special = false) const;
  bool is_end(std::int32_t token) const;
  std::int32_t size() const { return std::int32_t(vocabulary_->tokens.size()); }
  const plan::Vocabulary& vocabulary() const { return *vocabulary_; }

 protected:
  explicit Tokenizer(const plan::Vocabulary& vocabulary) : vocabulary_(&vocabulary) {}
  const plan::Vocabulary* vocabulary_;  // outlives the tokenizer
};

/// Joins pieces and gives text out in whole UTF-8 sequences: bytes of an unfinished one are held back. Bytes that can never become UTF-8
/// come out as U+FFFD.
class Detokenizer {
 public:
  /// `at_start`: nothing but control tokens stands before. `special`: control tokens come out as their texts.
  explicit Detokenizer(const Tokenizer& tokenizer, bool at_start = true, bool special = false)
      : tokenizer_(&tokenizer), first_(at_start), special_(special) {}
  std::string add(std::int32_t token);
  std::string finish();  // what was held back

 private:
  const Tokenizer* tokenizer_;
  bool first_, special_;
  std::string held_;
};

}  // namespace heddle::text
