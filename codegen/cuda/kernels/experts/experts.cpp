// Products with the experts that every row chose. Which weights are read is known only behind the wait, so there is no ring to fill before
// it: a warp takes some columns of one expert, and asks for all pieces of a round at once. A block has the activation of its row in shared
// memory: without gates that of one expert's product, with gates the slices of all, whose products each warp adds up.
#include <algorithm>
#include <set>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/expression.h"
#include "codegen/cuda/target.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int warps = 8;

class ExpertsKernel {
 public:
  ExpertsKernel(const plan::KernelSpec& spec, const ir::Target& target) : spec_(spec), target_(target), loop_(*spec.gemm()) {}

  Emitted emit() {
    if (auto refused = check()) return *refused;
    n_ = loop_.gates >= 0 ? spec_.parts[0].n : spec_.parts[0].n / loop_.chosen;
    slices_ = loop_.gates >= 0 ? loop_.chosen : 1;
    together_ = slices_ > 1 ? 1 : 2;
    shared_ = slices_ * loop_.k * 4;
    if (shared_ > limits_of(target_).shared_bytes)
      return CannotEmit{"matmul", fmt::format("activations of {} experts do not fit into shared memory", slices_)};

    Text out;
    out.put(header_comment(spec_));
    out.put(prelude(target_));
    out.put(format_prelude(loop_.k, formats_.front().elements));
    std::set<std::string> done;
    for (const Format& format : formats_)
      if (done.insert(format.name).second) out.put(format.text);
    out.put(program_prelude);
    print_ops(out, programs_of(spec_));
    print_signature(out, spec_, warps * 32, 1, false);
    print_body(out);
    out.close();

    CudaText text;
    text.entry = spec_.name;
    text.text = out.str();
    const std::int64_t columns = warps * together_;
    text.grid = {std::uint32_t((n_ + columns - 1) / columns), std::uint32_t(spec_.rows),
                 std::uint32_t(loop_.gates >= 0 ? 1 : loop_.chosen)};
    text.block = {std::uint32_t(warps * 32), 1, 1};
    text.dynamic_shared_bytes = std::uint32_t(shared_);
    text.programmatic = target_.has("programmatic_launch");
    return text;
  }

 private:
  std::optional<CannotEmit> check() {
    const auto refuse = [](std::string reason) { return CannotEmit{"matmul", std::move(reason)}; };
    if (loop_.activations != DType::f32) return refuse(fmt::format("experts are multiplied with f32, not with {}", loop_.activations));
    const plan::Program& before = loop_.prologue;
    if (before.inputs.size() != 1 || !before.instrs.empty() || !before.stores.empty() || before.inputs[0].kind != plan::InputKind::rows)
      return refuse("nothing can stand before a product with experts");
    for (const auto& part : spec_.parts) {
      if (part.n != spec_.parts[0].n) return refuse("products with experts of different widths are kernels of their own");
      if (auto refused = check_part(part)) return refused;
    }
    return std::nullopt;
  }

  std::optional<CannotEmit> check_part(const plan::Part& part) {
    const auto refuse = [](std::string reason) { return CannotEmit{"matmul", std::move(reason)}; };
    const Program epilogue(part.epilogue, spec_, part.n);
    for (const auto& instr : part.epilogue.instrs)
      if (!instr.as<Elementwise>()) return CannotEmit{std::string(name(instr.op)), "behind a product with experts it is not emitted"};
    for (const auto& store : part.epilogue.stores)
      if (store.kind != plan::StoreKind::buffer || spec_.args[store.index].dtype != DType::f32 || !epilogue[store.value].columns)
        return refuse("behind a product with experts rows of f32 are stored");
    for (unsigned v = 0; v < epilogue.inputs(); ++v)
      if (epilogue[v].dtype != DType::f32 && epilogue[v].input->kind == plan::InputKind::rows)
        return refuse(fmt::format("its epilogue reads {} as numbers", name(epilogue[v].dtype)));
    for (const auto& segment : part.segments) {
      const plan::Arg& weight = spec_.args[segment.weight];
      const std::int64_t rows = weight.shape[0] * weight.shape[1];
      auto format = format_of(weight.dtype, weight.layout, rows, loop_.k);
      if (!format.ok()) return refuse(format.error().message());
      if (rows * (loop_.k / format->elements) > INT32_MAX) return refuse("the experts have more pieces than an index counts");
      if (!formats_.empty() && formats_.front().elements != format->elements)
        return refuse(fmt::format("weights in {} and {} do not share a unit", formats_.front().name, format->name));
      formats_.push_back(std::move(*format));
      weights_.push_back(segment.weight);
    }
    return std::nullopt;
  }

  void print_body(Text& out) {
    const int elements = formats_.front().elements;
    const std::int64_t pieces = loop_.k / elements;
    const plan::Input& x = loop_.prologue.inputs[0];
    const std::size_t segments = formats_.size();
    out.line("DYNAMIC_SHARED;");
    out.line("constexpr int N = {}, PIECES = {}, CHOSEN = {}, SLICES = {}, COLUMNS = {}, WARPS = {};", n_, pieces, loop_.chosen, slices_,
             together_, warps);
    out.line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;");
    out.line("const int row = blockIdx.y, place = blockIdx.z, first = (blockIdx.x * WARPS + warp) * COLUMNS;");
    out.line("float* const all = (float*)shared;  // [SLICES][K], each as the weights' pieces read it");
    out.line("wait();");
    out.line("trigger();");
    out.line("const int* const experts = (const int*)a{} + row * CHOSEN;", loop_.experts);
    out.line(
        "for (int i = threadIdx.x; i < SLICES * {0}; i += WARPS * 32) all[i / {0} * {0} + x_index(i % {0})] = "
        "__ldcg((const float*)a{1} + row * (SLICES * {0}) + i);",
        loop_.k, x.index);
    out.line("__syncthreads();");
    if (spec_.positions_arg >= 0) out.line("const int position = __ldcg(a{} + row);", spec_.positions_arg);
    if (spec_.slots_arg >= 0) out.line("const int slot = __ldcg(a{} + row);", spec_.slots_arg);
    out.line("float total[{}][COLUMNS] = {{}};", segments);
    out.open("for (int j = 0; j < SLICES; ++j) {{");
    // Kernels that are timed alone find anything in their buffers.
    out.line("const u32 chosen = (u32)__ldcg(experts + {});", loop_.gates >= 0 ? "j" : "place");
    out.line("const int expert = chosen < {0} ? (int)chosen : {0} - 1;", spec_.args[weights_.front()].shape[0]);
    out.line("const float* const x = all + j * {};", loop_.k);
    out.line("float sums[{}][COLUMNS] = {{}};", segments);
    out.line("#pragma unroll 2");
    out.open("for (int piece = lane; piece < PIECES; piece += 32) {{");
    for (std::size_t s = 0; s < segments; ++s) out.line("P_{} q{}[COLUMNS];", formats_[s].name, s);
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    out.line("const u32 b = (u32)(expert * N + min(first + c, N - 1)) * PIECES + piece;");
    for (std::size_t s = 0; s < segments; ++s)
      out.line("q{}[c] = load_{}({}, b);", s, formats_[s].name, formats_[s].planes_of(fmt::format("a{}", weights_[s])));
    out.close();
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    for (std::size_t s = 0; s < segments; ++s)
      out.line("sums[{0}][c] = {1}(sums[{0}][c], unpack_{2}(q{0}[c], piece), x, piece * {3});", s, formats_[s].dot(), formats_[s].name,
               elements);
    out.close();
    out.close();
    const std::string gate = loop_.gates >= 0 ? fmt::format("__ldcg((const float*)a{} + row * CHOSEN + j) * ", loop_.gates) : "";
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    for (std::size_t s = 0; s < segments; ++s) out.line("total[{0}][c] += {1}sum_of_warp(sums[{0}][c]);", s, gate);
    out.close();
    out.close();
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    out.line("if (first + c >= N) break;");
    out.line("const int column = place * N + first + c;");
    std::size_t segment = 0;
    for (const auto& part : spec_.parts) {
      out.open("{{");
      print_epilogue(out, part, segment);
      out.close();
      segment += part.segments.size();
    }
    out.close();
  }

  /// `first`: the number of the part's first segment.
  void print_epilogue(Text& out, const plan::Part& part, std::size_t first) {
    const Program epilogue(part.epilogue, spec_, part.n);
    for (unsigned v = 0; v < epilogue.size(); ++v) {
      const Value& value = epilogue[v];
      if (value.instr) {
        print_elementwise(out, epilogue, "e", v);
        continue;
      }
      const plan::Input& input = *value.input;
      switch (input.kind) {
        case plan::InputKind::loop:
          print_value(out, epilogue, "e", v, fmt::format("total[{}][c]", first + input.index));
          break;
        case plan::InputKind::constant:
          print_value(out, epilogue, "e", v, float_literal(input.value));
          break;
        case plan::InputKind::rows:
          print_value(out, epilogue, "e", v, buffer_element(spec_, input.index, "row", value.columns ? "i" : "0"));
          break;
        case plan::InputKind::vector:
          if (value.columns || value.width == 1)
            print_value(out, epilogue, "e", v, weight_element(spec_, input.index, value.columns ? "i" : "0"));
          break;
        case plan::InputKind::row_scalar:
          HEDDLE_CHECK(false, "a row scalar without a prologue");
      }
    }
    for (const auto& store : part.epilogue.stores)
      out.line("if (lane == 0) {}",
               store_statement(spec_, store, "row", "column", read(epilogue, "e", store.value, "column"), "slot", "position"));
  }

  const plan::KernelSpec& spec_;
  const ir::Target& target_;
  const plan::Gemm& loop_;
  std::vector<Format> formats_;    // of the segments of all parts
  std::vector<unsigned> weights_;  // their arguments
  std::int64_t n_ = 0, slices_ = 1, shared_ = 0;
  int together_ = 1;  // columns of a warp
};

}  // namespace

Emitted emit_experts(const plan::KernelSpec& spec, const ir::Target& target) { return ExpertsKernel(spec, target).emit(); }

}  // namespace heddle::codegen::cuda
