#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <variant>

#include "codegen/cuda/expression.h"
#include "ir/base/error.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

/// A kernel as CUDA C++, with how it is launched. Parameters: one for each argument of the spec (weights, buffers: addresses; states: keys,
/// values, capacity by value; tokens, slots, positions, last: addresses of int), then the scratch memory if `scratch_bytes` is above 0, then, of
/// a sampler, the address of runtime/cuda/sample_control.h's SampleControl.
struct CudaText {
  std::string entry;  // the C symbol
  std::string text;   // self-contained: no includes
  std::array<std::uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  std::uint32_t cluster = 1;      // blocks along z that share a cluster
  std::uint32_t grid_per_sm = 0;  // above 0: so many blocks for each multiprocessor instead of `grid`
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint64_t scratch_bytes = 0;
  bool programmatic = false;
  bool even_start = false;         // few large blocks, of which a multiprocessor could hold several: see runtime/cuda/graph.h
  bool architecture_only = false;  // uses what only the target's own architecture has: compiled for "sm_90a", and no PTX for newer ones
};

/// The text of a kernel for a target. Equal specs and targets give equal text.
///   gemv_q4_K_64x256__quantize: quantize: behind a product it needs 16 columns together
Result<CudaText> emit(const plan::KernelSpec& spec, const ir::Target& target);

/// The same question without the text: which op stands in the way, and why.
std::optional<CannotEmit> cannot_emit(const plan::KernelSpec& spec, const ir::Target& target);

/// How the GPU reads a weight of this type and shape: "planes" for matrices in blocks that have them, else "rows".
Layout layout_of(DType type);
/// Marks every weight argument as stored that way, whatever a pass has chosen so far.
void set_layouts(plan::KernelSpec& spec);

// ---- One file each

using Emitted = std::variant<CudaText, CannotEmit>;
Emitted emit_gemm(const plan::KernelSpec& spec, const ir::Target& target);   // few rows, activations in q8_16 or f32
Emitted emit_tiles(const plan::KernelSpec& spec, const ir::Target& target);  // many rows, activations in f16_128
Emitted emit_attention(const plan::KernelSpec& spec, const ir::Target& target);
Emitted emit_rowwise(const plan::KernelSpec& spec, const ir::Target& target);
Emitted emit_embed(const plan::KernelSpec& spec, const ir::Target& target);
Emitted emit_experts(const plan::KernelSpec& spec, const ir::Target& target);  // products with the experts that each row chose
Emitted emit_route(const plan::KernelSpec& spec, const ir::Target& target);
Emitted emit_select(const plan::KernelSpec& spec, const ir::Target& target);
Emitted emit_sample(const plan::KernelSpec& spec, const ir::Target& target);

/// The kernel's head: `extern "C" __global__ ... name(parameters) {`; ends inside the body.
void print_signature(Text& out, const plan::KernelSpec& spec, int threads, int blocks_per_sm, bool scratch, int cluster = 1);
/// The comment that repeats the spec.
std::string header_comment(const plan::KernelSpec& spec);
/// Programs of a spec, prologue first.
std::vector<const plan::Program*> programs_of(const plan::KernelSpec& spec);

}  // namespace heddle::codegen::cuda
