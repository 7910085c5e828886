#pragma once
#include "codegen/cuda/emit.h"

namespace heddle::codegen::cuda {

/// Whether the attention of a spec goes through tiles of rows on the matrix units: whole pairs of tiles of 64 rows, heads of up to 256
/// elements in whole steps of 16. Otherwise each row has a block of its own (attention.cpp).
bool flash_wanted(const plan::KernelSpec& spec);
Emitted emit_flash(const plan::KernelSpec& spec, const ir::Target& target);

}  // namespace heddle::codegen::cuda
