#include "runtime/text/blanks.h"

#include <charconv>

#include "runtime/text/special_tokens.h"

namespace heddle::text {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (std::size_t at; (at = text.find(from)) != text.npos; text.remove_prefix(at + from.size())) (out += text.substr(0, at)) += to;
  return out += text;
}

int byte_of(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int value = 0;
  const auto [end, failed] = std::from_chars(text.data() + 3, text.data() + 5, value, 16);
  return failed == std::errc() && end == text.data() + 5 ? value : -1;
}

std::string piece_with_blanks(const plan::Vocabulary& vocabulary, std::int32_t token, bool first, bool special) {
  const plan::Token& t = vocabulary.tokens[token];
  if (is_control(vocabulary, token)) return special ? t.text : "";
  switch (type_of(t)) {
    case TokenType::unknown:
    case TokenType::unused:
      return special ? t.text : "";
    case TokenType::user_defined:
      return t.text;
    case TokenType::byte: {
      const int byte = byte_of(t.text);
      return byte >= 0 ? std::string(1, char(byte)) : "";
    }
    default: {
      std::string text = replace_all(t.text, blank, " ");
      if (first && vocabulary.add_space_prefix && text.starts_with(' ')) text.erase(0, 1);
      return text;
    }
  }
}

}  // namespace heddle::text
