#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "codegen/cuda/tuning.h"
#include "frontends/model.h"
#include "passes/pipeline.h"
#include "passes/plugin.h"
#include "runtime/plan/cache.h"

namespace heddle::tools {

/// Everything that decides what a plan contains. Each field that reaches the compiler is in the plan's key.
struct CompileOptions {
  std::string target = "auto";       // "cpu", "auto"
  std::string activations = "q8";    // "q8": the target's 8-bit format; "f32"
  std::string kv = "auto";           // dtype of the key/value cache: "f32", "f16"; "auto": f16 on a GPU with 8-bit activations, else f32
  std::vector<int> prefill;                              // rows of the entry points that read prompts; empty: the target's; {0}: none
  std::int64_t context = 0;          // positions that the cache will hold; matters to models with rotary factors for long contexts only
  std::string quantize;                                  // float matrices become this format when weights are loaded; empty: they stay
  std::vector<std::string> disabled;                     // passes
  std::string pipeline;                                  // instead of the target's list; empty: the target's
  std::vector<std::string> plugins;                      // pass plug-ins
  int pass_limit = -1;
  std::string tuning;                                    // a file of measured choices; empty: what was measured here, else what heddle ships; "none"
  // These do not change the plan:
  std::vector<std::pair<std::string, int>> required;     // PASS=N
  std::string print_after, dump_dir;                     // a pass name (or "all"); a folder
  std::string cache_dir;                                 // empty: the default place
  bool use_cache = true;
  bool store = true;                                     // false: the plan is neither looked for nor stored; compiled kernels are
  bool force = false;                                    // compile even when the cached plan would do
  std::string output;                                    // write the plan here instead of into the cache
};

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
  passes::Report report;        // of the build
};

/// The machine a target name stands for: "cpu"; "auto" is the best one here. Unknown names are refused with the list of known ones.
Result<ir::Target> target_named(const std::string& name, const std::string& activations);

/// "llama, 16 layers, 1235814400 parameters, vocabulary 128256, 799862784 bytes": what measured choices about passes are kept under.
std::string model_name(const plan::ModelInfo& model);

/// Where compiled kernels are kept: the options' cache, "" for none.
std::string kernel_cache_dir(const CompileOptions& options);

/// The file of choices measured here: the options', else the cache's own.
std::string tuning_path(const ir::Target& target, const CompileOptions& options);
/// Reads it. "PATH: it was measured for cuda:sm_80, the target is cuda:sm_90".
Result<codegen::cuda::Tuning> read_tuning(const std::string& path, const ir::Target& target);

/// What passes ask about that target.
std::unique_ptr<codegen::Questions> questions_for(const ir::Target& target);

/// The model at a path as the options want it: with `quantize` its matrices are in a file of the cache that is made when weights are loaded
/// (prepare_weights). "--quantize keeps what it makes in the cache, which --no-cache forbids".
Result<frontends::Model> open_model(const std::string& path, const CompileOptions& options);

/// The module a model is lowered to before any pass.
Result<std::unique_ptr<ir::Module>> lower(const frontends::Model& model, const CompileOptions& options);

/// The passes that a target's plans are made with.
Result<std::vector<passes::Step>> steps_for(const ir::Target& target, const CompileOptions& options);

/// Takes the cached plan when its key is this program's and this model's, else compiles and stores it. Weights are not read.
Result<Compiled> compile_model(const std::string& path, const CompileOptions& options);

/// What compile_model would do: "up to date: PATH", or "to be built: the reason" with the key's fields. Builds nothing.
Result<std::string> explain_cached(const std::string& path, const CompileOptions& options);

/// A plan file by its magic.
bool is_plan_file(const std::string& path);
/// Reads a plan and checks that its model files are there and are the ones it was made from.
Result<std::shared_ptr<const plan::Plan>> load_plan(const std::string& path);

/// Whether CompileOptions::context decides on a part of the plan.
bool depends_on_context(const plan::Plan& plan);

/// A plan file is loaded as it is; a model is compiled or found in the cache.
Result<Compiled> plan_for(const std::string& model_or_plan, const CompileOptions& options);

}  // namespace heddle::tools
