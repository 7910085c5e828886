#pragma once
#include "runtime/plan/plan_generated.h"

/// Weights ahead of their use. Between two products lie microseconds in which memory would idle: the last block's end, the next one's
/// start, the activation's way through the second-level cache, attention. So every kernel asks the second-level cache, as it starts, for
/// weights of the kernels behind it, and the stream of weights never stops; a product then reads at the cache's rate.
namespace heddle::codegen::cuda {

/// Ranges that a kernel takes.
inline constexpr unsigned ahead_ranges = 6;

/// How far ahead a kernel asks, counted in bytes of weights behind its own. More than the latencies between products hide is of no use and
/// pushes out what is needed first.
inline constexpr std::uint64_t ahead_bytes = std::uint64_t(16) << 20;

/// Fills `ahead` of every node whose kernel takes ranges. Products that stream more than the cache holds ask for nothing, since their own
/// weights would push it out, and of them only the first `ahead_bytes` are asked for.
void plan_ahead(plan::PlanT& plan);

}  // namespace heddle::codegen::cuda
