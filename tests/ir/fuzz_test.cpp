#include <random>

#include "ir/dependencies.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (; !text.empty(); text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1))
    lines.emplace_back(text.substr(0, text.find('\n')));
  return lines;
}

/// Valid text with a few things changed: bytes, tokens of its own, numbers, whole lines.
std::string mutated(std::mt19937& random) {
  auto below = [&](std::size_t n) { return std::size_t(random() % n); };
  static const std::vector<std::string> lines = lines_of(every_op);
  static const std::vector<std::string> tokens = {"%x",
                                                  "%kv",
                                                  "%kv.0",
                                                  "@rope_freqs.weight",
                                                  "group",
                                                  "{",
                                                  "}",
                                                  "yield",
                                                  "ret",
                                                  ",",
                                                  ":",
                                                  "=",
                                                  "after(%x)",
                                                  "\"",
                                                  "at",
                                                  "-1",
                                                  "0",
                                                  "1",
                                                  "9223372036854775807",
                                                  "1e308",
                                                  "-0.0",
                                                  "nan",
                                                  "f32[2, 256]",
                                                  "i32[2]",
                                                  "q4_K[2, 256]",
                                                  "kv_store",
                                                  "matmul",
                                                  "quantize",
                                                  "state",
                                                  "arena+0:2048",
                                                  "state+0",
                                                  "#",
                                                  ";",
                                                  "\n",
                                                  "\\",
                                                  "\x80"};
  std::vector<std::string> copy = lines;
  for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
    std::string& line = copy[below(copy.size())];
    switch (below(12)) {
      case 0:  // a byte
        if (!line.empty()) line[below(line.size())] = char(below(256));
        break;
      case 1:  // a stretch goes
        if (!line.empty()) line.erase(below(line.size()), below(8));
        break;
      case 2:  // a token comes
        line.insert(below(line.size() + 1), tokens[below(tokens.size())]);
        break;
      case 3:  // a word becomes a token
        if (std::size_t begin = line.find(' ', below(line.size() + 1)); begin != line.npos)
          line.replace(begin + 1, line.find(' ', begin + 1) - begin - 1, tokens[below(tokens.size())]);
        break;
      case 4:
      case 5:
      case 6:  // another digit
        if (std::size_t at = line.find_first_of("0123456789", below(line.size() + 1)); at != line.npos) line[at] = char('0' + below(10));
        break;
      case 7:
      case 8:
      case 9:  // another value of the same line's neighbourhood
        if (std::size_t at = line.find(" %", below(line.size() + 1)); at != line.npos) {
          const std::string& other = copy[below(copy.size())];
          const std::size_t from = other.find('%');
          const auto end_of = [](const std::string& text, std::size_t begin) {
            return std::min(text.find_first_of(" ,:)", begin), text.size());
          };
          if (from != other.npos) line.replace(at + 1, end_of(line, at + 1) - at - 1, std::string(other, from, end_of(other, from) - from));
        }
        break;
      case 10:
        line = lines[below(lines.size())];
        break;
      case 11:
        std::swap(line, copy[below(copy.size())]);
        break;
    }
  }
  std::string out;
  for (const std::string& line : copy) out += line + "\n";
  if (below(20) == 0) out.resize(below(out.size()));
  return out;
}

TEST(Fuzz, NoTextCrashesParserVerifierOrPrinter) {
  std::mt19937 random(20240607);
  int parsed_count = 0, verified_count = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string text = mutated(random);
    auto module = parse(text, "fuzz.ir");
    if (!module.ok()) {
      EXPECT_TRUE(module.error().message().starts_with("fuzz.ir:")) << module.error().message();
      continue;
    }
    ++parsed_count;
    const bool verified = verify(**module).ok();
    verified_count += verified;
    const std::string printed = print(**module);
    auto again = parse(printed, "printed.ir");
    ASSERT_TRUE(again.ok()) << again.error().message() << "\n" << text;
    EXPECT_EQ(print(**again), printed);
    EXPECT_EQ(verify(**again).ok(), verified);
    for (const auto& function : (*module)->functions()) {
      const bool ordered = Dependencies(function->body()).topological_order().ok();
      EXPECT_TRUE(ordered || !verified);
      to_dot(*function);
    }
  }
  EXPECT_GT(parsed_count, 100);  // the mutations reach past the parser
  EXPECT_GT(parsed_count - verified_count, 50);
  EXPECT_GT(verified_count, 20);
}

TEST(Fuzz, RandomBytesAreRefused) {
  std::mt19937 random(7);
  for (int i = 0; i < 500; ++i) {
    std::string text = i % 2 == 0 ? "heddle-ir 1\n" : "";
    const std::size_t size = 1 + random() % 200;
    for (std::size_t k = 0; k < size; ++k) text += char(random() % 256);
    const bool refused = !parse(text).ok();
    EXPECT_TRUE(refused || i % 2 == 0);  // behind the first line the bytes may happen to be a comment
  }
}

}  // namespace
}  // namespace heddle::ir::testing
