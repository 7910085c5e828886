#pragma once
#include <string>
#include <vector>

#include "runtime/chat/template.h"
#include "runtime/session/generate.h"

namespace heddle::runtime {

/// A prompt for the whole conversation so far, as the model's template writes it. Special tokens in the text are parsed as such, and no BOS
/// is put in front but the one that the template writes (as transformers' apply_chat_template does). "the template makes no text of the
/// messages".
Result<std::vector<std::int32_t>> chat_tokens(const chat::Template& chat_template, std::span<const chat::Message> messages,
                                              const text::Tokenizer& tokenizer);

/// Turns of a conversation over one session, which nobody else feeds. Every turn's prompt is the template's text of the whole conversation;
/// what the cache holds of its tokens stays there, and only those from the first difference on are fed.
class Conversation {
 public:
  Conversation(Session& session, const text::Tokenizer& tokenizer, const chat::Template& chat_template)
      : session_(&session), tokenizer_(&tokenizer), template_(&chat_template) {}

  void begin(const std::string& system);  // a new conversation; an empty text is no system message

  struct Turn {
    GenerateResult result;
    std::string text;                                 // the answer; also what is kept of it when it was cancelled or cut off
    std::int64_t prompt_tokens = 0, kept_tokens = 0;  // of the whole prompt, and how many of them the cache had
  };
  /// Answers `user`; callbacks as in `generate`. After an error the conversation is as before, and can go on. "context is full: 2048
  /// positions, 2049 wanted".
  Result<Turn> say(const std::string& user, const GenerateOptions& options, const std::function<void(std::string_view)>& text,
                   const std::function<bool(std::int32_t)>& token = {});

  const std::vector<chat::Message>& messages() const { return messages_; }

 private:
  Session* session_;
  const text::Tokenizer* tokenizer_;
  const chat::Template* template_;
  std::vector<chat::Message> messages_;
  std::vector<std::int32_t> cached_;  // the tokens at the session's positions
};

}  // namespace heddle::runtime
