#pragma once
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "runtime/text/text_steps.h"

/// How byte-level BPE vocabularies cut a text into words before merging, by the name in `tokenizer.ggml.pre`.
namespace heddle::text {

class PreTokenizer {
 public:
  /// "pre-tokenizer 'foo' is not supported (supported: bailingmoe, bloom, ...)". An empty name is `default`.
  static Result<PreTokenizer> create(std::string_view name);
  /// By the vocabulary's name for it, or by its own steps where that is "steps". "pre-tokenizer: step 1: ...".
  static Result<PreTokenizer> create(const plan::Vocabulary& vocabulary);

  /// Cuts texts, which are UTF-8, into words, none empty: the first expression cuts a text into its matches and what lies between them, the
  /// next one cuts each of these pieces by itself, and so on. Steps of a vocabulary's own may rewrite pieces and drop some.
  void split(Pieces& pieces) const;
  /// The same for one text and a pre-tokenizer with a name: the words join to `text` again.
  std::vector<std::string_view> split(std::string_view text) const;

  /// A word that is a token is taken whole, whatever the merges say.
  bool ignore_merges() const { return ignore_merges_; }

 private:
  PreTokenizer() = default;
  TextSteps steps_;
  bool ignore_merges_ = false;
};

}  // namespace heddle::text
