#pragma once
#include <memory>
#include <span>
#include <vector>

#include "runtime/device.h"

namespace heddle::runtime {

/// One sequence on a device: the cache's fill, prompt chunks and single steps.
class Session {
 public:
  /// Loads the plan on the device with room for `context` positions. The plan must have a decode entry point of one row.
  static Result<Session> open(std::unique_ptr<Device> device, std::shared_ptr<const plan::PlanT> plan, std::int64_t context,
                              const Progress& progress = {});

  const plan::PlanT& plan() const { return *plan_; }
  Device& device() { return *device_; }
  std::int64_t context() const { return context_; }
  std::int64_t position() const { return position_; }  // tokens in the cache
  /// Forgets all positions from `position` on.
  void rewind(std::int64_t position);

  /// Feeds all tokens and returns the logits after the last one. Uses prefill entry points in chunks for all but the last token (their
  /// spare rows idle), a decode step for the last. "context is full: 2048 positions, 2049 wanted" when it does not fit; nothing is fed then.
  Result<std::span<const float>> feed(std::span<const std::int32_t> tokens);

  /// Feeds all tokens and calls `row(i, logits after token i)` for each, through the widest decode entry point (perplexity).
  Result<void> feed_all_logits(std::span<const std::int32_t> tokens, const std::function<Result<void>(std::size_t, std::span<const float>)>& row);

 private:
  std::unique_ptr<Device> device_;
  std::shared_ptr<const plan::PlanT> plan_;
  std::int64_t context_ = 0, position_ = 0;
};

}  // namespace heddle::runtime
