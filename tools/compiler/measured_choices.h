#pragma once
#include <string>

#include "codegen/questions.h"
#include "codegen/tuning.h"
#include "tools/compiler/compile_options.h"

namespace heddle::tools {

/// "llama, 16 layers, 1235814400 parameters, vocabulary 128256, 799862784 bytes": what measured choices about passes are kept under.
std::string model_name(const plan::ModelInfo& model);

/// The file of choices measured here: the options', else the cache's own of the target's card.
std::string tuning_path(const ir::Target& target, const CompileOptions& options);
/// Reads it. "PATH: it was measured for cuda:sm_80, the target is cuda:sm_90".
Result<codegen::Tuning> read_tuning(const std::string& path, const ir::Target& target);

/// Measured choices for a target, as the options want them: those that heddle ships, with those measured here over them.
struct MeasuredChoices {
  codegen::Tuning tuning;
  std::string remark;  // "...: those of cuda:h100 are taken"; empty where they are the target's own, or there are none
};
Result<MeasuredChoices> choices_for(const ir::Target& target, const CompileOptions& options);

/// How long the plan's steps take: measured where that is known of all that read prompts, since an estimate beside a measurement decides wrongly.
void set_times(plan::Plan& plan, const ir::Module& module, const codegen::Questions* questions, const codegen::Tuning& tuning);

}  // namespace heddle::tools
