#pragma once
#include <vector>

#include "runtime/device/device.h"

/// A device whose steps can be taken apart: what `heddle verify` and `heddle profile` need beside running.
namespace heddle::runtime {

/// When a node of a step ran, in seconds from the step's start.
struct NodeSpan {
  double begin = 0, end = 0;
};

/// How fast the device reads its memory, over a buffer that no cache holds.
struct ReadRate {
  double bytes_per_second = 0;
  std::uint64_t buffer_bytes = 0;
  std::uint64_t cache_bytes = 0;  // of the last cache before the memory; 0: unknown
};

/// How kernels are timed.
struct KernelTiming {
  std::string text;          // "every call of a step by the clock, ..."
  bool whole_steps = false;  // else all calls of one kernel in a row, then those of the next
};

class NodeDevice : public Device {
 public:
  /// Runs a step node by node: waits for each, then calls `after(node)`, which may `read`.
  virtual Result<void> run_nodes(std::size_t entry, std::span<const StepRow> rows,
                                 const std::function<Result<void>(std::size_t node)>& after) = 0;

  /// The bytes that an argument of `entry`'s nodes refers to: of the arena, an input, an output; of a weight as it is stored; of a state
  /// the keys as [slots, kv_heads, positions, head_dim], then the values. Waits for the step.
  virtual Result<std::vector<std::byte>> read(std::size_t entry, const plan::Ref& ref) = 0;

  // ---- Time. Nodes run in no useful order, so the cache and the outputs hold nothing of value afterwards.

  /// Seconds of one call of every kernel, by its index in the plan: `samples` or more figures for each that `entry` uses, none for others.
  /// Each call has its own weights, as in a step.
  virtual Result<std::vector<std::vector<double>>> time_kernels(std::size_t entry, std::span<const StepRow> rows, int samples) = 0;
  virtual KernelTiming how_kernels_are_timed() const = 0;

  /// Seconds of a whole step as `run` does it, `samples` times.
  virtual Result<std::vector<double>> time_step(std::size_t entry, std::span<const StepRow> rows, int samples) = 0;

  /// One step, one node after another with nothing overlapping.
  virtual Result<std::vector<NodeSpan>> trace_step(std::size_t entry, std::span<const StepRow> rows) = 0;

  virtual Result<ReadRate> read_rate() = 0;
};

}  // namespace heddle::runtime
