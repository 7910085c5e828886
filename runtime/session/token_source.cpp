#include "runtime/session/token_source.h"

#include <algorithm>
#include <limits>

namespace heddle::runtime {
namespace {

class HostSource : public TokenSource {
 public:
  HostSource(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options,
             std::span<const std::int32_t> end_tokens)
      : session_(session),
        options_(options),
        end_tokens_(end_tokens),
        history_(prompt.begin(), prompt.end()),
        fed_(std::size_t(options.fed)) {}

  Result<std::optional<Token>> next() override {
    if (drawn() > 0 && session_.position() >= session_.context()) return std::optional<Token>();  // a prompt that does not fit is refused
    HEDDLE_ASSIGN(const std::span<const float> logits, session_.feed(std::span(history_).subspan(fed_)));
    fed_ = history_.size();
    HEDDLE_ASSIGN(const std::int32_t id, sample(logits, options_.sampling, history_, std::uint64_t(session_.position())));
    history_.push_back(id);
    ++drawn_;
    return std::optional(Token{id, std::ranges::find(end_tokens_, id) != end_tokens_.end()});
  }
  bool on_device() const override { return false; }

 protected:
  std::int64_t drawn() const { return drawn_; }

  Session& session_;
  const GenerateOptions& options_;
  std::span<const std::int32_t> end_tokens_;
  std::vector<std::int32_t> history_;  // all but the newest token are fed once there is one

 private:
  std::size_t fed_;
  std::int64_t drawn_ = 0;
};

/// The device begins when its first token is asked for: who wants one alone, or gets an end token, does not start it.
class DeviceSource final : public HostSource {
 public:
  using HostSource::HostSource;

  Result<std::optional<Token>> next() override {
    if (drawn() == 0) return HostSource::next();
    if (full_ || (!drawing_ && session_.position() >= session_.context())) return std::optional<Token>();
    if (!drawing_) {
      const std::int64_t most = options_.max_tokens >= 0 ? options_.max_tokens - drawn() : std::numeric_limits<std::int32_t>::max();
      HEDDLE_TRY(session_.begin_draws(history_, options_.sampling, most, end_tokens_));
      drawing_ = true;
    }
    HEDDLE_ASSIGN(const Draw draw, session_.draw());
    full_ = draw.kind == Draw::last;
    return std::optional(Token{draw.token, draw.kind == Draw::end_token});
  }
  Result<void> finish() override { return session_.end_draws(); }
  bool on_device() const override { return true; }

 private:
  bool drawing_ = false, full_ = false;
};

}  // namespace

std::unique_ptr<TokenSource> token_source(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                                          std::span<const std::int32_t> end_tokens) {
  if (!session.can_draw(options.sampling)) return std::make_unique<HostSource>(session, prompt, options, end_tokens);
  return std::make_unique<DeviceSource>(session, prompt, options, end_tokens);
}

}  // namespace heddle::runtime
