#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"

namespace heddle::chat {

struct Token {
  enum class Kind { text, output_begin, output_end, tag_begin, tag_end, name, string, integer, real, symbol, end } kind;
  std::string text;  // of a string: what it stands for
  int line;
};

/// A template's tokens, with Jinja's options trim_blocks and lstrip_blocks on and keep_trailing_newline off, as transformers sets them:
/// a tag or a comment that stands alone in its line leaves nothing of the line. Comments are gone, `{% raw %}` is text.
Result<std::vector<Token>> tokens_of(std::string_view source);

}  // namespace heddle::chat
