#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

/// The reference interpreter: runs IR as written, one op after another, with double accumulation and no tricks. Every pass, emitter and
/// target is compared with it.
namespace heddle::ir::interp {

/// A value at run time. Float types are held as float, i32 as i32; quantised values as their exact dequantised floats.
struct Tensor {
  Type type;
  std::vector<float> f;
  std::vector<std::int32_t> i;
};

/// A key/value cache: slots * capacity positions of [2, kv_heads, head_dim]; entries are rounded to the state's dtype when stored.
struct Cache {
  Type type;
  std::int64_t slots = 1, capacity = 0;
  std::vector<float> data;  // [slot][position][2][kv_heads][head_dim]
  Cache(Type type, std::int64_t slots, std::int64_t capacity);
};

/// Gives the dequantised elements of a weight symbol, row-major; called once per weight, then kept.
using WeightReader = std::function<Result<std::vector<float>>(const Value& weight)>;

class Interpreter {
 public:
  explicit Interpreter(WeightReader weights) : weights_(std::move(weights)) {}

  /// Runs a function: `arguments` by argument name for the tensors, `caches` by argument name for the states (updated in place, which is
  /// the same as the dataflow because a state has one writer and earlier readers come first). Returns the non-state returned values.
  Result<std::vector<Tensor>> run(const Function& function, const std::map<std::string, Tensor>& arguments,
                                  std::map<std::string, Cache*> caches);

  /// Called with every value as it is computed, group bodies included.
  std::function<void(const Value&, const Tensor&)> observe;

 private:
  Result<const std::vector<float>*> weight(const Value& value);
  WeightReader weights_;
  std::map<std::string, std::vector<float>> dequantised_;
};

}  // namespace heddle::ir::interp
