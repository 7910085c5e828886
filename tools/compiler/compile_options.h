#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tools/compiler/listener.h"

namespace heddle::tools {

/// Everything that decides what a plan contains. Each field that reaches the compiler is in the plan's key.
struct CompileOptions {
  std::string target = "auto";       // "cpu", "cuda:h200", "cuda:auto": the GPU here; "auto": the best one here
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
  Listener listener;                                     // to whom what `print_after` asks for goes
};

/// Where plans, measured choices and quantised weights are kept: the options' folder, else the default one.
std::string cache_dir_of(const CompileOptions& options);

/// Where compiled kernels are kept: the same, "" for nowhere where the cache is not used.
std::string kernel_cache_dir(const CompileOptions& options);

}  // namespace heddle::tools
