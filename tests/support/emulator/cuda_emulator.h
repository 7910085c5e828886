#pragma once
#include <vector>

#include "codegen/cuda/emit.h"
#include "tests/support/cases/kernel_case.h"

/// Runs emitted CUDA text on the host: cuda_emulator_prelude.h takes the place of the text's own prelude, and the host's compiler makes a
/// library of it. Blocks run one after the other; the threads of a block are fibers that run until they wait for others. Shared memory holds
/// NaNs at first. What it can show: wrong numbers, missing barriers (threads run in either order), reads of a ring before its copies arrive
/// or writes into a slot still in use (copies are done at once or as late as possible), misaligned accesses, lanes that miss a shuffle. What
/// it cannot: speed, and the ordering of memory between blocks.
namespace heddle::testing {

/// How the emulator goes about it: any mode must give the same numbers.
enum EmulatorMode : int { copies_at_once = 0, copies_late = 1, backwards = 2 };

/// Kernels in one library, each in a namespace of its own.
class EmulatedKernels {
 public:
  static Result<std::unique_ptr<EmulatedKernels>> build(const std::vector<codegen::cuda::CudaText>& texts,
                                                        const std::vector<const plan::KernelSpec*>& specs);
  EmulatedKernels() = default;
  EmulatedKernels(const EmulatedKernels&) = delete;
  ~EmulatedKernels();
  const codegen::cuda::CudaText& text(std::size_t kernel) const { return texts_[kernel]; }
  /// `parameters`: the addresses of the parameters, as for a launch. `multiprocessors`: what `grid_per_sm` is multiplied by.
  void launch(std::size_t kernel, void** parameters, int mode, int multiprocessors = 2) const;

 private:
  std::vector<codegen::cuda::CudaText> texts_;
  void* handle_ = nullptr;
};

/// A case's kernels.
Result<std::unique_ptr<EmulatedKernels>> build_emulated(const PreparedCase& prepared);

/// The first returned value of every step.
Result<std::vector<std::vector<float>>> emulate(const KernelCase& test, const PreparedCase& prepared, const EmulatedKernels& kernels,
                                                int mode);

}  // namespace heddle::testing
