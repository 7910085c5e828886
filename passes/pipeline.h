#pragma once
#include <span>
#include <string>
#include <vector>

#include "codegen/questions.h"
#include "passes/pass.h"

namespace heddle::passes {

struct Step {
  std::string pass;
  Options options;
  bool operator==(const Step&) const = default;
};
/// "fold_constants,cse,fuse_norm_matmul{max_rows=4},..."; an unknown pass or option is named, with what there is. An empty text is an empty
/// pipeline.
Result<std::vector<Step>> parse_pipeline(std::string_view text, const Registry& registry);
std::string print_pipeline(const std::vector<Step>& steps);

/// The list for a target: the one place where the order of passes is decided (pipeline.cpp says why each stands where it stands, and a
/// backend why its extras do). Passes of plug-ins in the registry stand before the pass that their `before` names.
std::vector<Step> default_pipeline(std::span<const codegen::ExtraPass> extras = {});

struct RunOptions {
  std::vector<std::string> disabled = {};                          // pass names; unknown ones are an error
  int pass_limit = -1;                                             // stop changing anything after so many changes; -1: no limit
  bool verify_each = true;                                         // after every pass
  std::string reproducer = {};                                     // where to write IR and pipeline when a pass fails; empty: nowhere
  std::function<void(const Step&, const ir::Module&)> after = {};  // called after each pass that changed the module
};

struct PassReport {
  std::string pass;
  double milliseconds = 0;  // the pass and the verifier after it
  int fired = 0, declined = 0;
};
struct Report {
  std::vector<PassReport> passes;  // one for each step that ran
  std::vector<Remark> remarks;
  int fired(std::string_view pass) const;
};

/// Runs the steps over every function. An error names the pass; the module is then left as the failing pass left it.
Result<Report> run_pipeline(ir::Module& module, const std::vector<Step>& steps, const codegen::Questions* questions,
                            const RunOptions& options);

/// "--require PASS=N": an error when a pass fired fewer times.
Result<void> check_required(const Report& report, const std::vector<std::pair<std::string, int>>& required);

}  // namespace heddle::passes
