#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "codegen/tuning.h"
#include "ir/target.h"

/// The knobs that CUDA's emitters know, and what heddle ships of them.
namespace heddle::codegen::cuda {

/// "rounds", "stages", "warps".
std::span<const std::string_view> knob_names();

/// What heddle ships for a target: its card's, else that of the first card of its architecture that has some (Tuning::target says which);
/// empty where nobody has measured.
const Tuning& shipped_tuning(const ir::Target& target);

/// What is worth trying for a kernel in place of its emitter's own choice; the empty list of knobs is not among them.
std::vector<std::vector<plan::Knob>> candidates(const plan::KernelSpec& spec);

/// The value of a knob; `otherwise` where the spec has none of that name.
int knob(const plan::KernelSpec& spec, std::string_view name, int otherwise);

}  // namespace heddle::codegen::cuda
