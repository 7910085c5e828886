// Rows chosen among those of a step: one block for each row of the kernel, which copies all that is taken by its index.
#include <algorithm>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/device/prelude.h"

namespace heddle::codegen::cuda {

Emitted emit_select(const plan::KernelSpec& spec, const ir::Target& target) {
  const plan::GatherRows& loop = *spec.gather_rows();
  struct Copy {
    std::uint32_t from, to;
    std::int64_t words;  // of a row
    std::string_view word;
  };
  std::vector<Copy> copies;
  std::int64_t most = 1;
  for (const auto& pair : loop.pairs) {
    const plan::Arg& to = spec.args[pair.to];
    const std::int64_t bytes = bytes_of(to.dtype, to.role == plan::ArgRole::buffer ? to.shape.back() : 1);
    // Buffers begin at multiples of 16 bytes; rows do where their size is one.
    const bool wide = bytes % 16 == 0, words = bytes % 4 == 0;
    copies.push_back({pair.from, pair.to, wide ? bytes / 16 : words ? bytes / 4 : bytes, wide ? "uint4" : words ? "u32" : "char"});
    most = std::max(most, copies.back().words);
  }
  const int threads = int(std::min<std::int64_t>(1024, (most + 31) / 32 * 32));

  Text out;
  out.put(header_comment(spec));
  out.put(prelude(target));
  print_signature(out, spec, threads, 1, false);
  out.line("const int row = blockIdx.x;");
  out.line("wait();");
  out.line("trigger();");
  out.line("const long long from = __ldcg(a{} + row);", loop.index);
  for (const Copy& copy : copies)
    out.line("for (int i = threadIdx.x; i < {0}; i += {1}) (({2}*)a{3})[row * {0} + i] = __ldcg((const {2}*)a{4} + from * {0} + i);",
             copy.words, threads, copy.word, copy.to, copy.from);
  out.close();

  CudaText text;
  text.entry = spec.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows), 1, 1};
  text.block = {std::uint32_t(threads), 1, 1};
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
