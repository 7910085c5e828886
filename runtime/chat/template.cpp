#include "runtime/chat/template.h"

#include "runtime/jinja/renderer.h"
#include "runtime/jinja/syntax.h"

namespace heddle::chat {

struct Template::Body {
  Block block;
};

Template::Template(std::unique_ptr<const Body> body) : body_(std::move(body)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::parse(std::string_view source) {
  auto block = parse_template(source);
  if (!block.ok()) return block.take_error().at("chat template");
  return Template(std::make_unique<const Body>(Body{std::move(*block)}));
}

Result<std::string> Template::render(const Value& context, const std::tm& now) const {
  HEDDLE_CHECK(context.is(Value::Kind::mapping));
  auto text = Renderer(context.mapping(), now).run(body_->block);
  if (!text.ok()) return text.take_error().at("chat template");
  return text;
}

Result<std::string> Template::render(const Prompt& prompt) const {
  std::vector<Value> messages;
  for (const Message& message : prompt.messages) messages.push_back(Value::mapping({{"role", message.role}, {"content", message.content}}));
  const Value context = Value::mapping({{"messages", Value::list(std::move(messages))},
                                        {"tools", Value::none()},
                                        {"add_generation_prompt", prompt.add_generation_prompt},
                                        {"bos_token", prompt.bos_token},
                                        {"eos_token", prompt.eos_token}});
  const std::time_t seconds = std::time(nullptr);
  std::tm now = {};
  localtime_r(&seconds, &now);
  return render(context, now);
}

}  // namespace heddle::chat
