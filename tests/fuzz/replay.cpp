// Drives a fuzz target without libFuzzer, for any compiler: `fuzz_NAME [-seconds=N] FILE|FOLDER...` runs every file, then N seconds of
// mutations of them from a fixed seed. An input that crashes is left in `crash-NAME` beside where it ran.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "fuzz.h"

namespace {
namespace fs = std::filesystem;
using Input = std::vector<std::uint8_t>;

const Input* running = nullptr;

/// Signal-safe: the input under way becomes a file.
void keep_input(int signal) {
  static const char name[] = "crash-input";
  if (running) {
    const int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0 && write(file, running->data(), running->size()) >= 0) {
      static const char note[] = "the input is in crash-input\n";
      (void)!write(2, note, sizeof note - 1);
    }
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const Input& input) {
  running = &input;
  LLVMFuzzerTestOneInput(input.data(), input.size());
  running = nullptr;
}

Input read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(file), {});
}

/// A few changes: bits, bytes, numbers at their edges, stretches removed, repeated or taken from another input.
Input mutated(Input input, const std::vector<Input>& others, std::mt19937& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? n : std::size_t(random() % n); };
  static const std::uint64_t edges[] = {0,      1,          0x7f,       0x80,       0xff,       0x7fff, 0x8000,
                                        0xffff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull >> 1, ~0ull};
  for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
    const std::size_t at = below(input.size() + 1), length = std::min<std::size_t>(below(32), input.size() - at);
    switch (below(6)) {
      case 0:
        if (at < input.size()) input[at] ^= std::uint8_t(1 << below(8));
        break;
      case 1:
        if (at < input.size()) input[at] = std::uint8_t(random());
        break;
      case 2: {
        const std::uint64_t edge = edges[below(std::size(edges))];
        std::memcpy(input.data() + at, &edge, std::min(std::size_t(1) << below(4), input.size() - at));
        break;
      }
      case 3:
        input.erase(input.begin() + std::ptrdiff_t(at), input.begin() + std::ptrdiff_t(at + length));
        break;
      case 4: {
        const Input piece(input.begin() + std::ptrdiff_t(at), input.begin() + std::ptrdiff_t(at + length));
        input.insert(input.begin() + std::ptrdiff_t(below(input.size() + 1)), piece.begin(), piece.end());
        break;
      }
      case 5: {
        const Input& other = others[below(others.size())];
        const std::size_t from = below(other.size() + 1), count = std::min<std::size_t>(below(64), other.size() - from);
        input.insert(input.begin() + std::ptrdiff_t(at), other.begin() + std::ptrdiff_t(from),
                     other.begin() + std::ptrdiff_t(from + count));
        break;
      }
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-seconds=", 9) == 0) {
      seconds = std::atof(argv[i] + 9);
    } else if (fs::is_directory(argv[i])) {
      for (const auto& entry : fs::directory_iterator(argv[i])) corpus.push_back(read(entry.path()));
    } else {
      corpus.push_back(read(argv[i]));
    }
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "no inputs, wanted files or folders\n");
    return 2;
  }
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(signal, keep_input);
  for (const Input& input : corpus) run(input);

  std::mt19937 random(1);
  long mutations = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (; std::chrono::steady_clock::now() < end; ++mutations) run(mutated(corpus[random() % corpus.size()], corpus, random));
  std::printf("%zu inputs, %ld mutations\n", corpus.size(), mutations);
}
