#include "runtime/cuda/generation.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

namespace heddle::runtime::cuda {
namespace {

/// A step takes from 0.2 ms on and several are queued, so a late answer costs nothing: look for a moment, then nap.
constexpr int looks = 200;
constexpr std::chrono::microseconds nap{30};

std::uint64_t sequence_of(RingEntry& entry) { return std::atomic_ref(entry.sequence).load(std::memory_order_acquire); }

SampleRow sample_row(const SamplingOptions& options, std::size_t history, std::int64_t limit) {
  SampleRow row;
  row.temperature = options.temperature, row.top_k = options.top_k, row.top_p = options.top_p, row.min_p = options.min_p;
  row.repeat_penalty = options.repeat_penalty, row.repeat_last_n = options.repeat_last_n, row.seed = options.seed;
  row.history_count = std::int32_t(history), row.remaining = std::int32_t(limit);
  return row;
}

}  // namespace

Result<Generation> Generation::make(const Gpu& gpu, Stream stream, std::size_t rows) {
  Generation generation;
  generation.gpu_ = &gpu, generation.stream_ = stream, generation.most_rows_ = rows;
  HEDDLE_ASSIGN(generation.ring_, gpu.allocate_pinned(rows * ring_capacity * sizeof(RingEntry), "the token ring"));
  HEDDLE_TRY(check(gpu.driver(), gpu.driver().host_device_pointer(&generation.ring_on_device_, generation.ring_.get(), 0),
                   "cuMemHostGetDevicePointer"));
  return generation;
}

RingEntry& Generation::entry(std::size_t row, std::int64_t step) const {
  return static_cast<RingEntry*>(ring_.get())[row * ring_capacity + std::size_t(step) % ring_capacity];
}

Result<void> Generation::begin(Setup setup, std::span<const GenerationRow> rows, std::span<const std::int32_t> end_tokens) {
  HEDDLE_CHECK(rows.size() <= most_rows_ && setup.ahead >= 1 && setup.ahead <= ring_capacity / 2, "{} rows, {} ahead", rows.size(),
               setup.ahead);
  if (end_tokens.size() > most_end_tokens) return error("{} end tokens, at most {} are possible", end_tokens.size(), most_end_tokens);
  const Driver& driver = gpu_->driver();
  const auto send = [&](DevicePointer to, const void* from, std::size_t bytes) -> Result<void> {
    if (bytes == 0) return {};
    return check(driver, driver.copy_to_device(to, from, bytes, stream_), "set-up of the generation");
  };
  rows_.assign(rows.size(), {});
  std::vector<SampleRow> sample_rows;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const GenerationRow& row = rows[r];
    // A draw needs its predecessor fed, and the last position to feed at is context - 1.
    const std::int64_t limit = std::min<std::int64_t>(row.max_tokens, setup.context - row.first.position);
    std::span<const std::int32_t> history = row.history;
    if (const std::size_t room = std::size_t(setup.context) + 1 - std::size_t(std::max<std::int64_t>(limit, 0)); history.size() > room)
      history = history.last(room);
    rows_[r] = {row.first.slot >= 0 && limit > 0, limit, std::int64_t(row.first.position) + 1};
    sample_rows.push_back(sample_row(row.sampling, history.size(), limit));
    if (!rows_[r].live) continue;
    HEDDLE_TRY(send(setup.history + r * std::size_t(setup.context + 1) * sizeof(std::int32_t), history.data(), history.size_bytes()));
  }
  SampleControl control;
  control.rows = setup.sample_rows, control.history = setup.history, control.ring = ring_on_device_, control.end_tokens = setup.end_tokens;
  control.history_capacity = std::int32_t(setup.context + 1), control.ring_capacity = ring_capacity;
  control.end_token_count = std::int32_t(end_tokens.size()), control.row_count = std::int32_t(rows.size());
  HEDDLE_TRY(send(setup.sample_rows, sample_rows.data(), sample_rows.size() * sizeof(SampleRow)));
  HEDDLE_TRY(send(setup.end_tokens, end_tokens.data(), end_tokens.size_bytes()));
  HEDDLE_TRY(send(setup.control, &control, sizeof control));
  HEDDLE_TRY(check(driver, driver.stream_synchronize(stream_), "set-up of the generation"));  // the copies read this function's memory
  std::memset(ring_.get(), 0, most_rows_ * ring_capacity * sizeof(RingEntry));
  setup_ = std::move(setup);
  draws_.assign(rows.size(), {});
  queued_ = taken_ = 0;
  return {};
}

Result<std::span<const Draw>> Generation::next() {
  HEDDLE_CHECK(active(), "no generation");
  std::int64_t wanted = 0;  // steps in all, unless an end token comes
  for (const Row& row : rows_)
    if (row.live) wanted = std::max(wanted, row.limit);
  draws_.assign(rows_.size(), {});
  if (wanted == 0) return std::span<const Draw>(draws_);
  for (; queued_ < std::min(wanted, taken_ + setup_.ahead); ++queued_) HEDDLE_TRY(setup_.replay());
  ++taken_;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    if (!rows_[r].live) continue;
    HEDDLE_TRY(wait_for(r));
    HEDDLE_ASSIGN(draws_[r], take(r));
    rows_[r].live = draws_[r].kind == Draw::more;
  }
  return std::span<const Draw>(draws_);
}

Result<void> Generation::wait_for(std::size_t row) const {
  RingEntry& at = entry(row, taken_);
  const auto there = [&] { return sequence_of(at) == std::uint64_t(taken_); };
  for (int i = 0; i < looks; ++i)
    if (there()) return {};
  while (!there()) {
    const Status status = gpu_->driver().stream_query(stream_);
    if (status == Status::success) {  // all queued steps are done: it is there, or never comes
      if (there()) return {};
      return error("cuda: row {} drew no token in step {}", row, taken_);
    }
    if (status != Status::not_ready) return failure(gpu_->driver(), status, fmt::format("step {}", taken_));
    std::this_thread::sleep_for(nap);
  }
  return {};
}

Result<Draw> Generation::take(std::size_t row) {
  const RingEntry& found = entry(row, taken_);
  const auto not_finite = [&](std::string_view what) {
    return error("logit of token {} at position {} is {}", found.token, rows_[row].first_position + taken_ - 1, what);
  };
  switch (found.status) {
    case SampleStatus::more:
      return Draw{Draw::more, found.token};
    case SampleStatus::end_token:
      return Draw{Draw::end_token, found.token};
    case SampleStatus::last:
      return Draw{Draw::last, found.token};
    case SampleStatus::nan:
      return not_finite("nan");
    case SampleStatus::inf:
      return not_finite("inf");
    case SampleStatus::minus_inf:
      return not_finite("-inf");
  }
  return error("cuda: the ring of row {} holds status {} in step {}", row, int(found.status), taken_);
}

}  // namespace heddle::runtime::cuda
