#include "runtime/token_source.h"

#include <algorithm>
#include <limits>

namespace heddle::runtime {
namespace {

class HostSource final : public TokenSource {
 public:
  HostSource(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options,
             std::span<const std::int32_t> end_tokens)
      : session_(session), options_(options), end_tokens_(end_tokens), history_(prompt.begin(), prompt.end()) {}

  Result<std::optional<Token>> next() override {
    if (session_.position() >= session_.context()) return std::optional<Token>();
    HEDDLE_ASSIGN(const std::span<const float> logits, session_.feed({&history_.back(), 1}));
    HEDDLE_ASSIGN(const std::int32_t id, sample(logits, options_.sampling, history_, std::uint64_t(session_.position())));
    history_.push_back(id);
    return std::optional(Token{id, std::ranges::find(end_tokens_, id) != end_tokens_.end()});
  }
  bool on_device() const override { return false; }

 private:
  Session& session_;
  const GenerateOptions& options_;
  std::span<const std::int32_t> end_tokens_;
  std::vector<std::int32_t> history_;
};

class DeviceSource final : public TokenSource {
 public:
  explicit DeviceSource(Session& session) : session_(session) {}

  Result<std::optional<Token>> next() override {
    if (full_) return std::optional<Token>();
    HEDDLE_ASSIGN(const Draw draw, session_.draw());
    full_ = draw.kind == Draw::last;
    return std::optional(Token{draw.token, draw.kind == Draw::end_token});
  }
  Result<void> finish() override { return session_.end_draws(); }
  bool on_device() const override { return true; }

 private:
  Session& session_;
  bool full_ = false;
};

}  // namespace

Result<std::unique_ptr<TokenSource>> token_source(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                                                  std::span<const std::int32_t> end_tokens) {
  if (!session.can_draw(options.sampling))
    return std::unique_ptr<TokenSource>(std::make_unique<HostSource>(session, prompt, options, end_tokens));
  const std::int64_t most = options.max_tokens >= 0 ? options.max_tokens : std::numeric_limits<std::int32_t>::max();
  HEDDLE_TRY(session.begin_draws(prompt, options.sampling, most, end_tokens));
  return std::unique_ptr<TokenSource>(std::make_unique<DeviceSource>(session));
}

}  // namespace heddle::runtime
