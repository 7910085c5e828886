#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "ir/base/check.h"

/// libFuzzer's entry point: one file of tests/fuzz defines it for one kind of input. It returns 0; a finding is a crash, a sanitizer's
/// report or a failed check. Built with clang and -DHEDDLE_FUZZ=ON (preset `fuzz`) libFuzzer drives it, else replay.cpp.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
