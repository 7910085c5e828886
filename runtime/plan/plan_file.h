#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

/// The plan file: a 64-byte header (magic "heddle-plan\0", u32 version, u64 body length, xxh3-128 of the body; the rest zero), then a
/// FlatBuffer of plan.fbs. All little-endian.
namespace heddle::plan {

inline constexpr std::uint32_t plan_version = 3;

std::string serialize(const Plan& plan);

/// Checksum, then FlatBuffers' verifier (structure), then `check` (meaning). Errors: "a.plan: checksum does not match: the file is
/// damaged".
Result<std::unique_ptr<Plan>> read_plan(const std::string& path);
Result<std::unique_ptr<Plan>> parse_plan(std::span<const std::byte> file, const std::string& path);
Result<void> write_plan(const std::string& path, const Plan& plan);  // atomically

/// A kernel's code by itself, for caches of compiled kernels: a FlatBuffer without header or checksum. Nothing for bytes that are none; bytes need
/// no alignment.
std::string serialize(const CudaCode& code);
std::optional<CudaCode> parse_code(std::span<const std::byte> bytes);

/// What a listing shows. Checksum and structure are checked, the meaning is not; errors as from read_plan.
struct PlanSummary {
  std::string model, target;  // path of the first model file
};
Result<PlanSummary> summarize_plan(const std::string& path);

/// Every index, range, dtype, op name, shape, edge and offset in the plan is one that a target may use without looking again: indices in
/// their lists, arena ranges inside the arena, weight ranges inside the model files, edges to earlier nodes only, programs well formed,
/// kernels' arguments of the role and type that their spec says. The error names the table, the index, found and wanted.
Result<void> check(const Plan& plan);

}  // namespace heddle::plan
