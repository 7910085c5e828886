#include "runtime/device/fake_device.h"

#include <algorithm>

namespace heddle::runtime {

Result<void> FakeDevice::note(std::string call) {
  log_ += (log_.empty() ? "" : "; ") + call;
  if (const auto failure = failures_.find(calls_++); failure != failures_.end()) return Error(failure->second);
  return {};
}

Result<void> FakeDevice::load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) {
  HEDDLE_TRY(note(fmt::format("load slots={} context={}", capacity.slots, capacity.context)));
  plan_ = std::move(plan);
  capacity_ = capacity;
  filled_.assign(std::size_t(capacity.slots), 0);
  if (progress) progress(1);
  return {};
}

Result<void> FakeDevice::run(std::size_t entry, std::span<const StepRow> rows) {
  HEDDLE_CHECK(plan_ && entry < plan_->entries.size(), "entry point {}", entry);
  std::string text;
  for (const StepRow& row : rows) {
    if (!text.empty()) text += ' ';
    text += row.slot < 0 ? "-" : fmt::format("{}@{}:{}", row.token, row.slot, row.position);
  }
  HEDDLE_TRY(note(fmt::format("run {} [{}]", plan_->entries[entry].name, text)));
  if (rows.size() != plan_->entries[entry].rows)
    return error("fake: {} rows, {} has {}", rows.size(), plan_->entries[entry].name, plan_->entries[entry].rows);
  for (const StepRow& row : rows) {
    if (row.slot < 0) continue;
    if (row.slot >= capacity_.slots || row.position < 0 || row.position >= capacity_.context)
      return error("fake: row at slot {}, position {} is outside the cache", row.slot, row.position);
    std::int64_t& filled = filled_[std::size_t(row.slot)];
    if (row.position > filled) return error("fake: row at position {}, only {} are filled", row.position, filled);
    filled = row.position + 1;
  }
  last_entry_ = entry;
  last_rows_.assign(rows.begin(), rows.end());
  return {};
}

Result<std::span<const float>> FakeDevice::logits(std::size_t entry, std::size_t row) {
  HEDDLE_CHECK(plan_ && entry < plan_->entries.size(), "entry point {}", entry);
  HEDDLE_TRY(note(fmt::format("logits {} row {}", plan_->entries[entry].name, row)));
  const plan::EntryPoint& point = plan_->entries[entry];
  const std::size_t of = point.kind == EntryKind::prompt && row == 0 ? std::size_t(last_row(last_rows_)) : row;
  if (entry != last_entry_ || of >= last_rows_.size() || last_rows_[of].slot < 0 || (point.kind == EntryKind::prompt && row > 0))
    return error("fake: {} has no logits of row {}", point.name, row);
  const StepRow& step = last_rows_[of];
  if (script_) {
    logits_ = script_(step.token, step.position);
  } else {
    logits_.assign(plan_->model.vocabulary, 0);
    logits_[std::size_t(step.token + 1) % logits_.size()] = 1;
  }
  return std::span<const float>(logits_);
}

}  // namespace heddle::runtime
