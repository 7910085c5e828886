#include "codegen/cuda/kernel_text.h"

namespace heddle::codegen::cuda {

void print_signature(Text& out, const plan::KernelSpec& spec, int threads, int blocks_per_sm, bool scratch, int cluster) {
  std::string parameters;
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    if (i > 0) parameters += ", ";
    switch (spec.args[i].role) {
      case plan::ArgRole::weight:
        parameters += fmt::format("const char* a{}", i);
        break;
      case plan::ArgRole::buffer:
        parameters += fmt::format("char* a{}", i);
        break;
      case plan::ArgRole::state:
        parameters += fmt::format("State a{}", i);
        break;
      default:
        parameters += fmt::format("int* a{}", i);
    }
  }
  if (scratch) parameters += ", char* scratch";
  if (spec.sample()) parameters += ", const SampleControl* control";
  out.open("extern \"C\" __global__ void {}__launch_bounds__({}, {}) {}({}) {{",
           cluster > 1 ? fmt::format("__cluster_dims__(1, 1, {}) ", cluster) : "", threads, blocks_per_sm, spec.name, parameters);
}

}  // namespace heddle::codegen::cuda
