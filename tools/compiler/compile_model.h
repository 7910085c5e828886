#pragma once
#include <memory>
#include <string>
#include <vector>

#include "passes/pipeline.h"
#include "tools/compiler/compile_options.h"
#include "tools/compiler/load_plan.h"

/// The compiler as a library: a model in, a plan out. It prints nothing.
namespace heddle::tools {

struct Stage {
  std::string name;
  double milliseconds = 0;
};

struct Compiled {
  std::shared_ptr<const plan::Plan> plan;
  std::string path;             // where the plan is; empty when it was not stored
  bool built = false;           // false: it came from the cache
  std::string why;              // why it was built
  std::vector<Stage> stages;    // of the build
  std::vector<std::string> remarks;  // of the build: where the target's figures and measured choices come from
  passes::Report report;        // of the build
};

/// Takes the cached plan when its key is this program's and this model's, else compiles and stores it. Weights are not read.
Result<Compiled> compile_model(const std::string& path, const CompileOptions& options);

/// What compile_model would do: "up to date: PATH", or "to be built: the reason" with the key's fields. Builds nothing.
Result<std::string> explain_cached(const std::string& path, const CompileOptions& options);

/// A plan file is loaded as it is; a model is compiled or found in the cache.
Result<Compiled> plan_for(const std::string& model_or_plan, const CompileOptions& options);

}  // namespace heddle::tools
