#pragma once
#include <optional>
#include <string>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

/// Compiled kernels on disk: <dir>/kernels/<hash>.kernel, the hash of text, architecture and NVRTC version. Disposable: what cannot be read
/// or does not match its own checksum or text is as good as absent.
class KernelCache {
 public:
  /// An empty `dir`: nothing is kept.
  explicit KernelCache(std::string dir) : dir_(std::move(dir)) {}
  std::string path_for(const std::string& text, const std::string& architecture, const std::string& version) const;
  std::optional<Compiled> find(const std::string& text, const std::string& architecture, const std::string& version) const;
  /// Written to a temporary name and renamed.
  Result<void> add(const std::string& text, const std::string& architecture, const std::string& version, const Compiled& compiled) const;

 private:
  std::string dir_;
};

/// Compiles one text for an architecture ("sm_90a"), or finds it in the cache at `cache_dir` ("": none). Errors: Nvrtc's.
Result<Compiled> compile_cached(const std::string& name, const std::string& text, const std::string& architecture,
                                const std::string& cache_dir);

struct CompileReport {
  int kernels = 0, compiled = 0;  // distinct ones; those that were not in the cache
  double milliseconds = 0;
  std::vector<std::string> remarks;  // what could not be written to the cache
};

/// Emits and compiles every kernel of `plan` and fills its CudaCode. `threads` compile at once; a `cache_dir` of "" keeps nothing. The
/// error is that of the first kernel in the plan's order.
Result<CompileReport> compile_kernels(plan::Plan& plan, const ir::Target& target, const std::string& cache_dir, int threads);

}  // namespace heddle::codegen::cuda
