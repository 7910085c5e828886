#include "runtime/session/conversation.h"

#include <algorithm>

namespace heddle::runtime {

Result<std::vector<std::int32_t>> chat_tokens(const chat::Template& chat_template, std::span<const chat::Message> messages,
                                              const text::Tokenizer& tokenizer) {
  const plan::Vocabulary& vocabulary = tokenizer.vocabulary();
  const auto text_of = [&](std::int32_t token) {
    return token >= 0 ? std::string_view(vocabulary.tokens[token].text) : std::string_view();
  };
  HEDDLE_ASSIGN(const std::string text,
                chat_template.render({.messages = messages, .bos_token = text_of(vocabulary.bos), .eos_token = text_of(vocabulary.eos)}));
  auto tokens = tokenizer.encode(text, {.bos = false, .special = true});
  if (tokens.empty()) return error("the template makes no text of the messages");
  return tokens;
}

void Conversation::begin(const std::string& system) {
  messages_.clear();
  if (!system.empty()) messages_.push_back({"system", system});
}

Result<Conversation::Turn> Conversation::say(const std::string& user, const GenerateOptions& options,
                                             const std::function<void(std::string_view)>& text,
                                             const std::function<bool(std::int32_t)>& token) {
  std::vector<chat::Message> messages = messages_;
  messages.push_back({"user", user});
  HEDDLE_ASSIGN(std::vector<std::int32_t> prompt, chat_tokens(*template_, messages, *tokenizer_));
  if (std::int64_t(prompt.size()) > session_->context())
    return error("context is full: {} positions, {} wanted", session_->context(), prompt.size());

  // The last token is always fed: its logits are the answer's beginning.
  const auto [in_prompt, in_cache] = std::mismatch(prompt.begin(), prompt.end() - 1, cached_.begin(), cached_.end());
  Turn turn;
  turn.prompt_tokens = std::int64_t(prompt.size());
  turn.kept_tokens = in_prompt - prompt.begin();
  cached_.erase(in_cache, cached_.end());
  session_->rewind(turn.kept_tokens);

  const auto keep = [&](std::string_view piece) {
    turn.text += piece;
    if (text) text(piece);
  };
  GenerateOptions with_cache = options;
  with_cache.fed = turn.kept_tokens;
  auto result = generate(*session_, tokenizer_, prompt, with_cache, keep, token);
  if (result.ok()) prompt.insert(prompt.end(), result->tokens.begin(), result->tokens.end());
  cached_ = std::move(prompt);
  cached_.resize(std::min(cached_.size(), std::size_t(session_->position())));
  session_->rewind(std::int64_t(cached_.size()));
  if (!result.ok()) return result.take_error();

  turn.result = std::move(*result);
  messages_ = std::move(messages);
  messages_.push_back({"assistant", turn.text});
  return turn;
}

}  // namespace heddle::runtime
