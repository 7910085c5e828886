#pragma once
#include <deque>
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

/// Values that are known before a partial run; what they point at outlives it.
struct Known {
  std::map<const Value*, const Tensor*> tensors;
  std::map<const Value*, const Cache*> caches;  // by version of a state
};

struct View;  // a float operand

/// What a partial run was asked for.
struct Evaluated {
  std::map<const Value*, Tensor> tensors;
  std::map<const Value*, const Cache*> caches;  // one of `versions`, or the known one
  std::deque<Cache> versions;
};

/// With `by` not 0, `quantize` sees the blocks of one class times 1 + by (which may turn the rounding of their scale), and the elements of
/// that class, but for a block's largest, times 1 + by (which may turn their own). What then differs from a run without is what float
/// arithmetic may round either way. Number i is in class i % classes.
struct Nudge {
  double by = 0;
  std::int64_t classes = 1, which = 0;
};

class Interpreter {
 public:
  explicit Interpreter(WeightReader weights) : weights_(std::move(weights)) {}

  /// Runs a function: `arguments` by argument name for the tensors, `caches` by argument name for the states (updated in place, which is
  /// the same as the dataflow because a state has one writer and earlier readers come first). Returns the non-state returned values.
  Result<std::vector<Tensor>> run(const Function& function, const std::map<std::string, Tensor>& arguments,
                                  std::map<std::string, Cache*> caches);

  /// Computes `wanted`, values of `function`, and only what they need and is not `known`. Known caches stay as they are: a store makes a
  /// new version.
  Result<Evaluated> evaluate(const Function& function, llvm::ArrayRef<const Value*> wanted, const Known& known);

  /// Called with every value as it is computed, group bodies included.
  std::function<void(const Value&, const Tensor&)> observe;

  Nudge nudge;

  /// Rows of a step that are computed, from the first on; the rest of what has a row for each stays zero. -1: all.
  std::int64_t live_rows = -1;

 private:
  struct Frame;
  Result<const std::vector<float>*> weight(const Value& value);
  Result<void> execute(const Node& node, Frame& frame);
  Result<Tensor> compute(const Node& node, const Frame& frame);
  Result<View> floats(const Value& value, const Frame& frame);
  WeightReader weights_;
  std::map<std::string, std::vector<float>> dequantised_;
};

}  // namespace heddle::ir::interp
