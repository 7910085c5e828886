// A GGUF file as it may come from anywhere: header, metadata, vocabulary, configuration, and the IR that its tensor table makes.
#include "fuzz.h"

#include "frontends/gguf/read.h"
#include "ir/verify.h"

using namespace heddle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto model = frontends::gguf::read_model({reinterpret_cast<const std::byte*>(data), size}, "fuzz.gguf");
  if (!model.ok()) return 0;
  frontends::BuildOptions options;
  options.entries = {{EntryKind::decode, 1}, {EntryKind::prefill, 4}, {EntryKind::prompt, 4}};
  const auto module = frontends::build_ir(*model, options);
  if (!module.ok()) return 0;
  const auto verified = ir::verify(**module);
  HEDDLE_CHECK(verified.ok(), "{}", verified.error().message());
  return 0;
}
