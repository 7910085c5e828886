#include "runtime/session/session.h"

#include <algorithm>

#include "runtime/session/prompt_chunks.h"

namespace heddle::runtime {
namespace {

constexpr std::size_t most_sequences = 1024;

/// The entry points that a session uses, by index.
struct Entries {
  std::size_t decode = 0;         // of one row
  std::size_t widest_decode = 0;  // of at most the rows asked for
};

std::optional<Entries> find_entries(const plan::Plan& plan, std::size_t most_rows = SIZE_MAX) {
  Entries found;
  bool any = false;
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    const plan::EntryPoint& entry = plan.entries[i];
    if (entry.kind != EntryKind::decode || (entry.rows > most_rows && entry.rows > 1)) continue;
    if (entry.rows == 1) found.decode = i, any = true;
    if (plan.entries[found.widest_decode].kind != EntryKind::decode || entry.rows > plan.entries[found.widest_decode].rows)
      found.widest_decode = i;
  }
  if (!any) return std::nullopt;
  return found;
}

/// The rows of one step: tokens of a slot from `position` on, then idle rows.
std::vector<StepRow> rows_of(std::span<const std::int32_t> tokens, std::int32_t slot, std::int64_t position, std::size_t rows) {
  std::vector<StepRow> out(rows);
  for (std::size_t i = 0; i < tokens.size(); ++i) out[i] = {tokens[i], slot, std::int32_t(position + std::int64_t(i))};
  return out;
}

/// Tokens that fit and are in the vocabulary.
Result<void> check_tokens(std::span<const std::int32_t> tokens, const plan::Plan& plan, std::int64_t position, std::int64_t context) {
  if (tokens.empty()) return error("no tokens to feed, at least one is wanted");
  const std::int64_t wanted = position + std::int64_t(tokens.size());
  if (wanted > context) return error("context is full: {} positions, {} wanted", context, wanted);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || std::uint32_t(tokens[i]) >= plan.model.vocabulary)
      return error("token at position {} is {}, the vocabulary has {}", position + std::int64_t(i), tokens[i], plan.model.vocabulary);
  return {};
}

}  // namespace

Result<Session> Session::open(std::unique_ptr<Device> device, std::shared_ptr<const plan::Plan> plan, std::int64_t context,
                              const Progress& progress) {
  HEDDLE_ASSIGN(auto one, open_several(std::move(device), std::move(plan), 1, context, progress));
  return std::move(one.front());
}

Result<std::vector<Session>> Session::open_several(std::unique_ptr<Device> device, std::shared_ptr<const plan::Plan> plan,
                                                   std::size_t count, std::int64_t context, const Progress& progress) {
  if (!find_entries(*plan)) return error("the plan has no decode entry point of one row");
  if (context < 1 || context > INT32_MAX) return error("context is {}, wanted 1 to {}", context, INT32_MAX);
  if (count < 1 || count > most_sequences) return error("{} sequences, wanted 1 to {}", count, most_sequences);
  HEDDLE_TRY(device->load(plan, Capacity{std::int64_t(count), context}, progress));
  const std::shared_ptr<Device> shared = std::move(device);
  std::vector<Session> sessions(count);
  for (std::size_t i = 0; i < count; ++i) {
    sessions[i].device_ = shared;
    sessions[i].plan_ = plan;
    sessions[i].slot_ = std::int32_t(i);
    sessions[i].context_ = context;
  }
  return sessions;
}

void Session::rewind(std::int64_t position) {
  HEDDLE_CHECK(position >= 0 && position <= position_, "rewind to {}, {} positions are filled", position, position_);
  position_ = position;
}

Result<void> Session::check_stop() const {
  if (stop_asked_ && stop_asked_()) return error("interrupted");
  return {};
}

Result<void> Session::feed_all_but_last(std::span<const std::int32_t> tokens) {
  HEDDLE_TRY(check_tokens(tokens, *plan_, position_, context_));
  for (const Chunk& chunk : chunks_of(*plan_, tokens.size() - 1, false)) {
    HEDDLE_TRY(check_stop());
    HEDDLE_TRY(feed_chunk(chunk, tokens));
  }
  return {};
}

/// The first tokens of `left`, which then begins behind them.
Result<void> Session::feed_chunk(const Chunk& chunk, std::span<const std::int32_t>& left) {
  HEDDLE_TRY(device_->run(chunk.entry, rows_of(left.first(chunk.tokens), slot_, position_, plan_->entries[chunk.entry].rows)));
  position_ += std::int64_t(chunk.tokens);
  left = left.subspan(chunk.tokens);
  return {};
}

Result<std::span<const float>> Session::feed(std::span<const std::int32_t> tokens) {
  HEDDLE_TRY(check_tokens(tokens, *plan_, position_, context_));
  const std::vector<Chunk> chunks = chunks_of(*plan_, tokens.size(), true);
  for (const Chunk& chunk : chunks) {
    if (tokens.size() > 1) HEDDLE_TRY(check_stop());
    HEDDLE_TRY(feed_chunk(chunk, tokens));
  }
  return device_->logits(chunks.back().entry, 0);
}

bool Session::can_draw(const SamplingOptions& sampling) const { return device_->can_generate(find_entries(*plan_)->decode, sampling); }

Result<void> Session::begin_draws(std::span<const std::int32_t> history, const SamplingOptions& sampling, std::int64_t max_tokens,
                                  std::span<const std::int32_t> end_tokens) {
  HEDDLE_TRY(check_tokens(history.last(std::min<std::size_t>(history.size(), 1)), *plan_, position_, context_));
  const GenerationRow row{{history.back(), slot_, std::int32_t(position_)}, sampling, history, max_tokens};
  return device_->begin_generation(find_entries(*plan_)->decode, {&row, 1}, end_tokens);
}

Result<Draw> Session::draw() {
  HEDDLE_ASSIGN(const std::span<const Draw> draws, device_->next_draws());
  HEDDLE_CHECK(draws.size() == 1 && draws[0].kind != Draw::none, "a draw behind the last one");
  ++position_;
  return draws[0];
}

Result<void> Session::end_draws() { return device_->end_generation(); }

Result<void> Session::feed_all_logits(std::span<const std::int32_t> tokens,
                                      const std::function<Result<void>(std::size_t, std::span<const float>)>& row, std::size_t most_rows) {
  HEDDLE_TRY(check_tokens(tokens, *plan_, position_, context_));
  const std::size_t entry = find_entries(*plan_, most_rows)->widest_decode, rows = plan_->entries[entry].rows;
  for (std::size_t begin = 0; begin < tokens.size(); begin += rows) {
    const auto chunk = tokens.subspan(begin, std::min(rows, tokens.size() - begin));
    HEDDLE_TRY(check_stop());
    HEDDLE_TRY(device_->run(entry, rows_of(chunk, slot_, position_, rows)));
    position_ += std::int64_t(chunk.size());
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      HEDDLE_ASSIGN(const std::span<const float> logits, device_->logits(entry, i));
      HEDDLE_TRY(row(begin + i, logits));
    }
  }
  return {};
}

}  // namespace heddle::runtime
