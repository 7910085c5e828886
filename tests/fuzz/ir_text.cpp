// The text of the IR: what is parsed prints, and the print parses to the same print; the verifier and the graph algorithms stand what the
// parser lets through.
#include "fuzz.h"

#include "ir/dependencies.h"
#include "ir/text/text.h"
#include "ir/verify.h"

using namespace heddle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto module = ir::parse({reinterpret_cast<const char*>(data), size}, "fuzz.ir");
  if (!module.ok()) return 0;
  const bool verified = ir::verify(**module).ok();
  const std::string printed = ir::print(**module);
  const auto again = ir::parse(printed, "printed.ir");
  HEDDLE_CHECK(again.ok(), "{}", again.error().message());
  HEDDLE_CHECK(ir::print(**again) == printed);
  HEDDLE_CHECK(ir::verify(**again).ok() == verified);
  for (const auto& function : (*module)->functions()) {
    const bool ordered = ir::Dependencies(function->body()).topological_order().ok();
    HEDDLE_CHECK(ordered || !verified);
  }
  return 0;
}
