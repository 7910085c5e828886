#include "runtime/jinja/lexer.h"

#include <algorithm>

#include "runtime/text/utf8.h"

namespace heddle::chat {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || std::uint8_t(c) >= 0x80; }
bool in_name(char c) { return starts_name(c) || is_digit(c); }

/// Line ends as \n, without the one at the end.
std::string normalised(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : rest_(source) {}

  Result<std::vector<Token>> run() {
    while (!rest_.empty()) {
      const std::size_t open = find_open();
      std::string_view text = rest_.substr(0, open);
      if (open == rest_.npos) {
        add_text(text);
        rest_ = {};
        break;
      }
      const char kind = rest_[open + 1];
      const char mark = open + 2 < rest_.size() ? rest_[open + 2] : '\0';
      if (mark == '-') {
        while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      } else if (mark != '+' && kind != '{') {
        text = without_indent(text);
      }
      add_text(text);
      take(open);
      const int line = line_;
      take(2);
      if (mark == '-' || mark == '+') take(1);
      if (kind == '#') {
        HEDDLE_TRY(skip_comment(line));
      } else if (kind == '%' && at_word("raw")) {
        HEDDLE_TRY(raw(line));
      } else {
        tokens_.push_back({kind == '{' ? Token::Kind::output_begin : Token::Kind::tag_begin, "", line});
        HEDDLE_TRY(inside(kind));
      }
    }
    tokens_.push_back({Token::Kind::end, "", line_});
    return std::move(tokens_);
  }

 private:
  std::size_t find_open() const {
    for (std::size_t at = rest_.find('{'); at != rest_.npos && at + 1 < rest_.size(); at = rest_.find('{', at + 1))
      if (rest_[at + 1] == '{' || rest_[at + 1] == '%' || rest_[at + 1] == '#') return at;
    return rest_.npos;
  }

  /// The text before a tag, without the blanks between the line's start and it, if there is nothing else.
  std::string_view without_indent(std::string_view text) const {
    const std::size_t newline = text.rfind('\n'), start = newline == text.npos ? 0 : newline + 1;
    if (newline == text.npos && !at_line_start_) return text;
    return std::all_of(text.begin() + std::ptrdiff_t(start), text.end(), is_blank) ? text.substr(0, start) : text;
  }

  void take(std::size_t count) {
    line_ += int(std::count(rest_.begin(), rest_.begin() + std::ptrdiff_t(count), '\n'));
    if (count > 0) at_line_start_ = rest_[count - 1] == '\n';
    rest_.remove_prefix(count);
  }
  void skip_blanks() {
    std::size_t count = 0;
    while (count < rest_.size() && is_blank(rest_[count])) ++count;
    take(count);
  }

  void add_text(std::string_view text) {
    if (!text.empty()) tokens_.push_back({Token::Kind::text, std::string(text), line_});
  }

  /// Behind a tag's or a comment's end, which was written with `mark` before it: "-" takes all white space, nothing takes one newline.
  void after_end(char mark) {
    if (mark == '-') skip_blanks();
    else if (mark != '+' && rest_.starts_with('\n')) take(1);
  }

  Result<void> skip_comment(int line) {
    const std::size_t end = rest_.find("#}");
    if (end == rest_.npos) return error("line {}: the comment has no end", line);
    const char mark = end > 0 ? rest_[end - 1] : '\0';
    take(end + 2);
    after_end(mark);
    return {};
  }

  bool at_word(std::string_view word) const {
    std::string_view text = rest_;
    while (!text.empty() && is_blank(text[0])) text.remove_prefix(1);
    return text.starts_with(word) && (text.size() == word.size() || !in_name(text[word.size()]));
  }

  Result<void> raw(int line) {
    skip_blanks();
    take(3);
    skip_blanks();
    const bool strip = rest_.starts_with('-');
    if (strip) take(1);
    if (!rest_.starts_with("%}")) return error("line {}: expected '%}}' behind 'raw'", line);
    take(2);
    if (strip) skip_blanks();
    for (std::size_t at = rest_.find("{%"); at != rest_.npos; at = rest_.find("{%", at + 2)) {
      std::string_view tail = rest_.substr(at + 2);
      const char mark = tail.empty() ? '\0' : tail[0];
      if (mark == '-' || mark == '+') tail.remove_prefix(1);
      while (!tail.empty() && is_blank(tail[0])) tail.remove_prefix(1);
      if (!tail.starts_with("endraw")) continue;
      tail.remove_prefix(6);
      while (!tail.empty() && is_blank(tail[0])) tail.remove_prefix(1);
      const char end_mark = tail.empty() ? '\0' : tail[0];
      if (end_mark == '-' || end_mark == '+') tail.remove_prefix(1);
      if (!tail.starts_with("%}")) continue;
      std::string_view text = rest_.substr(0, at);
      if (mark == '-') {
        while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
      } else if (mark != '+') {
        text = without_indent(text);
      }
      add_text(text);
      take(std::size_t(tail.data() - rest_.data()) + 2);
      after_end(end_mark);
      return {};
    }
    return error("line {}: 'raw' has no 'endraw'", line);
  }

  /// The tokens of a tag or an output up to its end. Inside brackets "}}" and "%}" are no end.
  Result<void> inside(char kind) {
    const std::string_view end = kind == '{' ? "}}" : "%}";
    std::string open;
    for (;;) {
      skip_blanks();
      if (rest_.empty()) return error("line {}: the template ends inside '{{{}'", line_, kind == '{' ? "{" : "%");
      const char mark = rest_[0] == '-' || (rest_[0] == '+' && kind == '%') ? rest_[0] : '\0';
      if (open.empty() && rest_.substr(mark ? 1 : 0).starts_with(end)) {
        tokens_.push_back({kind == '{' ? Token::Kind::output_end : Token::Kind::tag_end, "", line_});
        take(mark ? 3 : 2);
        if (kind == '%' || mark == '-') after_end(mark);
        return {};
      }
      HEDDLE_TRY(token(open));
    }
  }

  Result<void> token(std::string& open) {
    const char c = rest_[0];
    if (starts_name(c)) {
      std::size_t length = 1;
      while (length < rest_.size() && in_name(rest_[length])) ++length;
      add(Token::Kind::name, length);
      return {};
    }
    if (is_digit(c)) return number();
    if (c == '"' || c == '\'') return string();
    for (const std::string_view symbol : {"**", "//", "==", "!=", ">=", "<="}) {
      if (!rest_.starts_with(symbol)) continue;
      add(Token::Kind::symbol, 2);
      return {};
    }
    if (std::string_view("+-/*%~[](){}><=.:|,").find(c) == std::string_view::npos)
      return error("line {}: unexpected '{}'", line_,
                   std::uint8_t(c) < 0x20 || c == 0x7f ? fmt::format("\\x{:02x}", int(c)) : std::string(1, c));
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : char(c + 2);
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) return error("line {}: unexpected '{}'", line_, c);
      open.pop_back();
    }
    add(Token::Kind::symbol, 1);
    return {};
  }

  void add(Token::Kind kind, std::size_t length) {
    tokens_.push_back({kind, std::string(rest_.substr(0, length)), line_});
    take(length);
  }

  std::size_t digits_at(std::size_t at) const {
    const std::size_t start = at;
    while (at < rest_.size() &&
           (is_digit(rest_[at]) || (rest_[at] == '_' && at > start && at + 1 < rest_.size() && is_digit(rest_[at + 1]))))
      ++at;
    return at - start;
  }

  Result<void> number() {
    std::size_t length = digits_at(0);
    bool real = false;
    const bool index = !tokens_.empty() && tokens_.back().text == "." && tokens_.back().kind == Token::Kind::symbol;  // x.0.1
    if (!index && length < rest_.size() && rest_[length] == '.' && digits_at(length + 1) > 0) {
      length += 1 + digits_at(length + 1);
      real = true;
    }
    if (!index && length < rest_.size() && (rest_[length] == 'e' || rest_[length] == 'E')) {
      const std::size_t sign = length + 1 < rest_.size() && (rest_[length + 1] == '+' || rest_[length + 1] == '-') ? 1 : 0;
      if (const std::size_t digits = digits_at(length + 1 + sign); digits > 0) {
        length += 1 + sign + digits;
        real = true;
      }
    }
    if (length < rest_.size() && in_name(rest_[length])) return error("line {}: '{}' is not a number", line_, rest_.substr(0, length + 1));
    add(real ? Token::Kind::real : Token::Kind::integer, length);
    std::erase(tokens_.back().text, '_');
    return {};
  }

  /// Escapes as in Python. One that Python does not know stays as it is written.
  Result<void> string() {
    const int line = line_;
    const char quote = rest_[0];
    std::string out;
    std::size_t at = 1;
    for (; at < rest_.size() && rest_[at] != quote; ++at) {
      if (rest_[at] != '\\') {
        out += rest_[at];
        continue;
      }
      if (++at == rest_.size()) break;
      static constexpr std::string_view letters = "abfnrtv\\'\"", meanings = "\a\b\f\n\r\t\v\\'\"";
      const char c = rest_[at];
      if (const std::size_t i = letters.find(c); i != letters.npos) out += meanings[i];
      else if (c == 'x' || c == 'u' || c == 'U') {
        HEDDLE_TRY(hex_escape(c, at, out));
      } else if (c >= '0' && c <= '7') {
        std::uint32_t value = 0;
        std::size_t count = 0;
        for (; count < 3 && at + count < rest_.size() && rest_[at + count] >= '0' && rest_[at + count] <= '7'; ++count)
          value = value * 8 + std::uint32_t(rest_[at + count] - '0');
        out += text::to_utf8(char32_t(value));
        at += count - 1;
      } else if (c != '\n') {  // which joins two lines
        out += '\\';
        out += c;
      }
    }
    if (at >= rest_.size()) return error("line {}: the string has no end", line);
    take(at + 1);
    tokens_.push_back({Token::Kind::string, std::move(out), line});
    return {};
  }

  Result<void> hex_escape(char kind, std::size_t& at, std::string& out) {
    const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    std::uint32_t value = 0;
    for (std::size_t i = 1; i <= digits; ++i) {
      const char c = at + i < rest_.size() ? char(rest_[at + i] | 0x20) : '\0';
      if (!is_digit(c) && (c < 'a' || c > 'f')) return error("line {}: '\\{}' wants {} hexadecimal digits", line_, kind, digits);
      value = value << 4 | std::uint32_t(is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return error("line {}: '\\{}' names no character", line_, kind);
    out += text::to_utf8(char32_t(value));
    at += digits;
    return {};
  }

  std::string_view rest_;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokens_of(std::string_view source) {
  const std::string text = normalised(source);
  return Lexer(text).run();
}

}  // namespace heddle::chat
