#include <algorithm>

#include "runtime/session/session.h"

namespace heddle::runtime {
namespace {

using Tokens = std::vector<std::vector<std::int32_t>>;
using Check = std::function<Result<void>()>;

/// The narrowest decode entry point with room for `rows`.
Result<std::size_t> decode_entry(const plan::Plan& plan, std::size_t rows) {
  std::optional<std::size_t> best;
  std::uint32_t widest = 0;
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    const plan::EntryPoint& entry = plan.entries[i];
    if (entry.kind != EntryKind::decode) continue;
    widest = std::max(widest, entry.rows);
    if (entry.rows >= rows && (!best || entry.rows < plan.entries[*best].rows)) best = i;
  }
  if (!best) return error("{} sequences together, the widest decode entry point has {} rows", rows, widest);
  return *best;
}

Result<void> draw_on_device(Device& device, std::size_t entry, std::span<const GenerationRow> rows, const Check& check_stop,
                            Tokens& out) {
  HEDDLE_TRY(device.begin_generation(entry, rows, {}));
  const auto take = [&]() -> Result<void> {
    for (std::int64_t step = 0; step < rows.front().max_tokens; ++step) {
      HEDDLE_TRY(check_stop());
      HEDDLE_ASSIGN(const std::span<const Draw> draws, device.next_draws());
      for (std::size_t i = 0; i < out.size(); ++i) out[i].push_back(draws[i].token);
    }
    return {};
  };
  const auto taken = take();
  HEDDLE_TRY(device.end_generation());
  return taken;
}

Result<void> draw_on_host(Device& device, std::size_t entry, std::span<const GenerationRow> rows, const Check& check_stop,
                          Tokens& out) {
  std::vector<StepRow> step;
  Tokens histories;
  for (const GenerationRow& row : rows) {
    step.push_back(row.first);
    histories.emplace_back(row.history.begin(), row.history.end());
  }
  for (std::int64_t n = 0; n < rows.front().max_tokens; ++n) {
    HEDDLE_TRY(check_stop());
    HEDDLE_TRY(device.run(entry, step));
    for (std::size_t i = 0; i < out.size(); ++i) {
      HEDDLE_ASSIGN(const std::span<const float> logits, device.logits(entry, i));
      ++step[i].position;
      HEDDLE_ASSIGN(step[i].token, sample(logits, rows[i].sampling, histories[i], std::uint64_t(step[i].position)));
      histories[i].push_back(step[i].token);
      out[i].push_back(step[i].token);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::vector<std::int32_t>>> Session::draw_together(std::span<Session> sessions,
                                                                      std::span<const std::vector<std::int32_t>> histories,
                                                                      const SamplingOptions& sampling, std::int64_t count) {
  HEDDLE_CHECK(!sessions.empty() && sessions.size() == histories.size(), "{} sessions, {} histories", sessions.size(), histories.size());
  Session& first = sessions.front();
  HEDDLE_ASSIGN(const std::size_t entry, decode_entry(first.plan(), sessions.size()));
  std::vector<GenerationRow> rows(first.plan().entries[entry].rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].sampling = sampling, rows[i].max_tokens = count;
    if (i >= sessions.size()) continue;
    const Session& session = sessions[i];
    HEDDLE_CHECK(session.device_ == first.device_, "sessions of two devices");
    if (session.position_ + count > session.context_)
      return error("context is full: {} positions, {} wanted", session.context_, session.position_ + count);
    rows[i].first = {histories[i].back(), session.slot_, std::int32_t(session.position_)};
    rows[i].history = histories[i];
  }
  Tokens out(sessions.size());
  if (count <= 0) return out;
  const Check check_stop = [&] { return first.check_stop(); };
  const auto drawn = first.device_->can_generate(entry, sampling) ? draw_on_device(*first.device_, entry, rows, check_stop, out)
                                                                  : draw_on_host(*first.device_, entry, rows, check_stop, out);
  HEDDLE_TRY(drawn);
  for (Session& session : sessions) session.position_ += count;
  return out;
}

}  // namespace heddle::runtime
