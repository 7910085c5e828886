#pragma once
#include <span>
#include <vector>

#include "runtime/cuda/graph.h"
#include "runtime/device/inspectable_device.h"

/// Time on the device, between events.
namespace heddle::runtime::cuda {

/// Two events around what is queued between `start` and `stop`.
class EventPair {
 public:
  static Result<EventPair> make(const Gpu& gpu);
  Result<void> start(Stream stream) const;
  /// Waits for all between; its seconds.
  Result<double> stop(Stream stream) const;

 private:
  const Driver* driver_ = nullptr;
  OwnedEvent begin_, end_;
};

/// Seconds of one launch in a row of launches that stands in a graph of its own, each behind the one before by the edges of a step: the
/// launches of `calls` take turns, 64 or more in all, `samples` times after a warm-up.
Result<std::vector<double>> time_calls(const Gpu& gpu, std::span<const Launch> calls, bool plain_only, int samples, Stream stream);

/// Launches one node after another with an event before the first and behind each.
Result<std::vector<NodeSpan>> trace_launches(const Gpu& gpu, std::span<const Launch> schedule, Stream stream);

/// The median of a few passes over 1 GB, or half of what is free if that is less, with 16-byte loads.
Result<ReadRate> read_rate(const Gpu& gpu, Stream stream);

}  // namespace heddle::runtime::cuda
