#include "tools/cli/console.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace heddle::tools {
namespace {
std::atomic<bool> interrupt_flag = false;
}

runtime::Progress progress_line(std::string what) {
  if (!isatty(STDERR_FILENO)) return [](double) {};
  return [what = std::move(what), last = -1](double done) mutable {
    const int percent = int(done * 100);
    if (percent == last) return;
    last = percent;
    if (done >= 1) fmt::print(stderr, "\r\033[K");
    else fmt::print(stderr, "\r{} {} %", what, percent);
    std::fflush(stderr);
  };
}

Listener console_listener() {
  return {[](std::string_view line) { fmt::print(stderr, "{}\n", line); }, progress_line};
}

std::string human_bytes(std::uint64_t bytes) {
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 4) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, units[unit]);
}

std::uint64_t peak_memory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return std::uint64_t(usage.ru_maxrss) * 1024;
}

int fail(const Error& error) {
  fmt::print(stderr, "heddle: {}\n", error.message());
  return 1;
}

void catch_interrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_flag = true; };
  action.sa_flags = int(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

void catch_interrupts() {
  interrupt_flag = false;
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_flag = true; };
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return interrupt_flag; }

}  // namespace heddle::tools
