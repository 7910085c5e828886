#include "tools/measure/profile.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "codegen/estimates.h"
#include "ir/base/timing.h"
#include "ir/text/text.h"
#include "runtime/cuda/memory.h"

namespace heddle::tools {
namespace {

/// Where those rows stand that are not idle.
std::vector<std::int64_t> places_of(std::span<const runtime::StepRow> rows) {
  std::vector<std::int64_t> out;
  for (const runtime::StepRow& row : rows)
    if (row.slot >= 0) out.push_back(row.position);
  return out;
}

}  // namespace

std::int64_t least_bytes(const plan::Plan& plan, const plan::Node& node, std::span<const runtime::StepRow> rows) {
  const plan::Kernel& kernel = plan.kernels[node.kernel];
  return kernel.min_bytes + codegen::attended_bytes(kernel.spec, places_of(rows));
}

std::int64_t operations(const plan::Plan& plan, const plan::Node& node, std::span<const runtime::StepRow> rows) {
  return codegen::operations(plan.kernels[node.kernel].spec, places_of(rows));
}

Result<Profile> profile_step(runtime::NodeDevice& device, const plan::Plan& plan, std::size_t entry, std::int64_t depth, int samples) {
  const plan::EntryPoint& point = plan.entries[entry];
  std::vector<runtime::StepRow> rows(point.rows);
  // Behind the select of a prompt kernels have one row: the last.
  const auto rows_of = [&](const plan::Node& node) {
    return std::span<const runtime::StepRow>(rows).last(std::size_t(plan.kernels[node.kernel].spec.rows));
  };
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = {std::int32_t((i + 1) * 40503 % plan.model.vocabulary), 0, std::int32_t(depth + std::int64_t(i))};

  Profile out;
  out.device = device.description(), out.entry = point.name, out.depth = depth, out.how = device.how_kernels_are_timed().text;
  HEDDLE_ASSIGN(const std::vector<double> steps, device.time_step(entry, rows, samples));
  out.step = median(steps);
  HEDDLE_ASSIGN(const auto times, device.time_kernels(entry, rows, samples));
  HEDDLE_ASSIGN(out.trace, device.trace_step(entry, rows));
  HEDDLE_ASSIGN(out.read_rate, device.read_rate());

  HEDDLE_ASSIGN(const auto module, ir::parse(plan.ir, "plan"));
  const ir::Function* function = module->function(point.name);
  if (!function || function->body().size() != point.nodes.size() + 1)
    return error("the plan's IR and its entry point {} are not the same", point.name);
  std::vector<KernelProfile> kernels(plan.kernels.size());
  std::vector<std::set<std::uint32_t>> weights(plan.kernels.size());
  for (std::size_t i = 0; i < point.nodes.size(); ++i) {
    const plan::Node& node = point.nodes[i];
    KernelProfile& kernel = kernels[node.kernel];
    kernel.kernel = plan.kernels[node.kernel].spec.name, kernel.group = function->body()[i].str("label");
    ++kernel.calls;
    kernel.seconds = median(times[node.kernel]);
    kernel.bytes = least_bytes(plan, node, rows_of(node));
    kernel.operations = operations(plan, node, rows_of(node));
    if (plan.kernels[node.kernel].spec.attention()) kernel.rotated += std::uint64_t(kernel.bytes);
    for (const auto& ref : node.args)
      if (ref.where == plan::Where::weight && weights[node.kernel].insert(ref.index).second)
        kernel.rotated += runtime::cuda::stored_bytes_of(plan.weights[ref.index]);
    out.bytes += kernel.bytes;
    out.operations += kernel.operations;
    out.kernel_sum += kernel.seconds;
    out.trace_names.push_back(kernel.kernel);
  }
  if (device.how_kernels_are_timed().whole_steps)
    for (KernelProfile& kernel : kernels) kernel.rotated = std::uint64_t(out.bytes);
  std::ranges::copy_if(kernels, std::back_inserter(out.kernels), [](const KernelProfile& kernel) { return kernel.calls > 0; });
  std::ranges::stable_sort(out.kernels, std::greater<>(), &KernelProfile::total);
  return out;
}

std::string trace_json(const Profile& profile) {
  nlohmann::json events = nlohmann::json::array();
  events.push_back({{"name", "process_name"}, {"ph", "M"}, {"pid", 1}, {"args", {{"name", profile.device}}}});
  events.push_back({{"name", "thread_name"}, {"ph", "M"}, {"pid", 1}, {"tid", 1}, {"args", {{"name", profile.entry}}}});
  for (std::size_t i = 0; i < profile.trace.size(); ++i) {
    const runtime::NodeSpan& span = profile.trace[i];
    events.push_back({{"name", profile.trace_names[i]},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", span.begin * 1e6},
                      {"dur", (span.end - span.begin) * 1e6},
                      {"args", {{"node", i}}}});
  }
  return nlohmann::json{{"displayTimeUnit", "ns"}, {"traceEvents", events}}.dump(1);
}

}  // namespace heddle::tools
