#pragma once
#include <cstddef>
#include <cstdint>

/// The contract between a kernel of loop kind `sample` and the runtime. The kernel's last parameter is the address of a SampleControl in
/// device memory; the emitted text declares the same structs, and their offsets (asserted below) are the agreement.
///
/// Before the first replay the runtime writes SampleControl, a SampleRow and a history for each row, and zeroes the ring.
///
/// In each replay the kernel does, for every row r with slots[r] >= 0, and for no other row (of those it reads and writes nothing more):
///   1. position = positions[r] + 1: the position of the token to be drawn.
///   2. All logits finite: token = sample(logits of the row, knobs, history, position), as runtime/sampling/sampling.h defines it.
///      The token goes to the end of the history; history_count + 1; remaining - 1. The status is
///        end_token   the token is one of end_tokens (this wins over `last`)
///        last        else, if remaining is 0 now
///        more        else
///   3. A logit is not finite: nothing is drawn, history_count and remaining stay. `token` is the smallest id of such a logit, and the
///      status says what it is: nan, inf or minus_inf.
///   4. Status more: tokens[r] = token and positions[r] = position, so that the next replay feeds the token.
///      Any other: slots[r] = -1, so that later replays leave the row alone.
///   5. sequence + 1. Token and status go to ring[r * ring_capacity + sequence % ring_capacity]; then, so that the host sees it after
///      them, the entry's `sequence` is written.
///
/// The host waits for the `sequence` that it expects, with acquire order, and only then reads token and status. It queues fewer replays
/// ahead than the ring has entries, so that none is overwritten before it is read.
namespace heddle::runtime::cuda {

struct SampleRow {  // device memory; the kernel writes the last three
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 1, min_p = 0, repeat_penalty = 1;
  std::int32_t repeat_last_n = 0;
  std::uint64_t seed = 0;
  std::uint64_t sequence = 0;      // tokens drawn since the host set the row
  std::int32_t history_count = 0;  // tokens in the row's history
  std::int32_t remaining = 0;      // draws left, at least 1 in a live row
};

enum class SampleStatus : std::int32_t { more = 0, end_token = 1, last = 2, nan = 3, inf = 4, minus_inf = 5 };

struct RingEntry {  // pinned host memory; zero at the start, the first draw has sequence 1
  std::uint64_t sequence = 0;
  std::int32_t token = 0;
  SampleStatus status = SampleStatus::more;
};

struct SampleControl {           // device memory; the same while graphs run. Addresses are the device's.
  std::uint64_t rows = 0;        // SampleRow [row_count]
  std::uint64_t history = 0;     // i32 [row_count, history_capacity], the oldest token first
  std::uint64_t ring = 0;        // RingEntry [row_count, ring_capacity]
  std::uint64_t end_tokens = 0;  // i32 [end_token_count]
  std::int32_t history_capacity = 0;
  std::int32_t ring_capacity = 0;  // a power of two
  std::int32_t end_token_count = 0;
  std::int32_t row_count = 0;
};

static_assert(sizeof(SampleRow) == 48 && offsetof(SampleRow, seed) == 24 && offsetof(SampleRow, sequence) == 32 &&
              offsetof(SampleRow, history_count) == 40);
static_assert(sizeof(RingEntry) == 16 && offsetof(RingEntry, token) == 8 && offsetof(RingEntry, status) == 12);
static_assert(sizeof(SampleControl) == 48 && offsetof(SampleControl, end_tokens) == 24 && offsetof(SampleControl, history_capacity) == 32);

}  // namespace heddle::runtime::cuda
