// A tokenizer.json: the vocabulary that is made of it, and texts through its engine.
#include "fuzz.h"

#include "frontends/safetensors/tokenizer.h"
#include "runtime/text/tokenizer.h"

using namespace heddle;
using frontends::safetensors::JsonObject;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto tokenizer = JsonObject::parse({reinterpret_cast<const char*>(data), size}, "tokenizer.json");
  if (!tokenizer.ok()) return 0;
  const auto vocabulary = frontends::safetensors::read_vocabulary({*JsonObject::parse("{}", "config.json"), *tokenizer, {}, {}}, 0);
  if (!vocabulary.ok()) return 0;
  const auto engine = text::Tokenizer::create(*vocabulary);
  if (!engine.ok()) return 0;
  for (const char* text : {"", " Hello world's 123\n\n  \xc3\xa9\xe6\xa9\x9f \xf0\x9f\xa7\xb5", "a\xff\xc3<s>ab</s>\tab  "}) {
    for (const bool special : {false, true}) {
      const auto ids = (*engine)->encode(text, {.bos = true, .special = special});
      for (const std::int32_t id : ids) HEDDLE_CHECK(id >= 0 && id < (*engine)->size());
      (*engine)->decode(ids, special);
    }
  }
  return 0;
}
