#include "tools/verify/open_session.h"

#include <algorithm>

#include "runtime/device/factory.h"
#include "tools/compiler/quantized_weights.h"
#include "tools/verify/reference_device.h"

namespace heddle::tools {

Result<std::unique_ptr<runtime::Device>> make_device(const plan::Plan& plan, const DeviceOptions& options) {
  HEDDLE_TRY(prepare_weights(plan, options.listener));
  if (options.reference) return std::unique_ptr<runtime::Device>(make_reference_device());
  return runtime::make_device(plan, {.threads = options.threads, .graph = !options.no_graph, .plain_edges = options.plain_edges});
}

std::int64_t context_for(const plan::Plan& plan, std::int64_t asked, std::int64_t needed) {
  if (asked > 0) return asked;
  const std::int64_t trained = plan.model.trained_context > 0 ? plan.model.trained_context : 4096;
  return std::max<std::int64_t>(std::min<std::int64_t>(trained, 4096), needed);
}

Result<std::vector<runtime::Session>> open_sessions(std::shared_ptr<const plan::Plan> plan, std::size_t count, std::int64_t context,
                                                    const DeviceOptions& options) {
  HEDDLE_ASSIGN(auto device, make_device(*plan, options));
  const auto progress = options.listener.begin("loading weights");
  HEDDLE_ASSIGN(auto sessions, runtime::Session::open_several(std::move(device), std::move(plan), count, context, progress));
  if (options.stop_when)
    for (runtime::Session& session : sessions) session.stop_when(options.stop_when);
  return sessions;
}

Result<runtime::Session> open_session(std::shared_ptr<const plan::Plan> plan, std::int64_t context, const DeviceOptions& options) {
  HEDDLE_ASSIGN(auto sessions, open_sessions(std::move(plan), 1, context, options));
  return std::move(sessions.front());
}

}  // namespace heddle::tools
