#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "ir/base/error.h"

/// How byte-level BPE vocabularies cut a text into words before merging, by the name in `tokenizer.ggml.pre`.
namespace heddle::text {

class PreTokenizer {
 public:
  /// "pre-tokenizer 'foo' is not supported (supported: bailingmoe, bloom, ...)". An empty name is `default`.
  static Result<PreTokenizer> create(std::string_view name);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  /// Cuts `text`, which is UTF-8, into words, none empty, that join to `text` again: the first expression cuts the text into its matches
  /// and what lies between them, the next one cuts each of these pieces by itself, and so on.
  std::vector<std::string_view> split(std::string_view text) const;

  /// A word that is a token is taken whole, whatever the merges say.
  bool ignore_merges() const { return ignore_merges_; }

 private:
  struct Expressions;
  PreTokenizer(std::unique_ptr<Expressions> expressions, bool ignore_merges);
  std::unique_ptr<Expressions> expressions_;
  bool ignore_merges_;
};

}  // namespace heddle::text
