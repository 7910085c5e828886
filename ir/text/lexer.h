#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "ir/base/error.h"

/// The tokens of IR text. Used by the parser only.
namespace heddle::ir {

struct Token {
  enum Kind : std::uint8_t { end, value, symbol, word, number, string, punctuation, bad } kind = end;
  std::string_view text;          // as written: %name and @name with their sigil, strings with their quotes
  std::size_t offset = 0;         // in the whole text
  bool first_of_line = false;     // a line break stands before it
  std::string_view problem = {};  // why it is bad

  bool is(std::string_view punctuation_or_word) const { return (kind == punctuation || kind == word) && text == punctuation_or_word; }
  std::string_view name() const { return text.substr(1); }  // of a value or symbol
};

class Lexer {
 public:
  Lexer(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  /// The next token; at the end `end`, again and again.
  Token next();

  /// "file:line:column: message", the line and a caret. Long lines are cut around the column; bytes that are not printable show as '?'.
  Error error_at(std::size_t offset, std::string_view message) const;

 private:
  Token token(Token::Kind kind, std::size_t length, std::string_view problem = {});
  std::string_view text_, file_;
  std::size_t at_ = 0;
  bool first_of_line_ = true;
};

/// The contents of a string token; nothing where an escape is not known.
std::optional<std::string> unquoted(std::string_view token);

/// [A-Za-z0-9_.-]: what names are made of.
bool is_name_char(char c);

}  // namespace heddle::ir
