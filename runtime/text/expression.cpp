#include "runtime/text/expression.h"

#include <pcre2.h>

#include <string>

namespace heddle::text {
namespace {

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};

/// Expressions are written for other engines, which differ in two spellings: PCRE2's \s also takes U+180E, which is no white space since
/// Unicode 6.3, and it has no \u0020.
std::string for_pcre2(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') out += R"(\p{White_Space})";
    else if (escaped == 'S') out += R"(\P{White_Space})";
    else if (escaped == 'u' && i + 4 < pattern.size() && pattern[i + 1] != '{') {
      ((out += "\\x{") += pattern.substr(i + 1, 4)) += '}';
      i += 4;
    } else if (escaped == 'u') out += "\\x";
    else (out += '\\') += escaped;
  }
  return out;
}

}  // namespace

struct Expression::Code {
  std::unique_ptr<pcre2_code, Free> code;
};

Expression::Expression(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;
Expression::~Expression() = default;

Result<Expression> Expression::compile(std::string_view pattern, bool lines) {
  const std::string text = for_pcre2(pattern);
  int code = 0;
  PCRE2_SIZE place = 0;
  // \C would cut characters in two.
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | (lines ? PCRE2_MULTILINE : 0);
  auto out = std::make_unique<Code>();
  out->code.reset(pcre2_compile(PCRE2_SPTR(text.data()), text.size(), options, &code, &place, nullptr));
  if (!out->code) {
    char message[120] = {};
    pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    return error("expression '{}': {} at {}", text, message, place);
  }
  pcre2_jit_compile(out->code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, matching is slower and the same
  return Expression(std::move(out));
}

void Expression::find(std::string_view text, std::vector<std::pair<std::size_t, std::size_t>>& matches) const {
  const std::unique_ptr<pcre2_match_data, Free> data(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, Free> context(pcre2_match_context_create(nullptr));
  HEDDLE_CHECK(data && context);
  pcre2_set_match_limit(context.get(), UINT32_MAX);  // long runs of one kind of character are legal
  pcre2_set_heap_limit(context.get(), UINT32_MAX);
  for (std::size_t from = 0; from < text.size();) {
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(code_->code.get(), PCRE2_SPTR(text.data()), text.size(), from, options, data.get(), context.get());
    };
    int found = match(PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = match(PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);  // its stack is 32 kB
    if (found == PCRE2_ERROR_NOMATCH) return;
    HEDDLE_CHECK(found >= 0, "pcre2_match failed: {}", found);
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
    if (offsets[1] <= offsets[0] || offsets[1] <= from) return;  // \K can move a start behind an end: nothing to cut at
    matches.emplace_back(offsets[0], offsets[1]);
    from = offsets[1];
  }
}

}  // namespace heddle::text
