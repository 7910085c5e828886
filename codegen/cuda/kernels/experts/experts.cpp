// Products with the experts that every row chose. Which weights are read is known only behind the wait, so there is no ring to fill before
// it: a warp takes some columns of one expert, and asks for all pieces of a round at once. A block has the activation of its row in shared
// memory: without gates that of one expert's product, with gates the slices of all, whose products each warp adds up.
#include "codegen/cuda/kernels/experts/experts.h"

#include <algorithm>
#include <set>

#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/expression.h"
#include "codegen/cuda/target.h"
#include "codegen/spec_text.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int warps = 8;

std::optional<Refusal> plan_part(const plan::KernelSpec& spec, const plan::Part& part, ExpertsPlan& plan) {
  const plan::Gemm& loop = *spec.gemm();
  const Program epilogue(part.epilogue, spec, part.n);
  for (const auto& instr : part.epilogue.instrs)
    if (!instr.as<Elementwise>()) return epilogue.refused(instr, "behind a product with experts it is not emitted");
  for (const auto& store : part.epilogue.stores)
    if (store.kind != plan::StoreKind::buffer || spec.args[store.index].dtype != DType::f32 || !epilogue[store.value].columns)
      return refused_loop(spec, "behind a product with experts rows of f32 are stored");
  for (unsigned v = 0; v < epilogue.inputs(); ++v) {
    const plan::InputKind kind = epilogue[v].input->kind;
    if (epilogue[v].dtype != DType::f32 && kind == plan::InputKind::rows)
      return refused_loop(spec, fmt::format("its epilogue reads {} as numbers", name(epilogue[v].dtype)));
  }
  for (const auto& segment : part.segments) {
    const plan::Arg& weight = spec.args[segment.weight];
    const std::int64_t rows = weight.shape[0] * weight.shape[1];
    auto format = format_of(weight.dtype, weight.layout, rows, loop.k);
    if (!format.ok()) return refused_loop(spec, format.error().message());
    if (rows * (loop.k / format->elements) > INT32_MAX) return refused_loop(spec, "the experts have more pieces than an index counts");
    if (!plan.formats.empty() && plan.formats.front().elements != format->elements)
      return refused_loop(spec, fmt::format("weights in {} and {} do not share a unit", plan.formats.front().name, format->name));
    plan.formats.push_back(std::move(*format));
    plan.weights.push_back(segment.weight);
  }
  return std::nullopt;
}

class ExpertsKernel {
 public:
  ExpertsKernel(const plan::KernelSpec& spec, const ExpertsPlan& plan, const ir::Target& target)
      : spec_(spec), plan_(plan), target_(target), loop_(*spec.gemm()) {}

  CudaText print() {
    Text out;
    out.put(spec_text(spec_));
    out.put(prelude(target_));
    out.put(format_prelude(loop_.k, plan_.formats.front().elements));
    std::set<std::string> done;
    for (const Format& format : plan_.formats)
      if (done.insert(format.name).second) out.put(format.text);
    out.put(program_prelude);
    print_ops(out, programs_of(spec_));
    print_signature(out, spec_, warps * 32, 1, false);
    print_body(out);
    out.close();
    return {plan_.launch, spec_.name, out.str()};
  }

 private:
  void print_body(Text& out) {
    const int elements = plan_.formats.front().elements;
    const std::int64_t pieces = loop_.k / elements;
    const plan::Input& x = loop_.prologue.inputs[0];
    const std::size_t segments = plan_.formats.size();
    out.line("DYNAMIC_SHARED;");
    out.line("constexpr int N = {}, PIECES = {}, CHOSEN = {}, SLICES = {}, COLUMNS = {}, WARPS = {};", plan_.columns, pieces, loop_.chosen,
             plan_.slices, plan_.together, warps);
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
    out.line("const int expert = chosen < {0} ? (int)chosen : {0} - 1;", spec_.args[plan_.weights.front()].shape[0]);
    out.line("const float* const x = all + j * {};", loop_.k);
    out.line("float sums[{}][COLUMNS] = {{}};", segments);
    out.line("#pragma unroll 2");
    out.open("for (int piece = lane; piece < PIECES; piece += 32) {{");
    for (std::size_t s = 0; s < segments; ++s) out.line("P_{} q{}[COLUMNS];", plan_.formats[s].name, s);
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    out.line("const u32 b = (u32)(expert * N + min(first + c, N - 1)) * PIECES + piece;");
    for (std::size_t s = 0; s < segments; ++s)
      out.line("q{}[c] = load_{}({}, b);", s, plan_.formats[s].name, plan_.formats[s].planes_of(fmt::format("a{}", plan_.weights[s])));
    out.close();
    out.line("#pragma unroll");
    out.open("for (int c = 0; c < COLUMNS; ++c) {{");
    for (std::size_t s = 0; s < segments; ++s)
      out.line("sums[{0}][c] = {1}(sums[{0}][c], unpack_{2}(q{0}[c], piece), x, piece * {3});", s, plan_.formats[s].dot(), plan_.formats[s].name,
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
  const ExpertsPlan& plan_;
  const ir::Target& target_;
  const plan::Gemm& loop_;
};

}  // namespace

std::variant<ExpertsPlan, Refusal> plan_experts(const plan::KernelSpec& spec, const ir::Target& target) {
  const plan::Gemm& loop = *spec.gemm();
  if (loop.activations != DType::f32) return refused_loop(spec, fmt::format("experts are multiplied with f32, not with {}", loop.activations));
  const plan::Program& before = loop.prologue;
  if (before.inputs.size() != 1 || !before.instrs.empty() || !before.stores.empty() || before.inputs[0].kind != plan::InputKind::rows)
    return refused_loop(spec, "nothing can stand before a product with experts");
  ExpertsPlan plan{};
  for (const auto& part : spec.parts) {
    if (part.n != spec.parts[0].n) return refused_loop(spec, "products with experts of different widths are kernels of their own");
    if (auto refused = plan_part(spec, part, plan)) return *refused;
  }
  const bool gates = loop.gates >= 0;
  plan.columns = gates ? spec.parts[0].n : spec.parts[0].n / loop.chosen;
  plan.slices = gates ? loop.chosen : 1;
  plan.together = plan.slices > 1 ? 1 : 2;
  const std::int64_t shared = plan.slices * loop.k * 4;
  if (shared > limits_of(target).shared_bytes)
    return refused_loop(spec, fmt::format("activations of {} experts do not fit into shared memory", plan.slices));
  const std::int64_t columns = warps * plan.together;  // of a block
  plan.launch.grid = {std::uint32_t((plan.columns + columns - 1) / columns), std::uint32_t(spec.rows), std::uint32_t(gates ? 1 : loop.chosen)};
  plan.launch.block = {std::uint32_t(warps * 32), 1, 1};
  plan.launch.dynamic_shared_bytes = std::uint32_t(shared);
  plan.launch.programmatic = target.has("programmatic_launch");
  return plan;
}

CudaText print_experts(const plan::KernelSpec& spec, const ExpertsPlan& plan, const ir::Target& target) {
  return ExpertsKernel(spec, plan, target).print();
}

}  // namespace heddle::codegen::cuda
