#include "ir/text/lexer.h"

#include <algorithm>

namespace heddle::ir {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// Length of the number at the start of `text`: -?digits(.digits)?([eE][+-]?digits)?, or -inf and -nan.
std::size_t number_length(std::string_view text) {
  std::size_t i = text.starts_with('-') ? 1 : 0;
  auto digits = [&] {
    while (i < text.size() && is_digit(text[i])) ++i;
  };
  if (text.substr(i).starts_with("inf") || text.substr(i).starts_with("nan")) return i + 3;
  digits();
  if (i < text.size() && text[i] == '.') ++i, digits();
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    digits();
  }
  return i;
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

bool is_name_char(char c) { return is_letter(c) || is_digit(c) || c == '.' || c == '-'; }

Token Lexer::token(Token::Kind kind, std::size_t length, std::string_view problem) {
  Token out{kind, text_.substr(at_, length), at_, std::exchange(first_of_line_, false), problem};
  at_ += out.text.size();
  return out;
}

Token Lexer::next() {
  for (; at_ < text_.size(); ++at_) {
    if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
    if (at_ == text_.size()) break;
    if (text_[at_] == '\n') first_of_line_ = true;
    else if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\r') break;
  }
  if (at_ == text_.size()) {
    first_of_line_ = true;
    return token(Token::end, 0);
  }
  const std::string_view rest = text_.substr(at_);
  const char c = rest[0];
  auto length_while = [&](auto accept) { return std::size_t(std::find_if_not(rest.begin() + 1, rest.end(), accept) - rest.begin()); };
  if (c == '%' || c == '@') {
    const std::size_t length = length_while(is_name_char);
    if (length == 1) return token(Token::bad, 1, "a name is missing after the sigil");
    return token(c == '%' ? Token::value : Token::symbol, length);
  }
  if (is_letter(c)) return token(Token::word, length_while([](char d) { return is_letter(d) || is_digit(d) || d == '-'; }));
  if (is_digit(c) || c == '-') return token(Token::number, number_length(rest));
  if (c == '"') {
    std::size_t i = 1;
    while (i < rest.size() && rest[i] != '"' && rest[i] != '\n') i += rest[i] == '\\' ? 2 : 1;
    if (i >= rest.size() || rest[i] != '"') return token(Token::bad, 1, "the string does not end on its line");
    return token(Token::string, i + 1);
  }
  if (std::string_view("=,:;{}()[]+").find(c) != std::string_view::npos) return token(Token::punctuation, 1);
  return token(Token::bad, 1, "no token begins with this character");
}

Error Lexer::error_at(std::size_t offset, std::string_view message) const {
  const std::string_view before = text_.substr(0, offset);
  const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
  const std::size_t column = offset - start;
  constexpr std::size_t width = 120;
  const std::size_t cut = column > width - 20 ? column - width / 2 : 0;
  std::string line(text_.substr(start + cut, width));
  line.resize(std::min(line.find_first_of("\r\n"), line.size()));
  for (char& c : line)
    if (c != '\t' && (c < ' ' || c > '~')) c = '?';
  std::string caret;
  for (std::size_t i = 0; i < column - cut; ++i) caret += i < line.size() && line[i] == '\t' ? '\t' : ' ';
  return error("{}:{}:{}: {}\n{}\n{}^", file_, std::count(before.begin(), before.end(), '\n') + 1, column + 1, message, line, caret);
}

std::optional<std::string> unquoted(std::string_view token) {
  const std::string_view text = token.substr(1, token.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;
    if (text[i] == '"' || text[i] == '\\') {
      out += text[i];
    } else if (text[i] == 'n' || text[i] == 't') {
      out += text[i] == 'n' ? '\n' : '\t';
    } else if (text[i] == 'x' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += char(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      return std::nullopt;
    }
  }
  return out;
}

}  // namespace heddle::ir
