#include "ir/interp/check_numerics.h"

#include <llvm/ADT/STLExtras.h>

#include <cmath>
#include <limits>
#include <random>

#include "ir/interp/interpreter.h"

namespace heddle::ir::interp {
namespace {

constexpr std::int64_t first_position = 4;

using Random = std::mt19937_64;

/// Its own stream for every name, so that both modules see the same whatever the order of reading.
Random random_for(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ seed;  // FNV-1a
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return Random(hash);
}

std::vector<float> normals(std::int64_t n, double deviation, Random& random) {
  std::normal_distribution<double> normal(0, deviation);
  std::vector<float> out(n);
  for (float& x : out) x = float(normal(random));
  return out;
}

/// `floats` as `type` holds them: through its quantizer and back.
std::vector<float> rounded(const std::vector<float>& floats, const DTypeInfo& type) {
  const std::int64_t blocks = std::int64_t(floats.size()) / type.elements;
  std::vector<std::byte> bytes(blocks * type.bytes);
  std::vector<float> out(floats.size());
  type.quantize(floats.data(), bytes.data(), blocks);
  type.dequantize(bytes.data(), out.data(), blocks);
  return out;
}

/// Blocks of random bytes, for formats that heddle never writes. Bytes taken for a float16 or float32 scale may be anything, so a block is
/// drawn again until its numbers are small enough to be weights.
std::vector<float> random_blocks(std::int64_t n, const DTypeInfo& type, Random& random) {
  std::vector<float> out(n);
  std::vector<std::byte> block(type.bytes);
  for (std::int64_t i = 0; i < n; i += type.elements) {
    bool sane;
    do {
      for (std::byte& b : block) b = std::byte(random());
      type.dequantize(block.data(), &out[i], 1);
      sane = std::all_of(&out[i], &out[i] + type.elements, [](float x) { return std::isfinite(x) && std::abs(x) < 1; });
    } while (!sane);
  }
  return out;
}

Result<std::vector<float>> random_weight(const Value& weight, std::uint64_t seed) {
  Random random = random_for(seed, weight.name);
  const DTypeInfo& type = heddle::info(weight.type.dtype);
  const std::int64_t n = weight.type.elements();
  const bool matrix = weight.type.shape.size() > 1;
  std::vector<float> floats = normals(n, matrix ? 1 / std::sqrt(double(weight.type.width())) : 0.5, random);
  if (!matrix)
    for (float& x : floats) x += 1;  // gains
  return type.quantize ? rounded(floats, type) : random_blocks(n, type, random);
}

/// One more than the largest number that the function may be given for this i32 argument, by what reads it; 0: nothing tells.
std::int64_t range_of(const Value& argument) {
  std::int64_t range = std::numeric_limits<std::int64_t>::max();
  for (const Value::Use& use : argument.uses()) {
    const Node& node = *use.node;
    auto is = [&](const char* name) { return node.info().operand_index(name) == int(use.operand); };
    if (node.op() == Op::embed && is("tokens")) range = std::min(range, node.operand("table")->type.shape[0]);
    if (node.op() == Op::select_rows && is("index")) range = std::min(range, node.operand("x")->type.shape[0]);
    if (node.op() == Op::matmul && is("experts")) range = std::min(range, node.operand("w")->type.shape[0]);
  }
  return range == std::numeric_limits<std::int64_t>::max() ? 0 : range;
}

bool is_read_as(const Value& argument, const char* operand) {
  return llvm::any_of(argument.uses(), [&](const Value::Use& use) { return use.node->info().operand_index(operand) == int(use.operand); });
}

Tensor random_argument(const Value& argument, std::uint64_t seed) {
  Random random = random_for(seed, argument.name);
  Tensor out{argument.type, {}, {}};
  const std::int64_t n = argument.type.elements();
  if (argument.type.dtype != DType::i32) {
    out.f = rounded(normals(n, 1, random), heddle::info(argument.type.dtype));
    return out;
  }
  out.i.resize(n);
  const bool slot = is_read_as(argument, "slot"), pos = is_read_as(argument, "pos");
  const std::int64_t range = range_of(argument);
  for (std::int64_t r = 0; r < n; ++r) {
    if (slot) out.i[r] = n >= 3 && r == n - 1 ? -1 : 0;
    else if (pos) out.i[r] = std::int32_t(first_position + r);
    else if (range > 0) out.i[r] = std::int32_t(random() % std::uint64_t(range));
  }
  return out;
}

struct Run {
  std::vector<Tensor> returned;
  std::vector<std::pair<std::string, Cache>> caches;
};

Result<Run> run(const Function& function, const std::map<std::string, Tensor>& arguments, std::uint64_t seed) {
  Run out;
  std::map<std::string, Cache*> caches;
  for (const Value* argument : function.arguments()) {
    if (!argument->type.state) continue;
    Random random = random_for(seed, argument->name);
    Cache cache(argument->type, 1, first_position + function.rows);
    cache.data = rounded(normals(std::int64_t(cache.data.size()), 1, random), heddle::info(argument->type.dtype));
    out.caches.emplace_back(argument->name, std::move(cache));
  }
  for (auto& [name, cache] : out.caches) caches[name] = &cache;
  Interpreter interpreter([&](const Value& weight) { return random_weight(weight, seed); });
  HEDDLE_ASSIGN(out.returned, interpreter.run(function, arguments, caches));
  return out;
}

void compare(const std::vector<float>& before, const std::vector<float>& after, std::string_view what, Difference& worst) {
  for (std::size_t i = 0; i < before.size(); ++i) {
    const float a = before[i], b = after[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double difference = std::isfinite(a) && std::isfinite(b) ? std::abs(double(a) - b) : std::numeric_limits<double>::infinity();
    if (difference <= worst.largest && !worst.where.empty()) continue;
    worst.largest = difference;
    worst.where = fmt::format("{}[{}]: {} before, {} after", what, i, a, b);
  }
}

}  // namespace

Result<Difference> check_numerics(const Module& before, const Module& after, std::uint64_t seed) {
  if (before.functions().size() != after.functions().size())
    return error("{} functions before, {} after", before.functions().size(), after.functions().size());
  Difference worst;
  for (auto& first : before.functions()) {
    const Function* second = after.function(first->name);
    if (!second) return error("@{}: there is no such function after", first->name);
    std::map<std::string, Tensor> arguments;
    for (const Value* argument : first->arguments()) {
      const Value* same = second->argument(argument->name);
      if (!same || same->type != argument->type)
        return error("@{}: argument %{} is {} before, {} after", first->name, argument->name, argument->type.str(),
                     same ? same->type.str() : "missing");
      if (!argument->type.state) arguments.emplace(argument->name, random_argument(*argument, seed));
    }
    auto one = run(*first, arguments, seed);
    if (!one.ok()) return one.take_error().at(fmt::format("@{} before", first->name));
    auto two = run(*second, arguments, seed);
    if (!two.ok()) return two.take_error().at(fmt::format("@{} after", first->name));
    if (one->returned.size() != two->returned.size())
      return error("@{}: returns {} tensors before, {} after", first->name, one->returned.size(), two->returned.size());
    for (std::size_t i = 0; i < one->returned.size(); ++i) {
      const Tensor &a = one->returned[i], &b = two->returned[i];
      if (a.type != b.type) return error("@{}: returned value {} is {} before, {} after", first->name, i, a.type.str(), b.type.str());
      compare(a.f, b.f, fmt::format("@{}: returned value {}", first->name, i), worst);
    }
    for (std::size_t i = 0; i < one->caches.size(); ++i)
      compare(one->caches[i].second.data, two->caches[i].second.data, fmt::format("@{}: cache %{}", first->name, one->caches[i].first),
              worst);
  }
  return worst;
}

}  // namespace heddle::ir::interp
