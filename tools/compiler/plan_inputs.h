#pragma once
#include <string>
#include <vector>

#include "passes/pipeline.h"
#include "runtime/plan/cache.h"
#include "tools/compiler/measured_choices.h"
#include "tools/compiler/model_files.h"

namespace heddle::tools {

/// A model and everything that decides on its plan, with the key that says so.
struct PlanInputs {
  frontends::Model model;
  ir::Target target;
  std::vector<passes::Step> steps;
  MeasuredChoices choices;
  plan::Key key;
  std::vector<std::string> remarks;  // where figures and choices come from
};
/// Reads the model's header, loads plug-ins, finds measured choices. Weights are not read.
Result<PlanInputs> inputs_of(const std::string& path, const CompileOptions& options);

/// The passes that a target's plans are made with.
Result<std::vector<passes::Step>> steps_for(const ir::Target& target, const CompileOptions& options);

}  // namespace heddle::tools
