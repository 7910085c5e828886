#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace heddle::codegen::cuda {

/// Names and what stands for them: `$name` in a template.
using Words = std::vector<std::pair<std::string_view, std::string>>;

/// `text` with every `$name` replaced. A name is letters only; one that is not in `words` is a bug.
std::string filled(std::string_view text, const Words& words);

/// Program text under construction, indented by two blanks a level.
class Text {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    put(fmt::format(format, std::forward<Args>(args)...));
  }
  /// Lines as they are, each indented to the level here; a leading newline is dropped.
  void put(std::string_view lines);
  void put(std::string_view lines, const Words& words) { put(filled(lines, words)); }
  /// A line that opens a block: "if (x) {".
  template <class... Args>
  void open(fmt::format_string<Args...> format, Args&&... args) {
    line(format, std::forward<Args>(args)...);
    ++level_;
  }
  void close(std::string_view end = "}") {
    --level_;
    put(end);
  }
  const std::string& str() const { return text_; }

 private:
  std::string text_;
  int level_ = 0;
};

}  // namespace heddle::codegen::cuda
