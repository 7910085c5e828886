#include "ir/infer_types.h"

#include <array>
#include <cmath>

namespace heddle::ir {
namespace {

template <class... Args>
Error fail(const Node& node, fmt::format_string<Args...> format, Args&&... args) {
  return error("{}: {}", node.info().name, fmt::format(format, std::forward<Args>(args)...));
}

bool is_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

/// `value` as an operand of arithmetic: f32, or a weight in one of the float types.
bool is_real(const Value& value) {
  return !value.type.state && (value.type.dtype == DType::f32 || (value.is_weight() && is_float(value.type.dtype)));
}

Error wants(const Node& node, llvm::StringRef operand, std::string_view wanted) {
  return fail(node, "{} is {}, wants {}", operand.str(), node.operand(operand)->type.str(), wanted);
}

/// f32[rows, n]
Result<void> check_rows(const Node& node, llvm::StringRef operand) {
  const Type& type = node.operand(operand)->type;
  if (type.state || type.dtype != DType::f32 || type.shape.size() != 2) return wants(node, operand, "f32[rows, n]");
  return {};
}

/// i32[rows]: one number for every row of the step
Result<void> check_per_row(const Node& node, llvm::StringRef operand, std::int64_t rows) {
  const Type& type = node.operand(operand)->type;
  if (type != Type{DType::i32, {rows}}) return wants(node, operand, fmt::format("i32[{}]", rows));
  return {};
}

/// A vector of n floats.
Result<void> check_vector(const Node& node, llvm::StringRef operand) {
  const Value& value = *node.operand(operand);
  if (!is_real(value) || value.type.shape.size() != 1) return wants(node, operand, "a float vector [n]");
  return {};
}

Result<void> check_positive(const Node& node, llvm::StringRef attr) {
  if (node.i64(attr) < 1) return fail(node, "{} is {}, wants at least 1", attr.str(), node.i64(attr));
  return {};
}

/// `kv` is a state of `kv_heads` heads of `head_dim`.
Result<void> check_cache(const Node& node) {
  const Type& kv = node.operand("kv")->type;
  if (!kv.state || kv.shape.size() != 3) return wants(node, "kv", "a state [2, kv_heads, head_dim]");
  return {};
}

/// i32[rows, t]: indices chosen for every row
Result<void> check_experts(const Node& node, std::int64_t rows) {
  const Type& type = node.operand("experts")->type;
  if (type.state || type.dtype != DType::i32 || type.shape.size() != 2 || type.shape[0] != rows)
    return wants(node, "experts", fmt::format("i32[{}, t]", rows));
  return {};
}

/// a * b, or -1 where it does not fit.
std::int64_t product(std::int64_t a, std::int64_t b) {
  std::int64_t out;
  return __builtin_mul_overflow(a, b, &out) ? -1 : out;
}

Result<void> check_eps(const Node& node) {
  const double eps = node.f32("eps");
  if (!(eps >= 0) || std::isinf(eps)) return fail(node, "eps is {}, wants a finite number of at least 0", eps);
  return {};
}

// ---- The ops whose result is like their first operand

Result<void> check_rms_norm(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  HEDDLE_TRY(check_vector(node, "gain"));
  const std::int64_t n = node.operand("x")->type.width(), m = node.operand("gain")->type.width();
  if (m < 1 || n % m != 0) return fail(node, "gain has {} elements, wants a divisor of the {} columns of x", m, n);
  return check_eps(node);
}

Result<void> check_rope(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  const Type& x = node.operand("x")->type;
  HEDDLE_TRY(check_per_row(node, "pos", x.rows()));
  HEDDLE_TRY(check_positive(node, "head_dim"));
  const std::int64_t head_dim = node.i64("head_dim"), dims = node.i64("dims");
  if (x.width() % head_dim != 0) return fail(node, "head_dim is {}, wants a divisor of the {} columns of x", head_dim, x.width());
  if (dims < 2 || dims > head_dim || dims % 2 != 0)
    return fail(node, "dims is {}, wants an even number from 2 to head_dim = {}", dims, head_dim);
  const double theta = node.f32("theta");
  if (!(theta > 0) || std::isinf(theta)) return fail(node, "theta is {}, wants a finite number above 0", theta);
  const std::string& pairing = node.str("pairing");
  if (pairing != "adjacent" && pairing != "halves") return fail(node, "pairing is '{}', wants 'adjacent' or 'halves'", pairing);
  if (!node.operand("factors")) return {};
  HEDDLE_TRY(check_vector(node, "factors"));
  const std::int64_t factors = node.operand("factors")->type.width();
  if (factors != dims / 2) return fail(node, "factors has {} elements, wants dims / 2 = {}", factors, dims / 2);
  return {};
}

Result<void> check_kv_store(const Node& node) {
  HEDDLE_TRY(check_cache(node));
  HEDDLE_TRY(check_rows(node, "k"));
  HEDDLE_TRY(check_rows(node, "v"));
  const Type &kv = node.operand("kv")->type, &k = node.operand("k")->type, &v = node.operand("v")->type;
  const std::int64_t wanted = product(kv.shape[1], kv.shape[2]);
  if (k.width() != wanted) return fail(node, "k is {}, kv is {} and takes rows of {}", k.str(), kv.str(), wanted);
  if (v != k) return fail(node, "v is {}, k is {}", v.str(), k.str());
  HEDDLE_TRY(check_per_row(node, "slot", k.rows()));
  return check_per_row(node, "pos", k.rows());
}

Result<void> check_attention(const Node& node) {
  HEDDLE_TRY(check_rows(node, "q"));
  HEDDLE_TRY(check_cache(node));
  for (const char* attr : {"heads", "kv_heads", "head_dim"}) HEDDLE_TRY(check_positive(node, attr));
  const Type &q = node.operand("q")->type, &kv = node.operand("kv")->type;
  const std::int64_t heads = node.i64("heads"), kv_heads = node.i64("kv_heads"), head_dim = node.i64("head_dim");
  if (heads % kv_heads != 0) return fail(node, "heads is {}, wants a multiple of kv_heads = {}", heads, kv_heads);
  if (q.width() != product(heads, head_dim)) return fail(node, "q is {}, {} heads of {} are wanted", q.str(), heads, head_dim);
  if (kv.shape[1] != kv_heads || kv.shape[2] != head_dim)
    return fail(node, "kv is {}, {} kv_heads of {} are wanted", kv.str(), kv_heads, head_dim);
  if (node.i64("window") < 0) return fail(node, "window is {}, wants at least 0", node.i64("window"));
  const double scale = node.f32("scale"), softcap = node.f32("softcap");
  if (!std::isfinite(scale)) return fail(node, "scale is {}, wants a finite number", scale);
  if (!(softcap >= 0) || std::isinf(softcap)) return fail(node, "softcap is {}, wants a finite number of at least 0", softcap);
  HEDDLE_TRY(check_per_row(node, "slot", q.rows()));
  return check_per_row(node, "pos", q.rows());
}

struct OperandCheck {
  Op op;
  Result<void> (*check)(const Node&);
};
constexpr OperandCheck operand_checks[] = {
    {Op::rms_norm, check_rms_norm},
    {Op::rope, check_rope},
    {Op::kv_store, check_kv_store},
    {Op::attention, check_attention},
};

// ---- The rules, by name

Result<Type> scalar(const Node&) { return Type{DType::f32, {}}; }

Result<Type> embed(const Node& node) {
  const Type &table = node.operand("table")->type, &tokens = node.operand("tokens")->type;
  if (table.state || table.dtype == DType::i32 || table.shape.size() != 2) return wants(node, "table", "[vocabulary, n]");
  if (tokens.dtype != DType::i32 || tokens.shape.size() != 1) return wants(node, "tokens", "i32[rows]");
  return Type{DType::f32, {tokens.shape[0], table.width()}};
}

Result<Type> matmul(const Node& node) {
  const Type &w = node.operand("w")->type, &x = node.operand("x")->type;
  const Value *experts = node.operand("experts"), *gates = node.operand("gates");
  if (w.state || w.dtype == DType::i32 || w.shape.size() != (experts ? 3 : 2))
    return wants(node, "w", experts ? "[experts, rows, columns]" : "[rows, columns]");
  if (x.state || (x.dtype != DType::f32 && !is_activation_format(x.dtype)) || x.shape.size() != 2)
    return wants(node, "x", "[rows, n] in f32 or an 8-bit activation format");
  std::int64_t chosen = 1;
  if (experts) {
    HEDDLE_TRY(check_experts(node, x.rows()));
    chosen = experts->type.width();
  }
  if (gates && gates->type != Type{DType::f32, {x.rows(), chosen}})
    return wants(node, "gates", fmt::format("f32[{}, {}]", x.rows(), chosen));
  const std::int64_t columns = gates ? product(w.width(), chosen) : w.width(), rows = w.shape[w.shape.size() - 2];
  if (columns != x.width()) {
    if (gates) return fail(node, "w is {}, x has {} columns for {} experts", w.str(), x.width(), chosen);
    return fail(node, "w is {}, x has {} columns", w.str(), x.width());
  }
  return Type{DType::f32, {x.rows(), gates ? rows : product(rows, chosen)}};
}

Result<Type> top_k(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  const Type& x = node.operand("x")->type;
  const std::int64_t k = node.i64("k");
  if (k < 1 || k > x.width()) return fail(node, "k is {}, wants 1 to the {} columns of x", k, x.width());
  return Type{DType::i32, {x.rows(), k}};
}

Result<Type> expert_gates(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  HEDDLE_TRY(check_experts(node, node.operand("x")->type.rows()));
  if (const std::int64_t normalized = node.i64("normalized"); normalized != 0 && normalized != 1)
    return fail(node, "normalized is {}, wants 0 or 1", normalized);
  return Type{DType::f32, node.operand("experts")->type.shape};
}

Result<Type> quantized(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  const auto format = dtype_named(node.str("format"));
  if (!format || !is_activation_format(*format)) {
    std::string known;
    for (const DTypeInfo& row : all_dtypes())
      if (is_activation_format(*dtype_named(row.name))) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    return fail(node, "format is '{}', wants one of {}", node.str("format"), known);
  }
  const Type& x = node.operand("x")->type;
  if (x.width() % info(*format).elements != 0)
    return fail(node, "x is {}, {} takes rows of whole blocks of {}", x.str(), name(*format), info(*format).elements);
  return Type{*format, x.shape};
}

Result<Type> like_x(const Node& node) {
  for (const OperandCheck& row : operand_checks)
    if (row.op == node.op()) HEDDLE_TRY(row.check(node));
  return node.operand(0)->type;
}

Result<Type> row_scalar(const Node& node) {
  HEDDLE_TRY(check_rows(node, "x"));
  HEDDLE_TRY(check_eps(node));
  return Type{DType::f32, {node.operand("x")->type.rows(), 1}};
}

Result<Type> select_rows(const Node& node) {
  const Type &x = node.operand("x")->type, &index = node.operand("index")->type;
  const bool numbers = !x.state && x.dtype == DType::i32 && x.shape.size() == 1;
  if (!numbers && (x.state || x.dtype != DType::f32 || x.shape.size() != 2)) return wants(node, "x", "f32[rows, n] or i32[rows]");
  if (index.dtype != DType::i32 || index.shape.size() != 1) return wants(node, "index", "i32[m]");
  if (numbers) return Type{DType::i32, {index.shape[0]}};
  return Type{DType::f32, {index.shape[0], x.width()}};
}

bool broadcasts(const Shape& small, const Shape& large) {
  if (small.empty() || small == large) return true;
  if (large.size() != 2) return false;
  return small.size() == 1 ? small[0] == large[1] : small.size() == 2 && small[0] == large[0] && small[1] == 1;
}

Result<Type> broadcast(const Node& node) {
  const auto names = node.info().operands;
  for (std::string_view name : names)
    if (!is_real(*node.operand(name))) return wants(node, name, "f32, or a weight in a float type");
  const Type* largest = &node.operand(0)->type;
  for (const Value* value : node.operands())
    if (broadcasts(largest->shape, value->type.shape)) largest = &value->type;
  for (const Value* value : node.operands())
    if (!broadcasts(value->type.shape, largest->shape))
      return fail(node, "{} is {}, {} is {}: neither repeats over the other", names[0], node.operand(0)->type.str(), names[1],
                  node.operand(1)->type.str());
  return Type{DType::f32, largest->shape};
}

using Infer = Result<Type> (*)(const Node&);
struct Rule {
  ResultRule row;
  Infer infer;  // null: the result is not inferred from operands
};
constexpr Rule rules[] = {
    {{"scalar", "f32[]"}, scalar},
    {{"embed", "f32[rows, n] for a table [vocabulary, n] and tokens i32[rows]"}, embed},
    {{"matmul",
      "f32[rows, i] for w [i, k] and x [rows, k] in f32 or an 8-bit activation format; with experts [rows, t] f32[rows, t * i] for w "
      "[experts, i, k]; with gates too f32[rows, i] for x [rows, t * k]"},
     matmul},
    {{"top_k", "i32[rows, k] for x [rows, n]"}, top_k},
    {{"expert_gates", "f32 in the shape of experts"}, expert_gates},
    {{"quantized", "the shape of x in the type that `format` names; rows must be whole blocks"}, quantized},
    {{"like_x", "the type of the first operand"}, like_x},
    {{"row_scalar", "f32[rows, 1]"}, row_scalar},
    {{"select_rows", "f32[m, n] for x [rows, n] and index i32[m]; i32[m] for x i32[rows]"}, select_rows},
    {{"broadcast", "f32 in the largest operand's shape; [n] and [rows, 1] repeat over [rows, n], a scalar over anything"}, broadcast},
    {{"from_body", "one result for every value that the body yields"}, nullptr},
    {{"nothing", "no result"}, nullptr},
};

}  // namespace

Result<Type> infer_type(const Node& node) {
  HEDDLE_TRY(check_row(node));
  for (const Rule& rule : rules)
    if (rule.row.name == node.info().result_rule) {
      HEDDLE_CHECK(rule.infer, "{} has no inferred result", node.info().name);
      return rule.infer(node);
    }
  HEDDLE_CHECK(false, "ops.def: {} names an unknown result rule {}", node.info().name, node.info().result_rule);
  return Type{};
}

Result<void> check_row(const Node& node) {
  const OpInfo& row = node.info();
  const std::size_t given = node.operands().size();
  if (!row.variadic && (given < row.required || given > row.operands.size())) {
    const std::string wanted =
        row.required == row.operands.size() ? std::to_string(row.required) : fmt::format("{} to {}", row.required, row.operands.size());
    return fail(node, "has {} operand{}, wants {}", given, given == 1 ? "" : "s", wanted);
  }
  constexpr std::string_view kinds[] = {"i64", "f32", "str"};
  for (std::size_t i = 0; i < row.attrs.size(); ++i)
    if (node.attrs()[i].index() != std::size_t(row.attrs[i].kind))
      return fail(node, "attribute {} is of kind {}, wants {}", row.attrs[i].name, kinds[node.attrs()[i].index()],
                  kinds[std::size_t(row.attrs[i].kind)]);
  return {};
}

Result<void> check_type(const Type& type) {
  constexpr std::int64_t most = std::int64_t(1) << 40;
  if (type.shape.size() > 4) return error("{}: has {} dimensions, wants at most 4", type.str(), type.shape.size());
  std::int64_t elements = 1;
  for (std::int64_t d : type.shape) {
    if (d < 1) return error("{}: dimension is {}, wants at least 1", type.str(), d);
    if (d > most / elements) return error("{}: more than 2^40 elements", type.str());
    elements *= d;
  }
  const int block = info(type.dtype).elements;
  if (type.width() % block != 0) return error("{}: rows are not whole blocks of {}", type.str(), block);
  if (type.state && (type.shape.size() != 3 || type.shape[0] != 2 || !is_float(type.dtype)))
    return error("{}: a state is [2, kv_heads, head_dim] in f32, f16 or bf16", type.str());
  return {};
}

bool is_activation_format(DType type) {
  const DTypeInfo& row = info(type);
  return row.elements > 1 && row.bytes > row.elements && row.quantize != nullptr;  // 8 bits and a scale: more than a byte an element
}

std::span<const ResultRule> result_rules() {
  static const auto rows = [] {
    std::array<ResultRule, std::size(rules)> out;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = rules[i].row;
    return out;
  }();
  return rows;
}

}  // namespace heddle::ir
