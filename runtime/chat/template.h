#pragma once
#include <ctime>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/jinja/value.h"

/// Chat templates: a model's own Jinja text that turns a conversation into a prompt. The language is Jinja 3.1's as far as such templates
/// use it (source: its template designer documentation), set up as transformers sets it up: trim_blocks, lstrip_blocks, loop controls,
/// `tojson`, `raise_exception`, `strftime_now`, `{% generation %}`, and values that cannot be changed. A template comes with a model, so
/// nothing in it can read files, hang or crash the program.
namespace heddle::chat {

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

/// What a template is given beside its own text. `{{ tools }}` is none.
struct Prompt {
  std::span<const Message> messages;
  bool add_generation_prompt = true;      // end with what starts an answer
  std::string_view bos_token, eos_token;  // their texts
};

class Template {
 public:
  /// "chat template: line 3: unknown filter 'foo'". `source` is not kept.
  static Result<Template> parse(std::string_view source);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  /// `context` is a mapping: the variables by name (messages, tools, add_generation_prompt, bos_token, ...). `now` is for strftime_now.
  /// "chat template: line 7: Conversation roles must alternate user/assistant/...".
  Result<std::string> render(const Value& context, const std::tm& now) const;
  Result<std::string> render(const Prompt& prompt) const;  // now, in local time

 private:
  struct Body;
  explicit Template(std::unique_ptr<const Body> body);
  std::unique_ptr<const Body> body_;
};

}  // namespace heddle::chat
