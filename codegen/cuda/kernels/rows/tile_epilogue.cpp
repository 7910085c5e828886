#include "codegen/cuda/kernels/rows/tile_epilogue.h"

#include <algorithm>

#include "codegen/cuda/kernels/gemm/gemm.h"
#include "codegen/spec.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {

std::optional<Refusal> check_tile_epilogue(const Program& program, std::string_view loop, std::int64_t& together) {
  const plan::KernelSpec& spec = program.spec();
  for (unsigned v = 0; v < program.size(); ++v) {
    const Value& value = program[v];
    if (value.input) {
      if (value.input->kind == plan::InputKind::rows && value.dtype != DType::f32)
        return refused_loop(spec, fmt::format("its epilogue reads {} as numbers", name(value.dtype)));
      continue;
    }
    const plan::Instr& instr = *value.instr;
    if (instr.as<Elementwise>()) continue;
    if (const auto* rope = instr.as<heddle::Rope>()) {
      if (rope->head_dim % 2 != 0) return program.refused(instr, fmt::format("a head has {} elements, which is odd", rope->head_dim));
      together = std::max(together, rope->head_dim);
    } else if (const auto* quantize = instr.as<Quantize>()) {
      if (quantize->format != tile_activations)
        return program.refused(instr, fmt::format("behind a tile of {} it makes {}", loop, tile_activations));
    } else {
      return program.refused(instr, fmt::format("behind a tile of {} it needs more columns together than there are", loop));
    }
  }
  for (const auto& store : program.program().stores) {
    if (!program[store.value].columns) return refused_loop(spec, "its epilogue stores a value of one column");
    const DType dtype = spec.args[store.index].dtype;
    const bool known =
        store.kind == plan::StoreKind::buffer ? dtype == DType::f32 || dtype == tile_activations : dtype == DType::f32 || dtype == DType::f16;
    if (!known) return refused_loop(spec, fmt::format("its epilogue stores {}", dtype));
  }
  return std::nullopt;
}

namespace {

class Epilogue {
 public:
  Epilogue(Text& out, const plan::KernelSpec& spec, const Program& program, const TileSite& site)
      : out_(out), spec_(spec), program_(program), site_(site) {}

  void print() {
    const bool to_cache =
        std::ranges::any_of(program_.program().stores, [](const auto& store) { return store.kind != plan::StoreKind::buffer; });
    // Rows of buffers are read for several rows of the tile before the first is stored: they may lie in the same memory as the results, for
    // all that the compiler knows, and one answer of the memory after the other takes longer than the rest. A rope or a quantize asks for
    // columns of other lanes.
    ahead_ = !program_.find<heddle::Rope>() && !program_.find<Quantize>();
    together_ = site_.rows % (4 * site_.warps) == 0 ? 4 : site_.rows % (2 * site_.warps) == 0 ? 2 : 1;
    out_.line("#pragma unroll 1");
    out_.open("for (int r0 = warp * {0}; r0 < {1}; r0 += {2}) {{", together_, site_.rows, site_.warps * together_);
    if (ahead_) print_reads();
    out_.line("#pragma unroll");
    out_.open("for (int k = 0; k < {}; ++k) {{", together_);
    out_.line("const int r = r0 + k, row = first_row + r;");
    out_.line("const float* const results_of_row = results + r * {};", site_.pitch);
    if (spec_.positions_arg >= 0 && (to_cache || program_.find<heddle::Rope>()))
      out_.line("const int position = {};", site_.row_inputs ? "positions[r]" : fmt::format("__ldcg(a{} + row)", spec_.positions_arg));
    if (spec_.slots_arg >= 0 && to_cache)
      out_.line("const int slot = {};", site_.row_inputs ? "slots[r]" : fmt::format("__ldcg(a{} + row)", spec_.slots_arg));
    for (unsigned v = 0; v < program_.size(); ++v) {
      const Value& value = program_[v];
      if (value.input) print_input(v, value);
      else if (value.instr->as<heddle::Rope>()) print_rope(out_, program_, "e", v, "(first + i)");
      else if (!value.instr->as<Quantize>()) print_elementwise(out_, program_, "e", v);  // quantize: where it is stored
    }
    for (const auto& store : program_.program().stores) print_store(store);
    out_.close();
    out_.close();
  }

 private:
  bool read_ahead(unsigned v) const {
    return ahead_ && program_[v].input && program_[v].input->kind == plan::InputKind::rows && program_[v].columns;
  }
  void print_reads() {
    const std::int64_t lanes = (site_.columns + 31) / 32;
    for (unsigned v = 0; v < program_.inputs(); ++v) {
      if (!read_ahead(v)) continue;
      out_.line("float in{}[{}][{}];", v, together_, lanes);
      out_.line("#pragma unroll");
      out_.line("for (int k = 0; k < {}; ++k)", together_);
      out_.put("#pragma unroll");
      const std::string column = site_.n % 32 == 0 && site_.n % site_.columns == 0
                                     ? "first + lane + 32 * j"
                                     : fmt::format("min(first + lane + 32 * j, {})", site_.n - 1);
      out_.line("  for (int j = 0; j < {}; ++j) in{}[k][j] = {};", lanes, v,
                buffer_element(spec_, program_[v].input->index, "first_row + r0 + k", column));
    }
  }
  void print_input(unsigned v, const Value& value) {
    const plan::Input& input = *value.input;
    const std::string_view column = value.columns ? "first + i" : "0";
    switch (input.kind) {
      case plan::InputKind::loop:
        return print_value(out_, program_, "e", v, fmt::format("results_of_row[{} + i]", input.index * unsigned(site_.share)));
      case plan::InputKind::constant:
        return print_value(out_, program_, "e", v, float_literal(input.value));
      case plan::InputKind::rows:
        if (read_ahead(v)) return print_value(out_, program_, "e", v, fmt::format("in{}[k][i / 32]", v));
        return print_value(out_, program_, "e", v, buffer_element(spec_, input.index, "row", column));
      case plan::InputKind::vector:
        if (value.columns || value.width == 1) print_value(out_, program_, "e", v, weight_element(spec_, input.index, column));
        return;  // otherwise factors of a rope: read there
      case plan::InputKind::row_scalar:
        break;
    }
    HEDDLE_CHECK(false, "input kind {}", int(input.kind));
  }

  void print_store(const plan::Store& store) {
    const Value& value = program_[store.value];
    const std::int64_t n = site_.n;
    const std::string there = n % site_.columns == 0 ? std::string() : fmt::format("if (first + i < {}) ", n);
    if (value.dtype == DType::f16_128) {
      const unsigned x = value.instr->operands[0];
      out_.line("#pragma unroll");
      out_.open("for (int u = lane; u < {}; u += 32) {{", site_.columns / 2);
      out_.line("const int piece = u % {0}, step = u / {0}, i = piece * 32 + step / 2 * 4 + step % 2, at = first + piece * 32;",
                site_.columns / 32);
      out_.line("{}((u32*)a{})[row * {} + at / 128 * 64 + step * 4 + at % 128 / 32] = pack_f16({}, {});", there, store.index, n / 2,
                read(program_, "e", x, "i"), read(program_, "e", x, "i + 2"));
      out_.close();
      return;
    }
    if (store.kind != plan::StoreKind::buffer) out_.line("if (slot >= 0)");
    out_.line("#pragma unroll");
    out_.line("for (int i = lane; i < {}; i += 32) {}{}", site_.columns, there,
              store_statement(spec_, store, "row", "first + i", read(program_, "e", store.value), "slot", "position"));
  }

  Text& out_;
  const plan::KernelSpec& spec_;
  const Program& program_;
  const TileSite& site_;
  bool ahead_ = false;
  int together_ = 1;  // rows of a warp
};

}  // namespace

void print_tile_epilogue(Text& out, const plan::KernelSpec& spec, const Program& program, const TileSite& site) {
  Epilogue(out, spec, program, site).print();
}

plan::KernelSpec of_one_tile(const plan::KernelSpec& spec, int rows, std::string_view prefix) {
  plan::KernelSpec out(spec);
  out.rows = rows;
  for (auto& arg : out.args)
    if (arg.role != plan::ArgRole::weight && arg.role != plan::ArgRole::state) arg.shape.front() = rows;
  out.name = std::string(prefix) + name_of(out);
  return out;
}

}  // namespace heddle::codegen::cuda
