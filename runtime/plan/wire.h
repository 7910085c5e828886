#pragma once
#include <memory>
#include <string>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"
#include "runtime/plan/plan_generated.h"

/// Between a plan and the FlatBuffers tables that it is in a file. Private to this folder.
namespace heddle::plan {

wire::PlanT to_wire(const Plan& plan);
wire::KernelSpecT to_wire(const KernelSpec& spec);
wire::CudaCodeT to_wire(const CudaCode& code);

/// A plan file of these tables, header and checksum included.
std::string serialize(const wire::PlanT& tables);

/// Names become enums, positions stay as they are; what the plan means is not looked at (`check` does that). Errors name the table, the index, found
/// and wanted: "weights[3]: dtype is 'q9_X', which is unknown", "kernels[0].spec: attention is missing, the loop is attention".
Result<std::unique_ptr<Plan>> from_wire(wire::PlanT&& plan);
CudaCode from_wire(wire::CudaCodeT&& code);

}  // namespace heddle::plan
