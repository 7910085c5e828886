#pragma once
#include <memory>
#include <optional>

#include "runtime/session/generate.h"

namespace heddle::runtime {

/// Where generated tokens come from: the device's own draws, or logits that the host samples.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  struct Token {
    std::int32_t id = 0;
    bool end = false;  // an end token that ends the text
  };
  /// The next token; nothing if the context is full. Not called again after an end token or after `options.max_tokens` tokens.
  virtual Result<std::optional<Token>> next() = 0;
  /// Waits for what is under way: the session can be fed again.
  virtual Result<void> finish() { return {}; }
  virtual bool on_device() const = 0;
};

/// A source that goes on after `prompt`, of which the session has been fed the first `options.fed` tokens: with its first token it feeds the
/// others. The first token is drawn by the host, from the logits of the prompt's last chunk; those behind it by the device where it can
/// (Device::can_generate). `options`, `end_tokens` and `prompt` must outlive the source.
std::unique_ptr<TokenSource> token_source(Session& session, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                                          std::span<const std::int32_t> end_tokens);

}  // namespace heddle::runtime
