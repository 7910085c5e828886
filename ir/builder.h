#pragma once
#include <type_traits>

#include "ir/graph.h"

namespace heddle::ir {

/// Appends nodes to a block, or puts them before one of its nodes: one method per row of ops.def, named after it. The arguments follow the
/// row: the operands (nullptr for an absent optional one), then the attributes. The result's type is inferred.
///   Value* n = builder.rms_norm("attn_norm", x, gain, 1e-5);
/// Wrong operands are a bug of the caller and abort: the parser checks for itself.
class Builder {
 public:
  explicit Builder(Block& block) : block_(&block) {}
  /// Right before `position`, each behind the one made before it.
  static Builder before(Node& position) {
    Builder builder(*position.block());
    builder.position_ = &position;
    return builder;
  }

#define HEDDLE_OP(op_name, operands, attrs, result, traits, doc) \
  template <class... Args>                                       \
  Value* op_name(std::string name, const Args&... args) {        \
    return make(Op::op_name, std::move(name), args...);          \
  }
#define OPERANDS(...)
#define OPTIONAL(...)
#define VARIADIC(...)
#define ATTRS(...)
#include "ir/ops.def"
#undef OPERANDS
#undef OPTIONAL
#undef VARIADIC
#undef ATTRS

  /// The general form; null for a terminator.
  Value* op(Op op, std::string name, llvm::ArrayRef<Value*> operands, std::vector<AttrValue> attrs);

 private:
  struct Arguments {
    llvm::SmallVector<Value*, 6> operands;
    std::vector<AttrValue> attrs;
    void add(Value* value) {
      if (value) operands.push_back(value);
    }
    void add(std::nullptr_t) {}
    void add(llvm::ArrayRef<Value*> values) { operands.append(values.begin(), values.end()); }
    void add(const char* text) { attrs.emplace_back(std::string(text)); }
    void add(const std::string& text) { attrs.emplace_back(text); }
    template <class T>
      requires std::is_arithmetic_v<T>
    void add(T number) {
      if constexpr (std::is_integral_v<T>) attrs.emplace_back(std::int64_t(number));
      else attrs.emplace_back(double(number));
    }
  };
  template <class... Args>
  Value* make(Op which, std::string name, const Args&... args) {
    Arguments list;
    (list.add(args), ...);
    return op(which, std::move(name), list.operands, std::move(list.attrs));
  }
  Block* block_;
  Node* position_ = nullptr;  // null: the end
};

}  // namespace heddle::ir
