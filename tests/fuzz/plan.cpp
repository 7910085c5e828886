// The body of a plan file (the header before it is made to fit: a checksum is not found by chance). A plan that is accepted can be written
// and is accepted again.
#include "fuzz.h"

#include <xxhash.h>

#include "runtime/plan/plan_file.h"

using namespace heddle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string file = plan::serialize(plan::Plan()).substr(0, 16) + std::string(48, '\0');
  const std::uint64_t length = size;
  const XXH128_hash_t hash = XXH3_128bits(data, size);
  std::memcpy(&file[16], &length, 8);
  std::memcpy(&file[24], &hash.low64, 8);
  std::memcpy(&file[32], &hash.high64, 8);
  file.append(reinterpret_cast<const char*>(data), size);
  const auto plan = plan::parse_plan(std::as_bytes(std::span(file)), "fuzz.plan");
  if (!plan.ok()) return 0;
  const std::string again = plan::serialize(**plan);
  const auto same = plan::parse_plan(std::as_bytes(std::span(again)), "again.plan");
  HEDDLE_CHECK(same.ok(), "{}", same.error().message());
  return 0;
}
