#include "runtime/session/generate.h"

#include <algorithm>
#include <optional>

#include "ir/base/timing.h"
#include "runtime/text/special_tokens.h"
#include "runtime/session/token_source.h"

namespace heddle::runtime {
namespace {

bool starts_character(char c) { return (std::uint8_t(c) & 0xc0) != 0x80; }

/// Looks for stop texts in a stream of UTF-8 and passes on what cannot be part of one.
class StopFilter {
 public:
  StopFilter(const std::vector<std::string>& stops, const std::function<void(std::string_view)>& out) : out_(out) {
    for (const std::string& stop : stops) {
      if (!stop.empty()) stops_.push_back(stop);
    }
  }

  /// True if a stop text is complete: all before it is out, the rest is dropped.
  bool add(std::string_view text) {
    held_ += text;
    const std::size_t complete = first_place([](std::string_view rest, std::string_view stop) { return rest.starts_with(stop); });
    const std::size_t unfinished = first_place([](std::string_view rest, std::string_view stop) { return stop.starts_with(rest); });
    const bool stopped = complete < held_.size();
    pass_on(stopped ? complete : unfinished);
    return stopped;
  }

  void finish() { pass_on(held_.size()); }

 private:
  /// The first place of the held text at which a stop text fits, its length if there is none. In the middle of a character nothing does.
  template <class Fits>
  std::size_t first_place(Fits fits) const {
    for (std::size_t at = 0; at < held_.size(); ++at) {
      const std::string_view rest = std::string_view(held_).substr(at);
      if (starts_character(rest[0]) && std::any_of(stops_.begin(), stops_.end(), [&](std::string_view s) { return fits(rest, s); }))
        return at;
    }
    return held_.size();
  }

  void pass_on(std::size_t length) {
    if (length > 0 && out_) out_(std::string_view(held_).substr(0, length));
    held_.erase(0, length);
  }

  const std::function<void(std::string_view)>& out_;
  std::vector<std::string_view> stops_;
  std::string held_;
};

std::vector<std::int32_t> end_tokens_of(const Session& session, const GenerateOptions& options) {
  const auto& vocabulary = session.plan().vocabulary;
  if (options.ignore_end) return {};
  return vocabulary.end_tokens;
}

bool all_control(const text::Tokenizer& tokenizer, std::span<const std::int32_t> tokens) {
  return std::all_of(tokens.begin(), tokens.end(), [&](std::int32_t token) {
    return token >= 0 && token < tokenizer.size() && text::is_control(tokenizer.vocabulary(), token);
  });
}

}  // namespace

std::string_view name(StopReason reason) {
  switch (reason) {
    case StopReason::end:
      return "end";
    case StopReason::length:
      return "length";
    case StopReason::stop_text:
      return "stop";
    case StopReason::context_full:
      return "context full";
    case StopReason::cancelled:
      return "cancelled";
  }
  HEDDLE_CHECK(false);
}

Result<GenerateResult> generate(Session& session, const text::Tokenizer* tokenizer, std::span<const std::int32_t> prompt,
                                const GenerateOptions& options, const std::function<void(std::string_view)>& text,
                                const std::function<bool(std::int32_t)>& token) {
  GenerateResult result;
  result.prompt_tokens = std::int64_t(prompt.size());
  std::optional<text::Detokenizer> detokenizer;
  if (tokenizer) detokenizer.emplace(*tokenizer, session.position() == options.fed && all_control(*tokenizer, prompt));
  StopFilter filter(options.stop, text);

  const std::vector<std::int32_t> end_tokens = end_tokens_of(session, options);
  auto start = Clock::now();
  HEDDLE_CHECK(options.fed >= 0 && (options.fed == 0 || options.fed < result.prompt_tokens));
  if (options.max_tokens == 0) HEDDLE_TRY(session.feed_all_but_last(prompt.subspan(std::size_t(options.fed))));
  const auto source = token_source(session, prompt, options, end_tokens);
  result.drawn_on_device = source->on_device();

  const auto step = [&]() -> Result<std::optional<StopReason>> {  // one token; a reason ends the loop
    if (options.max_tokens >= 0 && std::int64_t(result.tokens.size()) >= options.max_tokens) return std::optional(StopReason::length);
    HEDDLE_ASSIGN(const auto next, source->next());
    if (result.prefill_seconds == 0) {
      result.prefill_seconds = seconds_since(start);
      start = Clock::now();
    }
    if (!next) return std::optional(StopReason::context_full);
    if (next->end) return std::optional(StopReason::end);
    result.tokens.push_back(next->id);
    const bool go_on = !token || token(next->id);
    if (detokenizer && filter.add(detokenizer->add(next->id))) return std::optional(StopReason::stop_text);
    if (!go_on) return std::optional(StopReason::cancelled);
    return std::optional<StopReason>();
  };
  std::optional<StopReason> reason;
  while (!reason) {
    HEDDLE_ASSIGN(reason, step());
  }
  HEDDLE_TRY(source->finish());
  result.reason = *reason;
  result.decode_seconds = seconds_since(start);

  if (detokenizer && result.reason != StopReason::stop_text) {
    if (filter.add(detokenizer->finish())) result.reason = StopReason::stop_text;
    filter.finish();
  }
  return result;
}

}  // namespace heddle::runtime
