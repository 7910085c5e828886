#pragma once
#include <functional>
#include <string>
#include <vector>

#include "codegen/tuning.h"
#include "tools/compiler/compile_model.h"

namespace heddle::tools {

/// One thing that was tried: a knob of one kernel, or the pipeline without one pass.
struct Trial {
  std::string what;               // "gemv_q4_K_2048x8192__add: warps 24"
  double default_us = 0, us = 0;  // of a decode step, medians of the same interleaved rounds
  double spread_us = 0;           // median absolute deviation of the rounds' differences
  bool kept = false;
};

struct TuneResult {
  codegen::Tuning tuning;  // of what was kept
  std::vector<Trial> trials;
  double default_us = 0, tuned_us = 0;  // a step as it was and with all that was kept, interleaved
};

/// Times the decode step of one row of a model on the GPU here, with each candidate of each distinct kernel in place of the default, in the
/// graph of the whole step: every kernel among its real neighbours, every layer with weights of its own. All graphs share one load. A
/// candidate is kept where it beats the default by more than three times the spread; then the same with each fusion pass left out. At last
/// the entry points that read prompts are timed as they are with what was kept (Tuning::entries).
/// `progress` in [0, 1]. Errors as compile_model's and the device's.
Result<TuneResult> tune(const std::string& path, const CompileOptions& options, const std::function<void(double)>& progress);

}  // namespace heddle::tools
