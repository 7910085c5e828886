#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"
#include "runtime/sampling/sampling.h"

/// What runs a plan. Implementations: cpu/ (threads and vectors), cuda/ (one graph per entry point), fake/ (a log, for tests).
namespace heddle::runtime {

struct Capacity {
  std::int64_t slots = 1;    // sequences side by side
  std::int64_t context = 0;  // positions per slot
};

/// Bytes a device needs for a plan (already checked), by name: weights as they are stored, two planes per state for every slot and
/// position, one arena as large as the largest entry point wants, and what a device needs beside (inputs, outputs, partial results).
struct MemoryUse {
  std::uint64_t weights = 0, cache = 0, arena = 0, scratch = 0;
  std::uint64_t total() const { return weights + cache + arena + scratch; }
};
/// Of the CPU target; runtime/cuda/device.h has CUDA's.
MemoryUse memory_use(const plan::Plan& plan, const Capacity& capacity);

/// One row of a step: a token at a position of a slot. Slot -1 is an idle row.
struct StepRow {
  std::int32_t token = 0, slot = -1, position = 0;
};

/// The row of a step whose logits a prompt entry point gives (its input "last"): the last one that is not idle, 0 where all are.
std::int32_t last_row(std::span<const StepRow> rows);

/// A row for which the device draws the tokens itself, each feeding the next step. A row with slot -1 stays idle.
struct GenerationRow {
  StepRow first;                          // fed by the first step; the first draw is from its logits
  SamplingOptions sampling;
  std::span<const std::int32_t> history;  // tokens so far, `first` the newest of them
  std::int64_t max_tokens = 1;            // draws, the end token among them
};

/// What a row drew in one step.
struct Draw {
  enum Kind {
    none,       // the row is idle, or ended in an earlier step
    more,       // the next step feeds the token
    end_token,  // the token is an end token: the row has ended
    last        // the row has ended: max_tokens are drawn, or the cache is full
  };
  Kind kind = none;
  std::int32_t token = -1;
};

/// Progress of a long load: fraction done in [0, 1].
using Progress = std::function<void(double)>;

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string description() const = 0;  // "cpu, 2 threads, AVX-512"

  /// Takes the plan (already checked), maps its model files and makes everything ready for `run`. Memory is sized and refused before
  /// anything is read: "needs 5.1 GB (weights 4.6, cache 0.4, arena 0.1), 3.2 GB are free; --ctx 2048 fits".
  virtual Result<void> load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) = 0;

  /// One step of entry point `entry` (index into plan.entries). `rows.size()` is its number of rows; a prompt entry point gives the logits of
  /// `last_row`. Returns when the step is queued.
  virtual Result<void> run(std::size_t entry, std::span<const StepRow> rows) = 0;

  /// Output 0 of the last step of `entry`, row `row` (of a prompt entry point 0, the only one), as floats; waits for the step. Valid until the
  /// next `run`.
  virtual Result<std::span<const float>> logits(std::size_t entry, std::size_t row) = 0;

  /// True if the device can draw the tokens of `entry` itself with these knobs, by the definition in sampling.h.
  virtual bool can_generate(std::size_t entry, const SamplingOptions& sampling) const {
    (void)entry, (void)sampling;
    return false;
  }
  /// Starts steps of `entry` in which every row's drawn token is fed by the next step; a row ends with an end token, after its max_tokens,
  /// or when the cache is full. Only where `can_generate` is true for every row. Between this and `end_generation` there is no `run`.
  virtual Result<void> begin_generation(std::size_t entry, std::span<const GenerationRow> rows, std::span<const std::int32_t> end_tokens);
  /// What the rows drew in the next step, one per row; waits for it. The device runs a few steps ahead of the caller. When all rows have
  /// ended every draw is `none`. "logit of token 17 at position 3 is nan" as from `sample`.
  virtual Result<std::span<const Draw>> next_draws();
  /// Stops and waits for the steps that are under way (a few at most): the cache may then hold tokens behind those that were taken, up to
  /// the row's limit. Harmless when there is no generation.
  virtual Result<void> end_generation() { return {}; }
};

}  // namespace heddle::runtime
