#include "tools/cli/line_editor.h"

#include <fmt/format.h>
#include <histedit.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>

namespace heddle::tools {

/// libedit: what it is given to read, and what was typed before.
struct LineEditor::Terminal {
  EditLine* line = nullptr;
  History* history = nullptr;
  const char* prompt = nullptr;

  explicit Terminal(const char* text) : line(el_init("heddle", stdin, stdout, stderr)), history(history_init()), prompt(text) {
    HistEvent event;
    ::history(history, &event, H_SETSIZE, 1000);
    ::history(history, &event, H_SETUNIQUE, 1);
    el_set(line, EL_CLIENTDATA, this);
    el_set(
        line, EL_PROMPT, +[](EditLine* editor) {
          Terminal* self = nullptr;
          el_get(editor, EL_CLIENTDATA, &self);
          return const_cast<char*>(self->prompt);
        });
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, ::history, history);
    // Ctrl-C would throw away what is on its way to the terminal too: the new prompt, now and then.
    for (const char* mode : {"-d", "-x"}) el_set(line, EL_SETTY, mode, "+noflsh", nullptr);
    el_source(line, nullptr);  // ~/.editrc
  }
  ~Terminal() {
    history_end(history);
    el_end(line);
  }
};

LineEditor::LineEditor(const char* prompt) {
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) terminal_ = std::make_unique<Terminal>(prompt);
}
LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::next() {
  std::string text;
  if (!terminal_) {
    if (!std::getline(std::cin, text)) return std::nullopt;
    return text;
  }
  int count = 0;
  errno = 0;
  const char* typed = el_gets(terminal_->line, &count);
  if (!typed || count <= 0) {
    const bool interrupted = errno == EINTR;
    fmt::print("\n");
    if (!interrupted) return std::nullopt;
    tcflush(STDIN_FILENO, TCIFLUSH);  // the rest of that line
    return "";
  }
  text.assign(typed, std::size_t(count));
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  HistEvent event;
  if (!text.empty()) ::history(terminal_->history, &event, H_ENTER, text.c_str());
  return text;
}

}  // namespace heddle::tools
