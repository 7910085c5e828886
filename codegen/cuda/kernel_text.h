#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "codegen/cuda/source_text.h"
#include "runtime/plan/kernel_spec.h"

namespace heddle::codegen::cuda {

/// How a kernel is launched.
struct Launch {
  std::array<std::uint32_t, 3> grid{1, 1, 1}, block{1, 1, 1};
  std::uint32_t cluster = 1;      // blocks along z that share a cluster
  std::uint32_t grid_per_sm = 0;  // above 0: so many blocks for each multiprocessor instead of `grid`
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint64_t scratch_bytes = 0;
  bool programmatic = false;
  bool even_start = false;         // few large blocks, of which a multiprocessor could hold several: see runtime/cuda/graph.h
  bool architecture_only = false;  // uses what only the target's own architecture has: compiled for "sm_90a", and no PTX for newer ones
};

/// A kernel as CUDA C++, with how it is launched. Parameters: one for each argument of the spec (weights, buffers: addresses; states: keys,
/// values, capacity by value; tokens, slots, positions, last: addresses of int), then the scratch memory if `scratch_bytes` is above 0, then, of
/// a sampler, the address of runtime/cuda/sample_control.h's SampleControl.
struct CudaText : Launch {
  std::string entry;  // the C symbol
  std::string text;   // self-contained: no includes
};

// ---- What the kernels of all families begin with

/// The kernel's head: `extern "C" __global__ ... name(parameters) {`; ends inside the body.
void print_signature(Text& out, const plan::KernelSpec& spec, int threads, int blocks_per_sm, bool scratch, int cluster = 1);

}  // namespace heddle::codegen::cuda
