#include "tools/verify/open_session.h"

#include <algorithm>

#include "runtime/cpu/device.h"
#include "runtime/cuda/device.h"
#include "tools/cli/console.h"
#include "tools/compiler/quantized_weights.h"
#include "tools/verify/reference_device.h"

namespace heddle::tools {

Result<std::unique_ptr<runtime::Device>> make_device(const plan::Plan& plan, const DeviceOptions& options) {
  HEDDLE_TRY(prepare_weights(plan));
  if (options.reference) return std::unique_ptr<runtime::Device>(make_reference_device());
  if (plan.backend == BackendKind::cpu) return runtime::make_cpu_device(options.threads);
  if (plan.target.starts_with("cuda:")) {
    runtime::CudaOptions cuda;
    cuda.graph = !options.no_graph;
    cuda.plain_edges = options.plain_edges;
    cuda.target = plan.target;
    HEDDLE_ASSIGN(auto device, runtime::make_cuda_device(cuda));
    return std::unique_ptr<runtime::Device>(std::move(device));
  }
  return error("the plan is for target '{}', which this program cannot run (it runs: cpu, cuda:sm_NN)", plan.target);
}

std::int64_t context_for(const plan::Plan& plan, std::int64_t asked, std::int64_t needed) {
  if (asked > 0) return asked;
  const std::int64_t trained = plan.model.trained_context > 0 ? plan.model.trained_context : 4096;
  return std::max<std::int64_t>(std::min<std::int64_t>(trained, 4096), needed);
}

Result<std::vector<runtime::Session>> open_sessions(std::shared_ptr<const plan::Plan> plan, std::size_t count, std::int64_t context,
                                                    const DeviceOptions& options) {
  HEDDLE_ASSIGN(auto device, make_device(*plan, options));
  const auto progress = progress_line("loading weights");
  HEDDLE_ASSIGN(auto sessions, runtime::Session::open_several(std::move(device), std::move(plan), count, context, progress));
  for (runtime::Session& session : sessions) session.stop_when(interrupted);
  return sessions;
}

Result<runtime::Session> open_session(std::shared_ptr<const plan::Plan> plan, std::int64_t context, const DeviceOptions& options) {
  HEDDLE_ASSIGN(auto sessions, open_sessions(std::move(plan), 1, context, options));
  return std::move(sessions.front());
}

}  // namespace heddle::tools
