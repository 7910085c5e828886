#pragma once
#include <string>
#include <vector>

#include "runtime/plan/plan.h"

#include "ir/base/error.h"

namespace heddle::tools {

/// What `inspect` tells of a kernel of a plan.
struct KernelInfo {
  std::size_t index = 0;  // in the plan
  std::string name;       // of the spec
  std::string file_name;  // the name, short enough for a file, with a number behind it where two kernels share it
  int nodes = 0;          // of all entry points, sampling included
  std::int64_t least_bytes = 0;
  const plan::CudaCode* cuda = nullptr;  // null: not a CUDA plan
};

/// Kernels whose name holds `filter`, in the plan's order.
std::vector<KernelInfo> kernels_of(const plan::Plan& plan, const std::string& filter);

/// The spec as text: arguments, loop, programs.
std::string spec_text(const plan::Plan& plan, const KernelInfo& kernel);

/// Writes NAME.spec of every kernel, of a CUDA plan NAME.cu, NAME.ptx and NAME.cubin too, so that two plans can be compared with diff.
/// Missing folders are made; other files stay.
Result<void> write_kernels(const plan::Plan& plan, const std::vector<KernelInfo>& kernels, const std::string& folder);

}  // namespace heddle::tools
