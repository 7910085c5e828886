#include "codegen/cuda/source_text.h"

#include <algorithm>
#include <cctype>

#include "ir/base/check.h"

namespace heddle::codegen::cuda {

std::string filled(std::string_view text, const Words& words) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      out += text[i++];
      continue;
    }
    std::size_t end = i + 1;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end]))) ++end;
    const std::string_view name = text.substr(i + 1, end - i - 1);
    const auto word = std::ranges::find(words, name, &Words::value_type::first);
    HEDDLE_CHECK(word != words.end(), "nothing stands for ${}", name);
    out += word->second;
    i = end;
  }
  return out;
}

void Text::put(std::string_view lines) {
  if (lines.starts_with('\n')) lines.remove_prefix(1);
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view one = lines.substr(0, end);
    if (!one.empty()) text_.append(2 * std::size_t(level_), ' ').append(one);
    text_ += '\n';
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
}

}  // namespace heddle::codegen::cuda
