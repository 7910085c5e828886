#pragma once
#include <functional>
#include <vector>

#include "runtime/cuda/memory.h"
#include "runtime/cuda/sample_control.h"

namespace heddle::runtime::cuda {

/// The host's side of drawing on the device: sets the rows up, keeps a few replays queued, and takes the tokens out of a ring in pinned
/// memory which the sampler writes (sample_control.h).
class Generation {
 public:
  /// Entries a row has in the ring; at most half as many replays are queued ahead.
  static constexpr int ring_capacity = 64;
  /// Room for `rows` rows.
  static Result<Generation> make(const Gpu& gpu, Stream stream, std::size_t rows);

  struct Setup {
    DevicePointer control, sample_rows, history, end_tokens;  // of the entry point
    std::int64_t context = 0;                                 // positions of a slot
    int ahead = 4;                                            // replays queued before the first of them has been taken
    std::function<Result<void>()> replay;                     // queues one more
  };
  /// All earlier work is finished, the entry point's inputs are written.
  Result<void> begin(Setup setup, std::span<const GenerationRow> rows, std::span<const std::int32_t> end_tokens);
  Result<std::span<const Draw>> next();
  void end() { setup_.replay = nullptr; }
  bool active() const { return setup_.replay != nullptr; }

 private:
  struct Row {
    bool live = false;
    std::int64_t limit = 0;           // draws
    std::int64_t first_position = 0;  // of the first draw
  };
  RingEntry& entry(std::size_t row, std::int64_t step) const;
  Result<void> wait_for(std::size_t row) const;
  Result<Draw> take(std::size_t row);

  const Gpu* gpu_ = nullptr;
  Stream stream_ = nullptr;
  OwnedHostMemory ring_;
  DevicePointer ring_on_device_ = 0;
  std::size_t most_rows_ = 0;

  Setup setup_;
  std::vector<Row> rows_;
  std::vector<Draw> draws_;
  std::int64_t queued_ = 0, taken_ = 0;  // steps
};

}  // namespace heddle::runtime::cuda
