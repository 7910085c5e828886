#pragma once
#include <ostream>
#include <string>
#include <vector>

#include "ir/base/error.h"
#include "passes/pass.h"

namespace heddle::testing {

/// One case of tests/passes/<pass>.ir:
///
///   case: a norm with two readers stays
///   options: key=value, key=value          (none, if left out)
///   layout: planes                         (what the target answers about the layout of weights; rows, if left out)
///   tolerance: 1e-3                        (results before and after are compared bit for bit, if left out)
///     %n = rms_norm %x, @g {eps=1e-5}
///     ...
///   after: unchanged, declined "norm has 2 readers"
///
/// or `after:` and the nodes as they should be, with a `declined "..."` for every refusal; or `after: error "..."`.
/// Above the first case stand the lines that every case begins with: target, weights, and one func. Such a line among a case's own nodes is
/// added, or replaces the one above (of weights, the one of its name). `}` is added at the end.
struct PassCase {
  std::string file, name;
  passes::Options options;
  std::string layout = "rows";
  double tolerance = 0;
  std::string before, after;  // IR text of a module; after is empty when an error is wanted
  std::vector<std::string> declined;
  std::string error;
};

inline void PrintTo(const PassCase& one, std::ostream* out) { *out << one.file << ".ir: " << one.name; }

Result<std::vector<PassCase>> read_cases(const std::string& path);

}  // namespace heddle::testing
