#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "runtime/plan/plan_file.h"
#include "tests/support/tiny_plan.h"

/// Corruptions of the tiny plan, and the parts of it that they reach for.
namespace heddle::plan {

/// One corruption of the tiny plan and the refusal that it must meet, after a round through a file with a right checksum.
struct Case {
  const char* name;
  std::function<void(Plan&)> corrupt;
  const char* message;
};
inline void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

inline constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();

inline KernelSpec& kernel(Plan& plan, std::size_t i) { return plan.kernels[i].spec; }
inline Program& epilogue(Plan& plan, std::size_t i, std::size_t part = 0) { return kernel(plan, i).parts[part].epilogue; }
inline EntryPoint& decode(Plan& plan) { return plan.entries[0]; }
inline Ref& ref(Plan& plan, std::size_t node, std::size_t arg) { return decode(plan).nodes[node].args[arg]; }

/// Makes a GPU plan of the tiny one: right but for what a test changes. Returns the code of kernel 2.
CudaCode& as_cuda(Plan& plan);

/// A GPU plan whose decode_1 draws its own tokens, by kernel 14, which is returned.
KernelSpec& with_sampling(Plan& plan);

inline std::string name_of(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

/// The message with which a plan file is refused, without its path in front.
std::string refusal(const std::string& file);
/// The message with which the corrupted plan is refused, after a round through a file with a right checksum.
std::string refusal(const Case& c);

}  // namespace heddle::plan
