#pragma once
#include <memory>
#include <optional>
#include <string>

namespace heddle::tools {

/// Lines that somebody types: with editing and history where standard input and output are a terminal, plain lines of standard input
/// elsewhere (then no prompt is printed).
class LineEditor {
 public:
  explicit LineEditor(const char* prompt);
  ~LineEditor();
  LineEditor(LineEditor&&) = delete;

  bool terminal() const { return terminal_ != nullptr; }
  /// The next line without its end; nothing at the end of the input (Ctrl-D). Ctrl-C drops the line under way: it comes back empty.
  std::optional<std::string> next();

 private:
  struct Terminal;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace heddle::tools
