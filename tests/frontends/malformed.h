#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "frontends/gguf/read.h"
#include "frontends/model.h"
#include "tests/support/gguf_writer.h"

namespace heddle::testing {

inline Result<frontends::Model> read(const std::string& bytes) {
  return frontends::gguf::read_model(std::as_bytes(std::span(bytes)), "m.gguf");
}

/// The whole message of the error that reading `bytes` (and, if that works, building IR from them) gives; empty if there is none.
inline std::string message_of(const std::string& bytes) {
  const auto model = read(bytes);
  if (!model.ok()) return model.error().message();
  const auto module = frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}}, .kv = DType::f32, .target = {}});
  return module.ok() ? "" : module.error().message();
}

/// One thing done to a file that is fine otherwise, and the whole message it gives.
struct Malformed {
  std::string name;
  std::function<void(GgufWriter&)> spoil;
  std::string message;
};
inline void PrintTo(const Malformed& malformed, std::ostream* out) { *out << malformed.name; }
inline std::string name_of(const ::testing::TestParamInfo<Malformed>& info) { return info.param.name; }

}  // namespace heddle::testing
