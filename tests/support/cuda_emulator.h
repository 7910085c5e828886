#pragma once
#include <vector>

#include "codegen/cuda/emit.h"
#include "tests/support/kernel_case.h"

/// Runs emitted CUDA text on the host: cuda_emulator_prelude.h takes the place of the text's own prelude, and the host's compiler makes a
/// library of each distinct kernel.
namespace heddle::testing {

/// How the emulator goes about it: any mode must give the same numbers.
enum EmulatorMode : int { copies_at_once = 0, copies_late = 1, backwards = 2 };

/// The first returned value of every step. `multiprocessors`: what `grid_per_sm` is multiplied by.
Result<std::vector<std::vector<float>>> emulate(const KernelCase& test, const PreparedCase& prepared, int mode, int multiprocessors = 2);

}  // namespace heddle::testing
