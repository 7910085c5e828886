#include "program.h"

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "ir/base/check.h"
#include "tests/support/paths.h"

namespace heddle::testing {

Ran heddle(const std::vector<std::string>& arguments, const std::string& input) {
  int in[2], out[2], err[2];
  HEDDLE_CHECK(pipe(in) == 0 && pipe(out) == 0 && pipe(err) == 0);
  HEDDLE_CHECK(input.size() < 65536 && write(in[1], input.data(), input.size()) == ssize_t(input.size()));
  close(in[1]);
  const pid_t child = fork();
  HEDDLE_CHECK(child >= 0);
  if (child == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    for (int fd : {in[0], out[0], out[1], err[0], err[1]}) close(fd);
    std::vector<char*> argv{const_cast<char*>(HEDDLE_PROGRAM)};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(HEDDLE_PROGRAM, argv.data());
    _exit(127);
  }
  for (int fd : {in[0], out[1], err[1]}) close(fd);
  Ran ran;
  pollfd fds[] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* texts[] = {&ran.out, &ran.err};
  for (int open_ends = 2; open_ends > 0;) {
    poll(fds, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t n = read(fds[i].fd, buffer, sizeof(buffer));
      if (n > 0) {
        texts[i]->append(buffer, std::size_t(n));
      } else {
        close(fds[i].fd);
        fds[i].fd = -1;
        --open_ends;
      }
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  ran.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

Terminal::Terminal(const std::vector<std::string>& arguments) {
  child_ = forkpty(&terminal_, nullptr, nullptr, nullptr);
  if (child_ != 0) return;
  setenv("TERM", "dumb", 1);
  std::vector<char*> argv{const_cast<char*>(HEDDLE_PROGRAM)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(HEDDLE_PROGRAM, argv.data());
  _exit(127);
}

Terminal::~Terminal() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (opened()) close(terminal_);
}

void Terminal::type(const std::string& keys) { HEDDLE_CHECK(write(terminal_, keys.data(), keys.size()) == ssize_t(keys.size())); }

std::string Terminal::read_to(const std::string& text) {
  for (;;) {
    if (const auto at = held_.find(text); at != held_.npos) {
      const std::string out = held_.substr(0, at + text.size());
      held_.erase(0, out.size());
      return out;
    }
    pollfd ready = {terminal_, POLLIN, 0};
    char buffer[4096];
    const ssize_t n = poll(&ready, 1, 30000) > 0 ? read(terminal_, buffer, sizeof buffer) : 0;
    if (n <= 0) return std::exchange(held_, "");
    held_.append(buffer, std::size_t(n));
  }
}

void Terminal::until_it_waits() {
  const std::string file = "/proc/" + std::to_string(child_) + "/stat";
  for (std::string id, command, state; state != "S" && state != "Z"; usleep(1000)) std::ifstream(file) >> id >> command >> state;
}

int Terminal::exit_code() {
  read_to("\1");  // never written: to the end of the output, which a full terminal would hold up
  int status = 0;
  waitpid(child_, &status, 0);
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string bundled_model() { return source_path("tests/models/tiny-llama-Q4_K_M.gguf"); }

}  // namespace heddle::testing
