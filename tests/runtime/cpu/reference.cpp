// What a kernel spec means, in double, with no thought of speed.
#include <cmath>

#include "ir/base/scalar_ops.h"
#include "kernel_case.h"

namespace heddle::testing {
namespace {

using Row = std::vector<double>;  // n elements, or one: the same in every column
using Outputs = std::map<unsigned, std::vector<double>>;

class Reference {
 public:
  explicit Reference(const KernelCase& kernel) : kernel_(kernel), spec_(kernel.spec) {
    for (unsigned i = 0; i < spec_.args.size(); ++i) {
      if (!spec_.args[i].written) continue;
      const auto values = kernel.floats(i);
      outputs[i].assign(values.begin(), values.end());
    }
  }

  void row(std::int64_t r) {
    row_ = r;
    std::vector<Row> before;
    if (spec_.gemm()) before = program(spec_.gemm()->prologue, spec_.gemm()->k, {}, {});
    for (const auto& part : spec_.parts) {
      std::vector<Row> loops;
      if (const plan::Gemm* gemm = spec_.gemm()) {
        for (const auto& segment : part.segments) loops.push_back(product(segment.weight, before[gemm->activation]));
      } else if (spec_.attention()) {
        loops.push_back(attention());
      } else if (const plan::Embed* embed = spec_.embed()) {
        loops.push_back(slice(embed->table, kernel_.integers(int(embed->tokens))[r], part.n));
      }
      program(part.epilogue, part.n, loops, before);
    }
  }

  Outputs outputs;

 private:
  /// Row `index` of an argument seen as [?, n].
  Row slice(unsigned arg, std::int64_t index, std::int64_t n) const {
    const auto all = kernel_.floats(arg);
    return Row(all.begin() + index * n, all.begin() + (index + 1) * n);
  }

  Row product(unsigned weight, const Row& x) const {
    const auto w = kernel_.floats(weight);
    Row out(w.size() / x.size());
    for (std::size_t i = 0; i < w.size(); ++i) out[i / x.size()] += double(w[i]) * x[i % x.size()];
    return out;
  }

  Row attention() const {
    const plan::Attention& loop = *spec_.attention();
    const std::int64_t slot = kernel_.integers(spec_.slots_arg)[row_], position = kernel_.integers(spec_.positions_arg)[row_];
    Row out(std::size_t(loop.heads * loop.head_dim));
    if (slot < 0) return out;
    const Row q = slice(loop.q, row_, loop.heads * loop.head_dim);
    const auto cache = kernel_.floats(loop.kv);
    const auto cached = [&](int plane, std::int64_t head, std::int64_t p, std::int64_t i) {
      return double(
          cache[std::size_t((((plane * kernel_.slot_count + slot) * loop.kv_heads + head) * kernel_.capacity + p) * loop.head_dim + i)]);
    };
    for (std::int64_t h = 0; h < loop.heads; ++h) {
      const std::int64_t kv_head = h / (loop.heads / loop.kv_heads);
      const std::int64_t begin = loop.window > 0 ? std::max<std::int64_t>(0, position + 1 - loop.window) : 0;
      Row scores;
      for (std::int64_t p = begin; p <= position; ++p) {
        double score = 0;
        for (std::int64_t i = 0; i < loop.head_dim; ++i) score += q[std::size_t(h * loop.head_dim + i)] * cached(0, kv_head, p, i);
        score *= loop.scale;
        scores.push_back(loop.softcap > 0 ? loop.softcap * std::tanh(score / loop.softcap) : score);
      }
      double total = 0;
      for (const double score : scores) total += std::exp(score);
      for (std::size_t p = 0; p < scores.size(); ++p)
        for (std::int64_t i = 0; i < loop.head_dim; ++i)
          out[std::size_t(h * loop.head_dim + i)] += std::exp(scores[p]) / total * cached(1, kv_head, begin + std::int64_t(p), i);
    }
    return out;
  }

  Row input(const plan::Input& input, const std::vector<Row>& loops, const std::vector<Row>& before) const {
    switch (input.kind) {
      case plan::InputKind::loop:
        return loops[input.index];
      case plan::InputKind::rows:
        return slice(input.index, row_, spec_.args[input.index].shape[1]);
      case plan::InputKind::vector:
        return slice(input.index, 0, spec_.args[input.index].shape[0]);
      case plan::InputKind::row_scalar:
        return before[input.index];
      case plan::InputKind::constant:
        return {input.value};
    }
    return {};
  }

  static double inverse_rms(const double* x, std::size_t n, double eps) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += x[i] * x[i];
    return 1 / std::sqrt(sum / double(n) + eps);
  }

  Row rope(const Rope& op, Row x, const Row* factors) const {
    const double position = kernel_.integers(spec_.positions_arg)[row_];
    const std::size_t half = std::size_t(op.dims / 2);
    for (std::size_t head = 0; head < x.size(); head += std::size_t(op.head_dim)) {
      for (std::size_t i = 0; i < half; ++i) {
        const double angle = position * std::pow(op.theta, -2.0 * double(i) / double(op.dims)) / (factors ? (*factors)[i] : 1.0);
        const std::size_t a = head + (op.pairing == Pairing::adjacent ? 2 * i : i), b = op.pairing == Pairing::adjacent ? a + 1 : a + half;
        const double u = x[a], v = x[b];
        x[a] = u * std::cos(angle) - v * std::sin(angle);
        x[b] = u * std::sin(angle) + v * std::cos(angle);
      }
    }
    return x;
  }

  Row instr(const plan::Instr& instr, const std::vector<Row>& values) const {
    const auto operand = [&](std::size_t i) -> const Row& { return values[instr.operands[i]]; };
    const Row& x = operand(0);
    Row out(x.size());
    if (const auto* op = instr.as<Elementwise>()) {
      for (std::size_t i = 0; i < instr.operands.size(); ++i) out.resize(std::max(out.size(), operand(i).size()));
      const auto at = [&](std::size_t i, std::size_t c) {
        return i >= instr.operands.size() ? 0.0 : operand(i).size() == 1 ? operand(i)[0] : operand(i)[c];
      };
      for (std::size_t c = 0; c < out.size(); ++c) out[c] = apply<double>(op->op, at(0, c), at(1, c), at(2, c));
    } else if (const auto* norm = instr.as<RmsNorm>()) {
      const std::size_t n = operand(1).size();
      for (std::size_t c = 0; c < x.size(); ++c) out[c] = x[c] * inverse_rms(x.data() + c / n * n, n, norm->eps) * operand(1)[c % n];
    } else if (const auto* scale = instr.as<RmsScale>()) {
      out = {inverse_rms(x.data(), x.size(), scale->eps)};
    } else if (const auto* quantize = instr.as<Quantize>()) {
      const DTypeInfo& format = info(quantize->format);
      std::vector<float> values32(x.begin(), x.end());
      std::vector<std::byte> blocks(x.size() / std::size_t(format.elements) * std::size_t(format.bytes));
      format.quantize(values32.data(), blocks.data(), std::int64_t(x.size()) / format.elements);
      format.dequantize(blocks.data(), values32.data(), std::int64_t(x.size()) / format.elements);
      out.assign(values32.begin(), values32.end());
    } else if (const auto* turned = instr.as<Rope>()) {
      out = rope(*turned, x, instr.operands.size() > 1 ? &operand(1) : nullptr);
    }
    return out;
  }

  std::vector<Row> program(const plan::Program& program, std::int64_t n, const std::vector<Row>& loops, const std::vector<Row>& before) {
    std::vector<Row> values;
    for (const auto& in : program.inputs) values.push_back(input(in, loops, before));
    for (const auto& step : program.instrs) values.push_back(instr(step, values));
    for (const auto& store : program.stores) {
      const Row& value = values[store.value];
      std::vector<double>& out = outputs.at(store.index);
      if (store.kind == plan::StoreKind::buffer) {
        const std::int64_t width = spec_.args[store.index].shape[1];
        for (std::int64_t c = 0; c < width; ++c) out[std::size_t(row_ * width + c)] = value.size() == 1 ? value[0] : value[std::size_t(c)];
        continue;
      }
      const std::int64_t slot = kernel_.integers(spec_.slots_arg)[row_], position = kernel_.integers(spec_.positions_arg)[row_];
      if (slot < 0) continue;
      const std::int64_t head_dim = spec_.args[store.index].shape[2], heads = spec_.args[store.index].shape[1];
      const std::int64_t plane = store.kind == plan::StoreKind::cache_value ? kernel_.slot_count : 0;
      for (std::int64_t c = 0; c < n; ++c)
        out[std::size_t((((plane + slot) * heads + c / head_dim) * kernel_.capacity + position) * head_dim + c % head_dim)] =
            value[std::size_t(c)];
    }
    return values;
  }

  const KernelCase& kernel_;
  const plan::KernelSpec& spec_;
  std::int64_t row_ = 0;
};

}  // namespace

std::map<unsigned, std::vector<double>> reference(const KernelCase& kernel) {
  Reference reference(kernel);
  for (std::int64_t row = 0; row < kernel.spec.rows; ++row) reference.row(row);
  return std::move(reference.outputs);
}

}  // namespace heddle::testing
