#pragma once
#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/base/error.h"

/// Regular expressions over UTF-8 (PCRE2, with Unicode's classes).
namespace heddle::text {

class Expression {
 public:
  /// `$` is the end of the text; with `lines` also before each line feed. "expression '(': missing closing parenthesis at 1".
  static Result<Expression> compile(std::string_view pattern, bool lines = false);
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;
  ~Expression();

  /// All matches in `text`, which is UTF-8, from left to right, none empty: where each begins and ends.
  void find(std::string_view text, std::vector<std::pair<std::size_t, std::size_t>>& matches) const;

 private:
  struct Code;
  explicit Expression(std::unique_ptr<Code> code);
  std::unique_ptr<Code> code_;
};

}  // namespace heddle::text
