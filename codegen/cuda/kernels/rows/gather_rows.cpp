// Rows chosen among those of a step: one block for each row of the kernel, which copies all that is taken by its index.
#include "codegen/cuda/kernels/rows/gather_rows.h"

#include <algorithm>

#include "codegen/cuda/device/prelude.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {

std::variant<GatherRowsPlan, Refusal> plan_gather_rows(const plan::KernelSpec& spec, const ir::Target& target) {
  GatherRowsPlan plan{};
  std::int64_t most = 1;
  for (const auto& pair : spec.gather_rows()->pairs) {
    const plan::Arg& to = spec.args[pair.to];
    const std::int64_t bytes = bytes_of(to.dtype, to.role == plan::ArgRole::buffer ? to.shape.back() : 1);
    // Buffers begin at multiples of 16 bytes; rows do where their size is one.
    const bool wide = bytes % 16 == 0, words = bytes % 4 == 0;
    plan.copies.push_back({pair.from, pair.to, wide ? bytes / 16 : words ? bytes / 4 : bytes, wide ? "uint4" : words ? "u32" : "char"});
    most = std::max(most, plan.copies.back().words);
  }
  plan.threads = int(std::min<std::int64_t>(1024, (most + 31) / 32 * 32));
  plan.launch.grid = {std::uint32_t(spec.rows), 1, 1};
  plan.launch.block = {std::uint32_t(plan.threads), 1, 1};
  plan.launch.programmatic = target.has("programmatic_launch");
  return plan;
}

CudaText print_gather_rows(const plan::KernelSpec& spec, const GatherRowsPlan& plan, const ir::Target& target) {
  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  print_signature(out, spec, plan.threads, 1, false);
  out.line("const int row = blockIdx.x;");
  out.line("wait();");
  out.line("trigger();");
  out.line("const long long from = __ldcg(a{} + row);", spec.gather_rows()->index);
  for (const GatherRowsPlan::Copy& copy : plan.copies)
    out.line("for (int i = threadIdx.x; i < {0}; i += {1}) (({2}*)a{3})[row * {0} + i] = __ldcg((const {2}*)a{4} + from * {0} + i);",
             copy.words, plan.threads, copy.word, copy.to, copy.from);
  out.close();
  return {plan.launch, spec.name, out.str()};
}

}  // namespace heddle::codegen::cuda
