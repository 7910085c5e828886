#pragma once
#include "codegen/questions.h"
#include "ir/graph.h"

namespace heddle::passes {

/// Estimated microseconds for a group (or a lone node) as one kernel on a target:
///
///   launch  +  bytes / memory rate  +  row work before the loop, which every worker repeats  +  row work after it, which is shared
///
/// Bytes are weights, caches (attention: as if `nominal_context` positions were filled), and activations that cross the kernel's border:
/// these were just written, or are about to be read, and move `cache_speedup` times as fast. On a target with the feature "shared_prologue"
/// the workers may also share the rows before the loop and wait for each other, which takes as long as a launch: the cheaper of the two
/// counts. A kernel without a loop shares its rows among the workers. The arithmetic of the loop itself is left out: it is the same on both
/// sides of any fusion. Simple on purpose: fusions must be able to lose by it.
double kernel_us(const ir::Node& node, const ir::Target& target);

/// The same for nodes (in order) that would be one kernel.
double kernel_us(llvm::ArrayRef<const ir::Node*> nodes, const ir::Target& target);

/// Estimated microseconds of a whole step of a function whose top-level nodes are all kernels, one after another: of each the above or its
/// launch and the arithmetic of its loop, whichever is more. Where the target does not know the latter (Questions::loop_us; null: for no
/// kernel), so many rows of a product are computed in the time in which its weights are read once: `rows_per_weight_read`.
double step_us(const ir::Function& function, const codegen::Questions* questions, const ir::Target& target);

/// By how much every row of the step takes longer for one key more in the cache, in microseconds: of the attention that all its rows read.
double key_us(const ir::Function& function, std::int64_t rows, const codegen::Questions& questions);

constexpr double rows_per_weight_read = 8;
constexpr std::int64_t nominal_context = 512;
constexpr double cache_speedup = 4;

}  // namespace heddle::passes
