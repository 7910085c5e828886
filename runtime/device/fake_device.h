#pragma once
#include <map>
#include <string>
#include <vector>

#include "runtime/device/device.h"

/// A device for tests: it computes nothing, writes down every call, answers with scripted logits and fails where it is told to.
namespace heddle::runtime {

class FakeDevice : public Device {
 public:
  /// The logits of a row, by its token and position. By default the next id (or 0 after the last) gets 1 and all others 0.
  using Logits = std::function<std::vector<float>(std::int32_t token, std::int32_t position)>;
  explicit FakeDevice(Logits logits = {}) : script_(std::move(logits)) {}

  /// Call number `call` (from 0; load, run and logits count alike) fails with this message and does nothing else.
  void fail_at(std::size_t call, std::string message) { failures_[call] = std::move(message); }

  /// Every call, in order, failed ones too: "load slots=1 context=64; run prefill_4 [7@0:0 8@0:1 - -]; run decode_1 [9@0:2]; logits
  /// decode_1 row 0". A row is token@slot:position, an idle one "-".
  const std::string& log() const { return log_; }
  void clear_log() { log_.clear(); }

  std::string description() const override { return "fake"; }
  Result<void> load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) override;
  /// Refuses what a session must never ask: another number of rows than the entry point has, a slot or position outside the capacity,
  /// a position whose predecessor holds no token.
  Result<void> run(std::size_t entry, std::span<const StepRow> rows) override;
  /// Refuses an entry point that did not run last, a row that it has not, and an idle row.
  Result<std::span<const float>> logits(std::size_t entry, std::size_t row) override;

 private:
  Result<void> note(std::string call);
  Logits script_;
  std::map<std::size_t, std::string> failures_;
  std::size_t calls_ = 0;
  std::string log_;
  std::shared_ptr<const plan::Plan> plan_;
  Capacity capacity_;
  std::vector<std::int64_t> filled_;  // positions that hold a token, per slot
  std::size_t last_entry_ = 0;
  std::vector<StepRow> last_rows_;
  std::vector<float> logits_;
};

}  // namespace heddle::runtime
