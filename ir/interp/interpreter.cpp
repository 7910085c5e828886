#include "ir/interp/interpreter.h"

#include <llvm/ADT/STLExtras.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "ir/base/half.h"
#include "ir/base/scalar_ops.h"
#include "ir/base/thread_pool.h"

namespace heddle::ir::interp {

/// A float operand, by element or by row; weights are read in place.
struct View {
  const float* data;
  const Type* type;
  std::int64_t rows() const { return type->rows(); }
  std::int64_t width() const { return type->width(); }
  const float* row(std::int64_t r) const { return data + r * width(); }
};

namespace {

float round_to(DType type, float x) {
  if (type == DType::f16) return to_float(to_f16(x));
  if (type == DType::bf16) return to_float(to_bf16(x));
  return x;
}

std::int64_t step_rows(const Node& node) {
  const Node* group = node.enclosing_group();
  return (group ? group : &node)->block()->function()->rows;
}

/// What quantize sees with a nudge.
std::vector<float> nudged(const float* x, std::int64_t n, std::int64_t block, const Nudge& nudge) {
  std::vector<float> out(x, x + n);
  const auto factor = [&](std::int64_t number) { return number % nudge.classes == nudge.which ? 1 + nudge.by : 1; };
  for (std::int64_t begin = 0; begin < n; begin += block) {
    float largest = 0;
    for (std::int64_t i = begin; i < begin + block; ++i) largest = std::max(largest, std::abs(x[i]));
    for (std::int64_t i = begin; i < begin + block; ++i)
      out[i] = float(x[i] * factor(begin / block) * (std::abs(x[i]) < largest ? factor(i) : 1));
  }
  return out;
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

/// Sums of `count` neighbouring outputs side by side: each is added up in the order of k, whatever runs beside it.
template <int count>
void dot(const float* matrix, const float* row, std::int64_t k, float* out) {
  double sums[count] = {};
  for (std::int64_t j = 0; j < k; ++j)
    for (int i = 0; i < count; ++i) sums[i] += double(matrix[i * k + j]) * row[j];
  for (int i = 0; i < count; ++i) out[i] = float(sums[i]);
}

void matmul(const float* w, const View& x, std::int64_t rows, Tensor& out) {
  constexpr int together = 8;
  const std::int64_t n = out.type.width(), k = x.width(), groups = (n + together - 1) / together;
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t group = begin; group < end; ++group) {
      const std::int64_t r = group / groups, first = group % groups * together;
      const float* matrix = w + first * k;
      float* to = out.f.data() + r * n + first;
      if (first + together <= n) dot<together>(matrix, x.row(r), k, to);
      else
        for (std::int64_t i = first; i < n; ++i) dot<1>(matrix + (i - first) * k, x.row(r), k, to + (i - first));
    }
  };
  constexpr std::int64_t worth_a_thread = 1 << 23;  // multiplications, some milliseconds
  const std::int64_t all = rows * groups;
  const std::int64_t threads = std::clamp<std::int64_t>(rows * n * k / worth_a_thread, 1, usable_processors());
  std::vector<std::thread> team;
  for (std::int64_t i = 1; i < threads; ++i) team.emplace_back(run, all * i / threads, all * (i + 1) / threads);
  run(0, all / threads);
  for (std::thread& member : team) member.join();
}

/// With `gates` the products are added up as numbers of 64 bits, one expert after the other.
Result<void> expert_matmul(const Type& weight, const float* w, const View& x, const Tensor& experts, const Tensor* gates, std::int64_t rows,
                           Tensor& out) {
  const std::int64_t chosen = experts.type.width(), n = weight.shape[1], k = weight.shape[2];
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < chosen; ++j) {
      const std::int64_t expert = experts.i[r * chosen + j];
      if (expert < 0 || expert >= weight.shape[0]) return error("expert {} is outside the {} of the weight", expert, weight.shape[0]);
    }
  std::vector<float> products(n);
  std::vector<double> sums(n);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::fill(sums.begin(), sums.end(), 0);
    for (std::int64_t j = 0; j < chosen; ++j) {
      const float* const matrix = w + experts.i[r * chosen + j] * n * k;
      const float* const row = x.row(r) + (gates ? j * k : 0);
      float* const to = gates ? products.data() : out.f.data() + (r * chosen + j) * n;
      for (std::int64_t i = 0; i < n; ++i) dot<1>(matrix + i * k, row, k, to + i);
      if (gates)
        for (std::int64_t i = 0; i < n; ++i) sums[i] += double(gates->f[r * chosen + j]) * products[i];
    }
    if (gates) std::copy(sums.begin(), sums.end(), out.f.begin() + r * n);
  }
  return {};
}

void top_k(const View& x, std::int64_t k, std::int64_t rows, Tensor& out) {
  std::vector<std::int32_t> order(x.width());
  for (std::int64_t r = 0; r < rows; ++r) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return x.row(r)[a] > x.row(r)[b]; });
    std::copy_n(order.begin(), k, out.i.begin() + r * k);
  }
}

Result<void> expert_gates(const View& x, const Tensor& experts, bool normalized, std::int64_t rows, Tensor& out) {
  const std::int64_t chosen = experts.type.width();
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int32_t* const columns = experts.i.data() + r * chosen;
    const float* const row = x.row(r);
    const double largest = *std::max_element(row, row + x.width());
    double sum = 0;
    for (std::int64_t j = 0; j < chosen; ++j)
      if (columns[j] < 0 || columns[j] >= x.width()) return error("expert {} is outside the {} columns", columns[j], x.width());
    for (std::int64_t c = 0; c < (normalized ? chosen : x.width()); ++c) sum += std::exp(row[normalized ? columns[c] : c] - largest);
    for (std::int64_t j = 0; j < chosen; ++j) out.f[r * chosen + j] = float(std::exp(row[columns[j]] - largest) / sum);
  }
  return {};
}

void rope(const Node& node, const View& x, const Tensor& pos, const float* factors, std::int64_t rows, Tensor& out) {
  const std::int64_t n = x.width(), head_dim = node.i64("head_dim"), dims = node.i64("dims");
  const bool halves = node.str("pairing") == "halves";
  std::copy(x.data, x.data + out.f.size(), out.f.begin());
  for (std::int64_t r = 0; r < rows; ++r)
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

/// One run: the values known before and those computed so far.
struct Interpreter::Frame {
  const std::map<const Value*, const Tensor*>* known = nullptr;
  std::unordered_map<const Value*, Tensor> tensors;  // references stay valid while others are added
  std::unordered_map<const Value*, const Cache*> caches;
  std::function<Cache&(const Cache&)> to_store;  // the cache that a store into this version changes

  const Tensor* find(const Value& value) const {
    if (known)
      if (const auto found = known->find(&value); found != known->end()) return found->second;
    const auto found = tensors.find(&value);
    return found == tensors.end() ? nullptr : &found->second;
  }
  const Tensor& tensor(const Value* value) const {
    const Tensor* found = find(*value);
    HEDDLE_CHECK(found, "%{} is not computed yet", value->name);
    return *found;
  }
};

Result<View> Interpreter::floats(const Value& value, const Frame& frame) {
  if (value.is_weight()) {
    HEDDLE_ASSIGN(auto* data, weight(value));
    return View{data->data(), &value.type};
  }
  const Tensor& tensor = frame.tensor(&value);
  return View{tensor.f.data(), &tensor.type};
}

Result<std::vector<Tensor>> Interpreter::run(const Function& function, const std::map<std::string, Tensor>& arguments,
                                             std::map<std::string, Cache*> caches) {
  Frame frame;
  frame.to_store = [&](const Cache& cache) -> Cache& {  // one of the caller's, in place
    return *llvm::find_if(caches, [&](const auto& one) { return one.second == &cache; })->second;
  };
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
  for (const Node* node : function.all_nodes()) {
    if (node->op() != Op::ret) {
      HEDDLE_TRY(execute(*node, frame));
      continue;
    }
    std::vector<Tensor> out;
    for (const Value* value : node->operands())
      if (!value->type.state) out.push_back(frame.tensor(value));
    return out;
  }
  return error("{}: no ret", function.name);
}

Result<Evaluated> Interpreter::evaluate(const Function& function, llvm::ArrayRef<const Value*> wanted, const Known& known) {
  Evaluated out;
  Frame frame;
  frame.known = &known.tensors;
  frame.caches.insert(known.caches.begin(), known.caches.end());
  frame.to_store = [&](const Cache& cache) -> Cache& { return out.versions.emplace_back(cache); };

  std::unordered_set<const Node*> needed;
  std::vector<const Value*> open(wanted.begin(), wanted.end());
  while (!open.empty()) {
    const Value* value = open.back();
    open.pop_back();
    if (value->is_weight() || known.tensors.contains(value) || known.caches.contains(value)) continue;
    const Node* producer = value->producer();
    if (!producer) return error("{}: no value for argument %{}", function.name, value->name);
    if (producer->op() == Op::group) {  // its yield says which value of the body it is
      producer = producer->body()->terminator();
      needed.insert(producer);
      open.push_back(producer->operand(value->index()));
    } else if (needed.insert(producer).second) {
      open.insert(open.end(), producer->operands().begin(), producer->operands().end());
    }
  }
  for (const Node* node : function.all_nodes())
    if (needed.contains(node)) HEDDLE_TRY(execute(*node, frame));
  for (const Value* value : wanted) {
    if (value->type.state) out.caches.emplace(value, frame.caches.at(value));
    else out.tensors.emplace(value, frame.tensor(value));
  }
  return out;
}

Result<void> Interpreter::execute(const Node& node, Frame& frame) {
  if (node.op() == Op::group) return {};  // its body follows; its yield defines its results
  if (node.op() == Op::yield) {
    const Node& group = *node.enclosing_group();
    for (unsigned i = 0; i < group.results().size(); ++i) {
      const Value *from = node.operand(i), *to = group.result(i);
      // A partial run computes some of them only.
      if (const auto cache = frame.caches.find(from); cache != frame.caches.end()) frame.caches.emplace(to, cache->second);
      if (const Tensor* tensor = frame.find(*from)) frame.tensors.emplace(to, *tensor);
    }
    return {};
  }
  const Value* result = node.result();
  if (node.op() == Op::kv_store) {
    Cache& cache = frame.to_store(*frame.caches.at(node.operand("kv")));
    HEDDLE_ASSIGN(View k, floats(*node.operand("k"), frame));
    HEDDLE_ASSIGN(View v, floats(*node.operand("v"), frame));
    HEDDLE_TRY(kv_store(cache, k, v, frame.tensor(node.operand("slot")), frame.tensor(node.operand("pos"))));
    frame.caches[result] = &cache;
    return {};
  }
  HEDDLE_ASSIGN(Tensor out, compute(node, frame));
  if (observe) observe(*result, out);
  frame.tensors[result] = std::move(out);
  return {};
}

Result<Tensor> Interpreter::compute(const Node& node, const Frame& frame) {
  Tensor out{node.result()->type, {}, {}};
  if (out.type.dtype == DType::i32) out.i.resize(out.type.elements());
  else out.f.resize(out.type.elements());
  const std::int64_t n = out.type.width();
  std::int64_t rows = out.type.rows();
  if (live_rows >= 0 && rows == step_rows(node)) rows = std::min(rows, live_rows);
  switch (node.op()) {
    case Op::constant:
      out.f[0] = float(node.f32("value"));
      break;
    case Op::embed: {
      HEDDLE_ASSIGN(View table, floats(*node.operand("table"), frame));
      const Tensor& tokens = frame.tensor(node.operand("tokens"));
      for (std::int64_t r = 0; r < rows; ++r) {
        if (tokens.i[r] < 0 || tokens.i[r] >= table.rows())
          return error("token {} is outside the vocabulary of {}", tokens.i[r], table.rows());
        std::copy_n(table.row(tokens.i[r]), n, out.f.begin() + r * n);
      }
      break;
    }
    case Op::matmul: {
      HEDDLE_ASSIGN(View w, floats(*node.operand("w"), frame));
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      Value *experts = node.operand("experts"), *gates = node.operand("gates");
      if (!experts) matmul(w.data, x, rows, out);
      else HEDDLE_TRY(expert_matmul(*w.type, w.data, x, frame.tensor(experts), gates ? &frame.tensor(gates) : nullptr, rows, out));
      break;
    }
    case Op::top_k: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      top_k(x, node.i64("k"), rows, out);
      break;
    }
    case Op::expert_gates: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      HEDDLE_TRY(expert_gates(x, frame.tensor(node.operand("experts")), node.i64("normalized") != 0, rows, out));
      break;
    }
    case Op::quantize: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      const DTypeInfo& format = heddle::info(out.type.dtype);
      const std::int64_t blocks = rows * n / format.elements;
      std::vector<std::byte> packed(blocks * format.bytes);
      if (nudge.by == 0) format.quantize(x.data, packed.data(), blocks);
      else format.quantize(nudged(x.data, rows * n, format.elements, nudge).data(), packed.data(), blocks);
      format.dequantize(packed.data(), out.f.data(), blocks);
      break;
    }
    case Op::rms_norm: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      HEDDLE_ASSIGN(View gain, floats(*node.operand("gain"), frame));
      const std::int64_t m = gain.width();
      for (std::int64_t start = 0; start < rows * n; start += m) {
        const double scale = inverse_rms(x.data + start, m, node.f32("eps"));
        for (std::int64_t i = 0; i < m; ++i) out.f[start + i] = float(x.data[start + i] * scale * gain.data[i]);
      }
      break;
    }
    case Op::rms_scale: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      for (std::int64_t r = 0; r < rows; ++r) out.f[r] = float(inverse_rms(x.row(r), x.width(), node.f32("eps")));
      break;
    }
    case Op::rope: {
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      const float* factors = nullptr;
      if (Value* value = node.operand("factors")) {
        HEDDLE_ASSIGN(View view, floats(*value, frame));
        factors = view.data;
      }
      rope(node, x, frame.tensor(node.operand("pos")), factors, rows, out);
      break;
    }
    case Op::attention: {
      HEDDLE_ASSIGN(View q, floats(*node.operand("q"), frame));
      attention(node, q, *frame.caches.at(node.operand("kv")), frame.tensor(node.operand("slot")), frame.tensor(node.operand("pos")), out);
      break;
    }
    case Op::select_rows: {
      const Tensor& index = frame.tensor(node.operand("index"));
      if (out.type.dtype == DType::i32) {
        const Tensor& x = frame.tensor(node.operand("x"));
        for (std::size_t r = 0; r < index.i.size(); ++r) {
          if (index.i[r] < 0 || std::size_t(index.i[r]) >= x.i.size())
            return error("row index {} is outside {} rows", index.i[r], x.i.size());
          out.i[r] = x.i[std::size_t(index.i[r])];
        }
        break;
      }
      HEDDLE_ASSIGN(View x, floats(*node.operand("x"), frame));
      for (std::int64_t r = 0; r < rows; ++r) {
        if (index.i[r] < 0 || index.i[r] >= x.rows()) return error("row index {} is outside {} rows", index.i[r], x.rows());
        std::copy_n(x.row(index.i[r]), n, out.f.begin() + r * n);
      }
      break;
    }
    default: {
      const auto op = scalar_op_named(node.info().name);
      HEDDLE_CHECK(op && node.has(elementwise), "the interpreter has no {}", node.info().name);
      llvm::SmallVector<View, 3> in;
      for (Value* value : node.operands()) {
        HEDDLE_ASSIGN(View view, floats(*value, frame));
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
  return out;
}

}  // namespace heddle::ir::interp
