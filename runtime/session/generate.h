#pragma once
#include <functional>
#include <string>
#include <vector>

#include "runtime/sampling/sampling.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace heddle::runtime {

enum class StopReason { end, length, stop_text, context_full, cancelled };
std::string_view name(StopReason reason);  // "end", "length", "stop", "context full", "cancelled"

struct GenerateOptions {
  SamplingOptions sampling;
  std::int64_t max_tokens = -1;   // -1: until end, stop or full cache
  std::vector<std::string> stop;  // texts that end the output; they are not part of it
  bool ignore_end = false;
  std::int64_t fed = 0;  // tokens at the prompt's start that the session has been fed already; less than all
};

struct GenerateResult {
  std::vector<std::int32_t> tokens;  // generated, the end token left out
  StopReason reason = StopReason::length;
  double prefill_seconds = 0;  // until the first token is there
  double decode_seconds = 0;   // from then on
  bool drawn_on_device = false;
  std::int64_t prompt_tokens = 0;
};

/// Feeds what is not fed of `prompt`, then samples until a stop. `text` gets the output as whole UTF-8 sequences as soon as they cannot be part of a stop
/// text any more (it is never called with a null tokenizer); `token` every id; returning false from `token` cancels.
Result<GenerateResult> generate(Session& session, const text::Tokenizer* tokenizer, std::span<const std::int32_t> prompt,
                                const GenerateOptions& options, const std::function<void(std::string_view)>& text,
                                const std::function<bool(std::int32_t)>& token = {});

}  // namespace heddle::runtime
