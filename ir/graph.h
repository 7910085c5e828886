#pragma once
#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/STLFunctionalExtras.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/ADT/StringRef.h>

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/entry_kind.h"
#include "ir/base/error.h"
#include "ir/base/layout.h"
#include "ir/op.h"
#include "ir/target.h"

/// The dataflow IR. A Module holds weight symbols and functions; a Function is a block of nodes in SSA form; a group is a node with a
/// block of its own, whose nodes may read the values around it.
///
/// Ownership: Module -> Function -> Block -> Node -> Value. Everything else is a plain pointer, valid until the owner erases the thing.
namespace heddle::ir {

class Node;
class Block;
class Function;
class Module;

using Shape = llvm::SmallVector<std::int64_t, 3>;  // outermost first; {} is a scalar

struct Type {
  DType dtype = DType::f32;
  Shape shape;
  /// A key/value cache: shape is [2, kv_heads, head_dim], what one position holds. Slots and capacity are run-time values.
  bool state = false;

  bool operator==(const Type&) const = default;
  std::int64_t elements() const;
  std::int64_t rows() const { return shape.size() < 2 ? 1 : shape.front(); }  // of a [rows, n] value
  std::int64_t width() const { return shape.empty() ? 1 : shape.back(); }     // n
  std::string str() const;                                                    // "q8_1[1, 2048]", "state f32[2, 4, 64]"
};

/// Where a weight symbol comes from: rows [row_begin, row_begin + rows) of a tensor of the model file; or, of a vector, numbers that the
/// compiler computed. A vector in f32 may come from a tensor of another float type, and have a number added to every element: norm gains
/// that a file stores less 1.
struct WeightSource {
  std::string tensor;  // empty: `values`
  std::int64_t row_begin = 0, rows = 0;
  std::optional<DType> dtype = {};  // of the tensor, where it is not the symbol's
  double plus = 0;
  std::vector<float> values = {};
};

/// Where the memory plan put a value.
struct Placement {
  enum Kind : std::uint8_t { none, arena, state, input, output } kind = none;
  std::int64_t offset = 0;  // arena: in bytes; otherwise the index of the argument or returned value
  std::int64_t bytes = 0;   // arena
  bool operator==(const Placement&) const = default;
};

class Value {
 public:
  struct Use {
    Node* node;
    unsigned operand;
  };

  std::string name;  // empty, or unique in its function (see Function::make_names_unique)
  Type type;
  Placement placement;

  bool is_weight() const { return kind_ == Kind::weight; }
  bool is_argument() const { return kind_ == Kind::argument; }
  Node* producer() const { return producer_; }  // null for weights and arguments
  unsigned index() const { return index_; }     // among the producer's results, the function's arguments or the module's weights
  llvm::ArrayRef<Use> uses() const { return uses_; }
  bool has_uses() const { return !uses_.empty(); }
  /// The distinct nodes of `block` that read this value, themselves or inside their bodies, in block order; the terminator counts.
  llvm::SmallVector<Node*> readers_in(const Block& block) const;
  void replace_all_uses_with(Value& other);

  // weights only
  std::vector<WeightSource> sources;  // rows concatenated; one for a plain tensor
  Layout layout = Layout::rows;  // how its bytes are stored on the target

 private:
  friend class Node;
  friend class Function;
  friend class Module;
  enum class Kind : std::uint8_t { result, argument, weight } kind_ = Kind::result;
  unsigned index_ = 0;
  Node* producer_ = nullptr;
  llvm::SmallVector<Use, 2> uses_;
};

using AttrValue = std::variant<std::int64_t, double, std::string>;

class Node {
 public:
  explicit Node(Op op, llvm::ArrayRef<Value*> operands = {}, std::vector<AttrValue> attrs = {});
  ~Node();
  Node(const Node&) = delete;

  Op op() const { return op_; }
  const OpInfo& info() const { return ir::info(op_); }
  bool has(Trait trait) const { return info().has(trait); }
  Block* block() const { return block_; }
  /// The group this node is in, or null at the top level of a function.
  Node* enclosing_group() const;

  llvm::ArrayRef<Value*> operands() const { return operands_; }
  Value* operand(unsigned i) const { return operands_[i]; }
  /// By the name in ops.def; null where an optional operand is absent.
  Value* operand(llvm::StringRef name) const;
  void set_operand(unsigned i, Value* value);
  void set_operands(llvm::ArrayRef<Value*> values);

  llvm::ArrayRef<Value*> results() const { return results_; }
  Value* result(unsigned i = 0) const { return results_[i]; }
  Value* add_result(Type type, std::string name = {});
  /// Drops result `i`, which must have no uses (and the body's i-th yield with it).
  void erase_result(unsigned i);

  /// Attributes in the order of the row of ops.def.
  const std::vector<AttrValue>& attrs() const { return attrs_; }
  std::int64_t i64(llvm::StringRef name) const;
  double f32(llvm::StringRef name) const;
  const std::string& str(llvm::StringRef name) const;
  void set_attr(llvm::StringRef name, AttrValue value);

  Block* body() const { return body_.get(); }  // groups only

  /// Extra ordering: nodes of the same block that must have finished before this one starts (a reader of memory this one overwrites).
  /// Set by `schedule`; data edges are not repeated here.
  llvm::SmallVector<Node*, 2> after;

  void erase();                      // from its block; results must have no uses
  void move_before(Node& position);  // to the place right before `position`, also into or out of a group

 private:
  friend class Block;
  void drop_use(unsigned i);
  Op op_;
  Block* block_ = nullptr;
  llvm::SmallVector<Value*, 4> operands_;
  std::vector<AttrValue> attrs_;
  std::vector<std::unique_ptr<Value>> owned_results_;
  llvm::SmallVector<Value*, 2> results_;
  std::unique_ptr<Block> body_;
};

class Block {
 public:
  Block(Function* function, Node* group) : function_(function), group_(group) {}
  ~Block();
  Block(const Block&) = delete;
  Function* function() const { return function_; }
  Node* group() const { return group_; }  // null: the function's own block
  std::size_t size() const { return nodes_.size(); }
  bool empty() const { return nodes_.empty(); }
  Node& operator[](std::size_t i) const { return *nodes_[i]; }
  Node* terminator() const;  // null while under construction
  /// A snapshot, safe to iterate over while nodes are inserted and erased (erased ones must not be touched).
  std::vector<Node*> nodes() const;
  std::size_t position_of(const Node& node) const;

  Node& append(std::unique_ptr<Node> node);
  Node& insert_before(Node& position, std::unique_ptr<Node> node);
  std::unique_ptr<Node> take(Node& node);

 private:
  friend class Node;
  friend class Module;
  void drop_operands();
  Function* function_;
  Node* group_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

/// One entry point: what one step of `rows` rows computes.
class Function {
 public:
  Function(Module& module, std::string name, EntryKind kind, std::int64_t rows);
  ~Function();
  Module& module() const { return module_; }
  std::string name;
  EntryKind kind;
  std::int64_t rows;  // rows (tokens) per step

  Value* add_argument(std::string name, Type type);
  llvm::ArrayRef<Value*> arguments() const { return arguments_; }
  Value* argument(llvm::StringRef name) const;  // null if there is none
  Block& body() { return *body_; }
  const Block& body() const { return *body_; }
  std::int64_t arena_bytes = 0;  // set by plan_memory

  /// Every node, those in groups included, in order.
  std::vector<Node*> all_nodes() const;
  /// Gives every value a name, and a name of its own (`x`, `x.1`, ...; nameless ones are numbered).
  void make_names_unique();

 private:
  friend class Module;
  Module& module_;
  std::vector<std::unique_ptr<Value>> owned_arguments_;
  llvm::SmallVector<Value*, 8> arguments_;
  std::unique_ptr<Block> body_;
};

class Module {
 public:
  Module();
  ~Module();
  std::string name;
  Target target;

  /// `shape` is [rows, columns] or [n]. The name must be new.
  Value* add_weight(std::string name, Type type, std::vector<WeightSource> sources);
  llvm::ArrayRef<Value*> weights() const { return weights_; }
  Value* weight(llvm::StringRef name) const;  // null if there is none
  Function& add_function(std::string name, EntryKind kind, std::int64_t rows);
  const std::vector<std::unique_ptr<Function>>& functions() const { return functions_; }
  Function* function(llvm::StringRef name) const;

 private:
  std::vector<std::unique_ptr<Value>> owned_weights_;
  std::vector<Value*> weights_;
  std::vector<std::unique_ptr<Function>> functions_;
};

/// Nodes moved together into one new group at the place of the last of them; values still read outside become results. Members may be
/// groups: their bodies are merged (groups never nest). All must be in the function's own block and convex in it (no path from a member
/// through an outsider back to a member), which the caller has checked with `Dependencies`. Outsiders between the members that depend on
/// one of them move behind the group. A result takes the name of the value it stands for, which becomes `name.in` in the body; merging
/// groups undoes that.
Node& make_group(llvm::ArrayRef<Node*> members, std::string label);

/// Calls `visit` for every node of `block` that `node` directly depends on: the producers of what it (or its body) reads, for a state
/// writer the readers of the version it replaces, and its `after` list. A node may come more than once, in no particular order.
void for_each_dependency(const Block& block, const Node& node, llvm::function_ref<void(Node&)> visit);

/// The same without the readers of the version that a state writer replaces: until `schedule` has put them into `after` lists, the graph
/// does not say that they come first.
void for_each_stated_dependency(const Block& block, const Node& node, llvm::function_ref<void(Node&)> visit);

/// The values that a group's body reads from outside, in order of first use, weights included.
std::vector<Value*> inputs_of(const Node& group);

}  // namespace heddle::ir
