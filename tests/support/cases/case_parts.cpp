#include "tests/support/cases/case_parts.h"

#include <fmt/format.h>

namespace heddle::testing::cases {

std::vector<std::vector<CaseRow>> decode_steps(int rows, int steps) {
  std::vector<std::vector<CaseRow>> out;
  for (int step = 0; step < steps; ++step) {
    auto& now = out.emplace_back();
    for (int r = 0; r < rows; ++r) {
      const bool idle = rows >= 3 && r == rows - 1 && step > 0;
      now.push_back({(7 * step + 3 * r + 1) % vocabulary, idle ? -1 : r, idle ? 0 : step});
    }
  }
  return out;
}

std::vector<std::vector<CaseRow>> prompt_steps(int rows, int positions) {
  std::vector<std::vector<CaseRow>> out;
  for (int position = 0; position < positions; position += rows) {
    auto& now = out.emplace_back();
    for (int r = 0; r < rows; ++r) {
      const bool idle = position + r >= positions;
      now.push_back({(5 * (position + r) + 2) % vocabulary, idle ? -1 : 0, idle ? 0 : position + r});
    }
  }
  return out;
}

std::string function(int rows, const std::string& weights, const std::string& states, const std::string& body) {
  return fmt::format("heddle-ir 1\n{0}func @decode_{1} decode rows={1} (%tokens: i32[{1}], %slot: i32[{1}], %pos: i32[{1}]{2}) {{\n{3}}}\n",
                     weights, rows, states, body);
}

std::string weight(const std::string& name, const std::string& type, int rows, int columns) {
  return fmt::format("weight @{} : {}[{}, {}]\n", name, type, rows, columns);
}
std::string vector(const std::string& name, int n, const std::string& type) {
  return fmt::format("weight @{} : {}[{}]\n", name, type, n);
}

std::string embed(int columns) { return weight("table", "f32", vocabulary, columns); }

}  // namespace heddle::testing::cases
