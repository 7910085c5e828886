#pragma once
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::text {

/// Pieces of a text in order, none empty; those that were rewritten are kept in `own`.
struct Pieces {
  std::vector<std::string_view> texts;
  std::deque<std::string> own;
  bool at_start = false;  // the first one begins the whole input
};

/// Steps that rewrite and cut texts, as a plan's vocabulary record lists them (plan.fbs: TextStep).
class TextSteps {
 public:
  /// "step 2: 'lowercase' is not supported"; "step 2: expression '(': missing closing parenthesis at 1".
  static Result<TextSteps> create(std::span<const plan::TextStep> steps);
  TextSteps();
  TextSteps(TextSteps&&) noexcept;
  TextSteps& operator=(TextSteps&&) noexcept;
  ~TextSteps();

  /// One step that leaves every match of an expression as a piece of its own. The expression is heddle's own: a wrong one aborts.
  void cut_at(std::string_view pattern);

  /// Every step after the other on every piece. Texts are UTF-8.
  void run(Pieces& pieces) const;
  /// The same where no step cuts.
  std::string rewrite(std::string_view text, bool at_start) const;
  bool empty() const { return steps_.empty(); }

 private:
  struct Step;
  std::vector<std::unique_ptr<Step>> steps_;
};

}  // namespace heddle::text
