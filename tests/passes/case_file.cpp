#include "case_file.h"

#include <filesystem>
#include <sstream>

#include "ir/base/mapped_file.h"

namespace heddle::testing {
namespace {

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t"), end = text.find_last_not_of(" \t");
  return begin == text.npos ? "" : text.substr(begin, end - begin + 1);
}

bool take_prefix(std::string& line, const std::string& prefix) {
  if (!line.starts_with(prefix)) return false;
  line = trimmed(line.substr(prefix.size()));
  return true;
}

/// IR text in parts; those of a case stand in for those of the file.
struct Parts {
  std::string target, weights, func, nodes;

  void add(const std::string& line) {
    if (line.starts_with("target ")) target = line + "\n";
    else if (line.starts_with("weight ")) add_weight(line);
    else if (line.starts_with("func ")) func = line + "\n";
    else nodes += "  " + line + "\n";
  }
  /// In place of the one of this name, if there is one.
  void add_weight(const std::string& line) {
    const std::string name = line.substr(0, line.find(':'));
    const auto old = weights.find(name);
    if (old == weights.npos) weights += line + "\n";
    else weights.replace(old, weights.find('\n', old) - old, line);
  }
  std::string module() const { return "heddle-ir 1\nmodule \"case\"\n" + target + weights + func + nodes + "}\n"; }
};

/// `unchanged, declined "why", declined "why"` or `error "why"`
Result<void> read_wanted(std::string text, PassCase& one, bool& unchanged) {
  while (!text.empty()) {
    if (take_prefix(text, ",")) continue;
    if (take_prefix(text, "unchanged")) {
      unchanged = true;
      continue;
    }
    const bool is_error = text.starts_with("error ");
    if (!take_prefix(text, "declined ") && !take_prefix(text, "error "))
      return error("found '{}', wanted unchanged, declined or error", text);
    const auto end = text.find('"', 1);
    if (!text.starts_with('"') || end == text.npos) return error("found '{}', wanted a text in quotes", text);
    if (is_error) one.error = text.substr(1, end - 1);
    else one.declined.push_back(text.substr(1, end - 1));
    text = trimmed(text.substr(end + 1));
  }
  return {};
}

}  // namespace

Result<std::vector<PassCase>> read_cases(const std::string& path) {
  HEDDLE_ASSIGN(const std::string text, read_text_file(path));
  std::vector<PassCase> cases;
  Parts common, before, after;
  enum { in_head, in_before, in_after } where = in_head;
  bool unchanged = false;
  auto finish = [&] {
    if (where == in_head) return;
    cases.back().before = before.module();
    if (cases.back().error.empty()) cases.back().after = unchanged ? before.module() : after.module();
  };
  std::istringstream lines(text);
  int number = 0;
  for (std::string raw; std::getline(lines, raw);) {
    ++number;
    std::string line = trimmed(raw);
    if (line.empty() || line.starts_with('#')) continue;
    if (take_prefix(line, "case:")) {
      finish();
      cases.emplace_back();
      cases.back().file = std::filesystem::path(path).stem();
      cases.back().name = line;
      before = common;
      where = in_before;
      unchanged = false;
    } else if (where == in_head) {
      common.add(line);
    } else if (take_prefix(line, "options:")) {
      std::istringstream items(line);
      for (std::string item; std::getline(items, item, ',');) {
        const auto equals = item.find('=');
        if (equals == item.npos) return error("{}:{}: found '{}', wanted key=value", path, number, item);
        cases.back().options[trimmed(item.substr(0, equals))] = trimmed(item.substr(equals + 1));
      }
    } else if (take_prefix(line, "layout:")) {
      cases.back().layout = line;
    } else if (take_prefix(line, "tolerance:")) {
      cases.back().tolerance = std::stod(line);
    } else if (take_prefix(line, "after:")) {
      after = before;
      after.nodes.clear();
      where = in_after;
      if (auto read = read_wanted(line, cases.back(), unchanged); !read.ok())
        return read.take_error().at(fmt::format("{}:{}", path, number));
    } else {
      (where == in_before ? before : after).add(line);
    }
  }
  finish();
  return cases;
}

}  // namespace heddle::testing
