#pragma once
#include "runtime/session/session.h"
#include "tools/compiler/compile_model.h"

namespace heddle::tools {

struct DeviceOptions {
  int threads = 0;         // CPU; 0: all
  bool reference = false;  // the interpreter instead of the plan's target
  bool no_graph = false;   // CUDA: kernels launched one by one
  bool plain_edges = false;  // CUDA: no kernel starts before its predecessors are complete
  Listener listener = {};                 // hears how the weights are quantised and loaded
  std::function<bool()> stop_when = {};   // asked in the middle of a prompt: true ends it
};

/// The device a plan was compiled for; sees to its weights if they are to be quantised (prepare_weights).
Result<std::unique_ptr<runtime::Device>> make_device(const plan::Plan& plan, const DeviceOptions& options);

/// Positions to make room for: `asked` if positive, else the trained length or 4096, whichever is less, or `needed` if that is more.
std::int64_t context_for(const plan::Plan& plan, std::int64_t asked, std::int64_t needed);

Result<std::vector<runtime::Session>> open_sessions(std::shared_ptr<const plan::Plan> plan, std::size_t count, std::int64_t context,
                                                    const DeviceOptions& options);
Result<runtime::Session> open_session(std::shared_ptr<const plan::Plan> plan, std::int64_t context, const DeviceOptions& options);

}  // namespace heddle::tools
