#include "ir/interp/interpreter.h"

#include <cmath>
#include <limits>
#include <unordered_map>

#include "ir/base/half.h"
#include "ir/base/scalar_ops.h"

namespace heddle::ir::interp {
namespace {

/// One run of a function: the values computed so far.
struct Frame {
  std::unordered_map<const Value*, Tensor> tensors;  // references stay valid while others are added
  std::unordered_map<const Value*, Cache*> caches;
};

/// A float operand, by element or by row; weights are read in place.
struct View {
  const float* data;
  const Type* type;
  std::int64_t rows() const { return type->rows(); }
  std::int64_t width() const { return type->width(); }
  const float* row(std::int64_t r) const { return data + r * width(); }
};

float round_to(DType type, float x) {
  if (type == DType::f16) return to_float(to_f16(x));
  if (type == DType::bf16) return to_float(to_bf16(x));
  return x;
}

/// Element (r, c) of an operand that broadcasts to [rows, n]: a scalar, a vector [n], a column [rows, 1] or the full shape.
float broadcast_at(const View& v, std::int64_t r, std::int64_t c) {
  const std::int64_t column = v.width() == 1 ? 0 : c, row = v.rows() == 1 ? 0 : r;
  return v.data[row * v.width() + column];
}

double inverse_rms(const float* x, std::int64_t n, double eps) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double(x[i]) * x[i];
  return 1 / std::sqrt(sum / double(n) + eps);
}

void matmul(const Type& weight, const float* w, const View& x, const Tensor* experts, Tensor& out) {
  const std::int64_t n = out.type.width(), k = x.width();
  for (std::int64_t r = 0; r < out.type.rows(); ++r) {
    const float* matrix = w + (experts ? experts->i[r] * weight.shape[1] * weight.shape[2] : 0);
    const float* row = x.row(r);
    for (std::int64_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < k; ++j) sum += double(matrix[i * k + j]) * row[j];
      out.f[r * n + i] = float(sum);
    }
  }
}

void rope(const Node& node, const View& x, const Tensor& pos, const float* factors, Tensor& out) {
  const std::int64_t n = x.width(), head_dim = node.i64("head_dim"), dims = node.i64("dims");
  const bool halves = node.str("pairing") == "halves";
  std::copy(x.data, x.data + out.f.size(), out.f.begin());
  for (std::int64_t r = 0; r < out.type.rows(); ++r)
    for (std::int64_t i = 0; i < dims / 2; ++i) {
      double angle = pos.i[r] * std::pow(node.f32("theta"), -2.0 * double(i) / double(dims));
      if (factors) angle /= factors[i];
      const double c = std::cos(angle), s = std::sin(angle);
      for (std::int64_t head = 0; head < n; head += head_dim) {
        float& a = out.f[r * n + head + (halves ? i : 2 * i)];
        float& b = out.f[r * n + head + (halves ? i + dims / 2 : 2 * i + 1)];
        const double a0 = a, b0 = b;
        a = float(a0 * c - b0 * s);
        b = float(a0 * s + b0 * c);
      }
    }
}

Result<void> kv_store(Cache& cache, const View& k, const View& v, const Tensor& slot, const Tensor& pos) {
  const std::int64_t n = k.width();
  for (std::int64_t r = 0; r < k.rows(); ++r) {
    if (slot.i[r] < 0) continue;
    if (slot.i[r] >= cache.slots || pos.i[r] < 0 || pos.i[r] >= cache.capacity)
      return error("row {}: slot {} position {} is outside the cache of {} slots and {} positions", r, slot.i[r], pos.i[r], cache.slots,
                   cache.capacity);
    float* entry = cache.data.data() + (slot.i[r] * cache.capacity + pos.i[r]) * 2 * n;
    for (std::int64_t i = 0; i < n; ++i) {
      entry[i] = round_to(cache.type.dtype, k.row(r)[i]);
      entry[n + i] = round_to(cache.type.dtype, v.row(r)[i]);
    }
  }
  return {};
}

void attention(const Node& node, const View& q, const Cache& cache, const Tensor& slot, const Tensor& pos, Tensor& out) {
  const std::int64_t heads = node.i64("heads"), kv_heads = node.i64("kv_heads"), d = node.i64("head_dim"), window = node.i64("window");
  const double scale = node.f32("scale"), cap = node.f32("softcap");
  std::vector<double> score, sum(d);
  for (std::int64_t r = 0; r < q.rows(); ++r) {
    if (slot.i[r] < 0) continue;  // zeros
    const std::int64_t last = pos.i[r], first = window > 0 ? std::max<std::int64_t>(0, last + 1 - window) : 0;
    const float* entries = cache.data.data() + slot.i[r] * cache.capacity * 2 * kv_heads * d;
    for (std::int64_t h = 0; h < heads; ++h) {
      const float* query = q.row(r) + h * d;
      const std::int64_t kv = h / (heads / kv_heads);
      double largest = -std::numeric_limits<double>::infinity(), total = 0;
      score.assign(last + 1, 0);
      for (std::int64_t p = first; p <= last; ++p) {
        const float* key = entries + (p * 2 * kv_heads + kv) * d;
        double s = 0;
        for (std::int64_t i = 0; i < d; ++i) s += double(query[i]) * key[i];
        s *= scale;
        if (cap > 0) s = cap * std::tanh(s / cap);
        score[p] = s;
        largest = std::max(largest, s);
      }
      std::fill(sum.begin(), sum.end(), 0);
      for (std::int64_t p = first; p <= last; ++p) {
        const double weight = std::exp(score[p] - largest);
        const float* value = entries + ((p * 2 + 1) * kv_heads + kv) * d;
        total += weight;
        for (std::int64_t i = 0; i < d; ++i) sum[i] += weight * value[i];
      }
      for (std::int64_t i = 0; i < d; ++i) out.f[r * heads * d + h * d + i] = float(sum[i] / total);
    }
  }
}

}  // namespace

Cache::Cache(Type type, std::int64_t slots, std::int64_t capacity)
    : type(std::move(type)), slots(slots), capacity(capacity), data(slots * capacity * this->type.elements()) {}

Result<const std::vector<float>*> Interpreter::weight(const Value& value) {
  auto found = dequantised_.find(value.name);
  if (found == dequantised_.end()) {
    HEDDLE_ASSIGN(auto data, weights_(value));
    if (std::int64_t(data.size()) != value.type.elements())
      return error("weight {}: {} elements, its type {} has {}", value.name, data.size(), value.type.str(), value.type.elements());
    found = dequantised_.emplace(value.name, std::move(data)).first;
  }
  return &found->second;
}

Result<std::vector<Tensor>> Interpreter::run(const Function& function, const std::map<std::string, Tensor>& arguments,
                                             std::map<std::string, Cache*> caches) {
  Frame frame;
  for (const Value* argument : function.arguments()) {
    if (argument->type.state) {
      auto cache = caches.find(argument->name);
      if (cache == caches.end()) return error("{}: no cache for argument %{}", function.name, argument->name);
      frame.caches[argument] = cache->second;
      continue;
    }
    auto tensor = arguments.find(argument->name);
    if (tensor == arguments.end()) return error("{}: no value for argument %{}", function.name, argument->name);
    if (tensor->second.type != argument->type)
      return error("{}: argument %{} is {}, given {}", function.name, argument->name, argument->type.str(), tensor->second.type.str());
    frame.tensors[argument] = tensor->second;
    if (observe) observe(*argument, tensor->second);
  }

  auto floats = [&](const Value* value) -> Result<View> {
    if (value->is_weight()) {
      HEDDLE_ASSIGN(auto* data, weight(*value));
      return View{data->data(), &value->type};
    }
    const Tensor& tensor = frame.tensors[value];
    return View{tensor.f.data(), &tensor.type};
  };

  for (Node* node : function.all_nodes()) {
    if (node->op() == Op::group) continue;  // its body follows; its yield defines its results
    if (node->op() == Op::yield) {
      Node* group = node->enclosing_group();
      for (unsigned i = 0; i < group->results().size(); ++i) {
        if (group->result(i)->type.state) frame.caches[group->result(i)] = frame.caches[node->operand(i)];
        else frame.tensors[group->result(i)] = frame.tensors[node->operand(i)];
      }
      continue;
    }
    if (node->op() == Op::ret) {
      std::vector<Tensor> out;
      for (Value* value : node->operands())
        if (!value->type.state) out.push_back(frame.tensors[value]);
      return out;
    }

    Value* result = node->result();
    if (node->op() == Op::kv_store) {
      HEDDLE_ASSIGN(View k, floats(node->operand("k")));
      HEDDLE_ASSIGN(View v, floats(node->operand("v")));
      Cache* cache = frame.caches[node->operand("kv")];
      HEDDLE_TRY(kv_store(*cache, k, v, frame.tensors[node->operand("slot")], frame.tensors[node->operand("pos")]));
      frame.caches[result] = cache;
      continue;
    }

    Tensor out{result->type, {}, {}};
    out.f.resize(out.type.elements());
    const std::int64_t rows = out.type.rows(), n = out.type.width();
    switch (node->op()) {
      case Op::constant:
        out.f[0] = float(node->f32("value"));
        break;
      case Op::embed: {
        HEDDLE_ASSIGN(View table, floats(node->operand("table")));
        const Tensor& tokens = frame.tensors[node->operand("tokens")];
        for (std::size_t r = 0; r < tokens.i.size(); ++r) {
          if (tokens.i[r] < 0 || tokens.i[r] >= table.rows()) return error("token {} is outside the vocabulary of {}", tokens.i[r], table.rows());
          std::copy_n(table.row(tokens.i[r]), n, out.f.begin() + std::ptrdiff_t(r) * n);
        }
        break;
      }
      case Op::matmul: {
        HEDDLE_ASSIGN(View w, floats(node->operand("w")));
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        Value* experts = node->operand("experts");
        matmul(*w.type, w.data, x, experts ? &frame.tensors[experts] : nullptr, out);
        break;
      }
      case Op::quantize: {
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        const DTypeInfo& format = heddle::info(out.type.dtype);
        const std::int64_t blocks = std::int64_t(out.f.size()) / format.elements;
        std::vector<std::byte> packed(blocks * format.bytes);
        format.quantize(x.data, packed.data(), blocks);
        format.dequantize(packed.data(), out.f.data(), blocks);
        break;
      }
      case Op::rms_norm: {
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        HEDDLE_ASSIGN(View gain, floats(node->operand("gain")));
        const std::int64_t m = gain.width();
        for (std::int64_t start = 0; start < rows * n; start += m) {
          const double scale = inverse_rms(x.data + start, m, node->f32("eps"));
          for (std::int64_t i = 0; i < m; ++i) out.f[start + i] = float(x.data[start + i] * scale * gain.data[i]);
        }
        break;
      }
      case Op::rms_scale: {
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        for (std::int64_t r = 0; r < rows; ++r) out.f[r] = float(inverse_rms(x.row(r), x.width(), node->f32("eps")));
        break;
      }
      case Op::rope: {
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        const float* factors = nullptr;
        if (Value* value = node->operand("factors")) {
          HEDDLE_ASSIGN(View view, floats(value));
          factors = view.data;
        }
        rope(*node, x, frame.tensors[node->operand("pos")], factors, out);
        break;
      }
      case Op::attention: {
        HEDDLE_ASSIGN(View q, floats(node->operand("q")));
        attention(*node, q, *frame.caches[node->operand("kv")], frame.tensors[node->operand("slot")], frame.tensors[node->operand("pos")], out);
        break;
      }
      case Op::select_rows: {
        HEDDLE_ASSIGN(View x, floats(node->operand("x")));
        const Tensor& index = frame.tensors[node->operand("index")];
        for (std::int64_t r = 0; r < rows; ++r) {
          if (index.i[r] < 0 || index.i[r] >= x.rows()) return error("row index {} is outside {} rows", index.i[r], x.rows());
          std::copy_n(x.row(index.i[r]), n, out.f.begin() + r * n);
        }
        break;
      }
      default: {
        const auto op = scalar_op_named(node->info().name);
        HEDDLE_CHECK(op && node->has(elementwise), "the interpreter has no {}", node->info().name);
        llvm::SmallVector<View, 3> in;
        for (Value* value : node->operands()) {
          HEDDLE_ASSIGN(View view, floats(value));
          in.push_back(view);
        }
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t c = 0; c < n; ++c) {
            double x[3] = {0, 0, 0};
            for (std::size_t i = 0; i < in.size(); ++i) x[i] = broadcast_at(in[i], r, c);
            out.f[r * n + c] = float(apply<double>(*op, x[0], x[1], x[2]));
          }
      }
    }
    if (observe) observe(*result, out);
    frame.tensors[result] = std::move(out);
  }
  return error("{}: no ret", function.name);
}

}  // namespace heddle::ir::interp
