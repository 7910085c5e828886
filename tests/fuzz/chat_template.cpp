// A chat template, rendered over a conversation with tools.
#include "fuzz.h"

#include "runtime/chat/template.h"

using namespace heddle;
using chat::Value;

static Value conversation() {
  const auto message = [](const char* role, Value content) { return Value::mapping({{"role", role}, {"content", std::move(content)}}); };
  const Value call = Value::mapping(
      {{"id", "1"}, {"function", Value::mapping({{"name", "now"}, {"arguments", Value::mapping({{"zone", Value::none()}, {"n", 2}})}})}});
  const Value tool =
      Value::mapping({{"type", "function"}, {"function", Value::mapping({{"name", "now"}, {"parameters", Value::mapping({{"x", 0.5}})}})}});
  return Value::mapping(
      {{"messages", Value::list({message("system", "Be short."), message("user", " Hi, n\xc3\xa4\xc3\xaf\xf0\x9f\xa7\xb5\n"),
                                 message("assistant", "<think>a</think>b"),
                                 Value::mapping({{"role", "assistant"}, {"content", Value::none()}, {"tool_calls", Value::list({call})}}),
                                 message("tool", "12:00")})},
       {"tools", Value::list({tool})},
       {"add_generation_prompt", true},
       {"bos_token", "<s>"},
       {"eos_token", "</s>"}});
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Value context = conversation();
  const auto parsed = chat::Template::parse({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) return 0;
  std::tm now = {};
  now.tm_mday = 1;
  const auto text = parsed->render(context, now);
  HEDDLE_CHECK(!text.ok() || text->size() < (8 << 20));
  return 0;
}
