#pragma once
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/device/device.h"

namespace heddle::runtime {

struct Chunk;

/// One sequence on a device: the cache's fill, prompt chunks and single steps.
class Session {
 public:
  /// Loads the plan on the device with room for `context` positions. The plan must have a decode entry point of one row.
  static Result<Session> open(std::unique_ptr<Device> device, std::shared_ptr<const plan::Plan> plan, std::int64_t context,
                              const Progress& progress = {});
  /// As `open`, for `count` sequences of `context` positions each that share the device. Only one of them may be fed at a time, except
  /// through `draw_together`.
  static Result<std::vector<Session>> open_several(std::unique_ptr<Device> device, std::shared_ptr<const plan::Plan> plan,
                                                   std::size_t count, std::int64_t context, const Progress& progress = {});

  const plan::Plan& plan() const { return *plan_; }
  Device& device() { return *device_; }
  std::int64_t context() const { return context_; }
  std::int64_t position() const { return position_; }  // tokens in the cache
  /// Forgets all positions from `position` on.
  void rewind(std::int64_t position);

  /// From now on `asked` is called before every chunk of a prompt and every step of `draw_together`; where it returns true they fail with
  /// "interrupted", and what was fed until then stays in the cache. A decode step of the last or only token is not asked about: who feeds
  /// one after the other decides between them.
  void stop_when(std::function<bool()> asked) { stop_asked_ = std::move(asked); }

  /// Feeds all tokens and returns the logits after the last one. Uses prefill entry points in chunks (spare rows idle), and a prompt entry
  /// point or a decode step for those that end with the last token. "context is full: 2048 positions, 2049 wanted" when it does not fit;
  /// nothing is fed then.
  Result<std::span<const float>> feed(std::span<const std::int32_t> tokens);

  /// Feeds all tokens but the last, which may be the only one. Refuses what `feed` would refuse.
  Result<void> feed_all_but_last(std::span<const std::int32_t> tokens);

  /// True if the device can draw tokens with these knobs itself; then:
  bool can_draw(const SamplingOptions& sampling) const;
  /// Starts draws behind `history`, whose last token is the only one that has not been fed. Until `end_draws` nothing else is fed.
  Result<void> begin_draws(std::span<const std::int32_t> history, const SamplingOptions& sampling, std::int64_t max_tokens,
                           std::span<const std::int32_t> end_tokens);
  /// The next token; `position` grows by one. Not called again after a draw that is not Draw::more.
  Result<Draw> draw();
  Result<void> end_draws();

  /// Draws `count` tokens for each of several sessions of one device, all in one step at a time, by the same knobs and no end tokens.
  /// histories[i] are the tokens of sessions[i], of which the last has not been fed. Returns the tokens drawn for each. The device draws
  /// where it can. "8 sequences together, the widest decode entry point has 4 rows".
  static Result<std::vector<std::vector<std::int32_t>>> draw_together(std::span<Session> sessions,
                                                                      std::span<const std::vector<std::int32_t>> histories,
                                                                      const SamplingOptions& sampling, std::int64_t count);

  /// Feeds all tokens and calls `row(i, logits after token i)` for each (perplexity), through the widest decode entry point of at most
  /// `most_rows` rows.
  Result<void> feed_all_logits(std::span<const std::int32_t> tokens,
                               const std::function<Result<void>(std::size_t, std::span<const float>)>& row,
                               std::size_t most_rows = SIZE_MAX);

 private:
  std::shared_ptr<Device> device_;
  std::shared_ptr<const plan::Plan> plan_;
  std::int32_t slot_ = 0;
  std::int64_t context_ = 0, position_ = 0;
  std::function<bool()> stop_asked_;

  Result<void> check_stop() const;
  Result<void> feed_chunk(const Chunk& chunk, std::span<const std::int32_t>& left);
};

}  // namespace heddle::runtime
