#include "ir/graph.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringMap.h>

#include <algorithm>
#include <utility>

#include "ir/base/shape.h"

namespace heddle::ir {

bool Target::has(const std::string& feature) const { return std::ranges::find(features, feature) != features.end(); }

std::int64_t Type::elements() const { return elements_of(shape); }

std::string Type::str() const {
  return fmt::format("{}{}[{}]", state ? "state " : "", heddle::name(dtype), fmt::join(shape.begin(), shape.end(), ", "));
}

// ---- Value

llvm::SmallVector<Node*> Value::readers_in(const Block& block) const {
  llvm::SmallVector<Node*> readers;
  for (const Use& use : uses_) {
    Node* node = use.node;
    while (node && node->block() != &block) node = node->enclosing_group();
    if (node && !llvm::is_contained(readers, node)) readers.push_back(node);
  }
  if (readers.size() > 1) llvm::sort(readers, [&](Node* a, Node* b) { return block.position_of(*a) < block.position_of(*b); });
  return readers;
}

void Value::replace_all_uses_with(Value& other) {
  HEDDLE_CHECK(&other != this);
  while (!uses_.empty()) uses_.back().node->set_operand(uses_.back().operand, &other);
}

// ---- Node

Node::Node(Op op, llvm::ArrayRef<Value*> operands, std::vector<AttrValue> attrs) : op_(op), attrs_(std::move(attrs)) {
  HEDDLE_CHECK(attrs_.size() == info().attrs.size(), "{} takes {} attributes", info().name, info().attrs.size());
  if (has(region)) body_ = std::make_unique<Block>(nullptr, this);
  set_operands(operands);
}

Node::~Node() {
  body_.reset();
  set_operands({});
}

Node* Node::enclosing_group() const { return block_ ? block_->group() : nullptr; }

Value* Node::operand(llvm::StringRef name) const {
  const int i = info().operand_index(name);
  HEDDLE_CHECK(i >= 0, "{} has no operand {}", info().name, name.str());
  return std::size_t(i) < operands_.size() ? operands_[i] : nullptr;
}

void Node::drop_use(unsigned i) {
  auto& uses = operands_[i]->uses_;
  auto use = uses.end();  // from the back: blocks are taken down last node first
  do --use;
  while (use->node != this || use->operand != i);
  uses.erase(use);
}

void Node::set_operand(unsigned i, Value* value) {
  HEDDLE_CHECK(value, "operand {} of {} is null", i, info().name);
  drop_use(i);
  operands_[i] = value;
  value->uses_.push_back({this, i});
}

void Node::set_operands(llvm::ArrayRef<Value*> values) {
  const llvm::SmallVector<Value*, 4> wanted(values.begin(), values.end());  // `values` may be our own list
  for (unsigned i = operands_.size(); i-- > 0;) drop_use(i);
  operands_ = wanted;
  for (unsigned i = 0; i < operands_.size(); ++i) {
    HEDDLE_CHECK(operands_[i], "operand {} of {} is null", i, info().name);
    operands_[i]->uses_.push_back({this, i});
  }
}

Value* Node::add_result(Type type, std::string name) {
  auto& value = owned_results_.emplace_back(std::make_unique<Value>());
  value->name = std::move(name);
  value->type = std::move(type);
  value->producer_ = this;
  value->index_ = results_.size();
  results_.push_back(value.get());
  return value.get();
}

void Node::erase_result(unsigned i) {
  HEDDLE_CHECK(!results_[i]->has_uses(), "result {} of {} still has uses", i, info().name);
  if (body_)
    if (Node* yield = body_->terminator()) {
      llvm::SmallVector<Value*> values(yield->operands().begin(), yield->operands().end());
      values.erase(values.begin() + i);
      yield->set_operands(values);
    }
  results_.erase(results_.begin() + i);
  owned_results_.erase(owned_results_.begin() + i);
  for (unsigned k = i; k < results_.size(); ++k) results_[k]->index_ = k;
}

namespace {
std::size_t attr_slot(const Node& node, llvm::StringRef name) {
  const int i = node.info().attr_index(name);
  HEDDLE_CHECK(i >= 0, "{} has no attribute {}", node.info().name, name.str());
  return std::size_t(i);
}
}  // namespace
std::int64_t Node::i64(llvm::StringRef name) const { return std::get<std::int64_t>(attrs_[attr_slot(*this, name)]); }
double Node::f32(llvm::StringRef name) const { return std::get<double>(attrs_[attr_slot(*this, name)]); }
const std::string& Node::str(llvm::StringRef name) const { return std::get<std::string>(attrs_[attr_slot(*this, name)]); }
void Node::set_attr(llvm::StringRef name, AttrValue value) { attrs_[attr_slot(*this, name)] = std::move(value); }

void Node::erase() {
  for (Value* result : results_) HEDDLE_CHECK(!result->has_uses(), "erasing {} whose result {} has uses", info().name, result->name);
  for (auto& node : block_->nodes_) llvm::erase(node->after, this);
  block_->take(*this);
}

void Node::move_before(Node& position) {
  HEDDLE_CHECK(&position != this);
  auto self = block_->take(*this);
  position.block()->insert_before(position, std::move(self));
}

// ---- Block

Block::~Block() {
  drop_operands();  // nodes may stand in any order in a block that the verifier would refuse
  while (!nodes_.empty()) nodes_.pop_back();
}

void Block::drop_operands() {
  for (auto& node : llvm::reverse(nodes_)) {
    if (node->body_) node->body_->drop_operands();
    node->set_operands({});
  }
}

Node* Block::terminator() const { return !nodes_.empty() && nodes_.back()->has(Trait::terminator) ? nodes_.back().get() : nullptr; }

std::vector<Node*> Block::nodes() const {
  std::vector<Node*> out(nodes_.size());
  for (std::size_t i = 0; i < nodes_.size(); ++i) out[i] = nodes_[i].get();
  return out;
}

std::size_t Block::position_of(const Node& node) const {
  for (std::size_t i = 0; i < nodes_.size(); ++i)
    if (nodes_[i].get() == &node) return i;
  HEDDLE_CHECK(false, "node is not in this block");
  return 0;
}

Node& Block::append(std::unique_ptr<Node> node) {
  node->block_ = this;
  return *nodes_.emplace_back(std::move(node));
}

Node& Block::insert_before(Node& position, std::unique_ptr<Node> node) {
  node->block_ = this;
  return **nodes_.insert(nodes_.begin() + std::ptrdiff_t(position_of(position)), std::move(node));
}

std::unique_ptr<Node> Block::take(Node& node) {
  const auto i = nodes_.begin() + std::ptrdiff_t(position_of(node));
  auto out = std::move(*i);
  nodes_.erase(i);
  out->block_ = nullptr;
  return out;
}

// ---- Function

Function::Function(Module& module, std::string name, EntryKind kind, std::int64_t rows)
    : name(std::move(name)), kind(kind), rows(rows), module_(module), body_(std::make_unique<Block>(this, nullptr)) {}

Function::~Function() { body_.reset(); }  // readers before the arguments

Value* Function::add_argument(std::string name, Type type) {
  auto& value = owned_arguments_.emplace_back(std::make_unique<Value>());
  value->name = std::move(name);
  value->type = std::move(type);
  value->kind_ = Value::Kind::argument;
  value->index_ = arguments_.size();
  arguments_.push_back(value.get());
  return value.get();
}

Value* Function::argument(llvm::StringRef name) const {
  for (Value* value : arguments_)
    if (value->name == name) return value;
  return nullptr;
}

std::vector<Node*> Function::all_nodes() const {
  std::vector<Node*> out;
  out.reserve(4 * body_->size());
  for (std::size_t i = 0; i < body_->size(); ++i) {
    Node& node = (*body_)[i];
    out.push_back(&node);
    for (std::size_t k = 0; node.body() && k < node.body()->size(); ++k) out.push_back(&(*node.body())[k]);
  }
  return out;
}

void Function::make_names_unique() {
  std::vector<Value*> values(arguments_.begin(), arguments_.end());
  for (Node* node : all_nodes()) llvm::append_range(values, node->results());
  llvm::DenseSet<llvm::StringRef> taken;  // the names that stay, where they are
  taken.reserve(unsigned(values.size()));
  llvm::StringMap<unsigned> next;
  unsigned number = 0;
  std::vector<Value*> renamed;
  for (Value* value : values)
    if (value->name.empty() || !taken.insert(value->name).second) renamed.push_back(value);
  for (Value* value : renamed) {
    const std::string stem = value->name;
    do value->name = stem.empty() ? std::to_string(number++) : fmt::format("{}.{}", stem, ++next[stem]);
    while (!taken.insert(value->name).second);
  }
}

// ---- Module

Module::Module() = default;
Module::~Module() {
  for (auto& function : llvm::reverse(functions_)) function->body_->drop_operands();
  functions_.clear();
}

Value* Module::add_weight(std::string name, Type type, std::vector<WeightSource> sources) {
  HEDDLE_CHECK(!weight(name), "weight {} twice", name);
  auto& value = owned_weights_.emplace_back(std::make_unique<Value>());
  value->name = std::move(name);
  value->type = std::move(type);
  value->sources = std::move(sources);
  value->kind_ = Value::Kind::weight;
  value->index_ = weights_.size();
  weights_.push_back(value.get());
  return value.get();
}

Value* Module::weight(llvm::StringRef name) const {
  for (Value* value : weights_)
    if (value->name == name) return value;
  return nullptr;
}

Function& Module::add_function(std::string name, EntryKind kind, std::int64_t rows) {
  return *functions_.emplace_back(std::make_unique<Function>(*this, std::move(name), kind, rows));
}

Function* Module::function(llvm::StringRef name) const {
  for (auto& function : functions_)
    if (function->name == name) return function.get();
  return nullptr;
}

// ---- Groups

namespace {

enum class StateReaders : bool { left_out, included };

void for_each_dependency(const Block& block, const Node& node, StateReaders state_readers, llvm::function_ref<void(Node&)> visit) {
  auto lifted = [&](Node* other) {
    while (other && other->block() != &block) other = other->enclosing_group();
    if (other && other != &node) visit(*other);
  };
  auto look = [&](const Node& reader) {
    for (Value* value : reader.operands()) lifted(value->producer());
    if (state_readers == StateReaders::included && reader.has(state_write))
      for (const Value::Use& use : reader.operand(0)->uses()) lifted(use.node);
  };
  look(node);
  if (node.body())
    for (std::size_t i = 0; i < node.body()->size(); ++i) look((*node.body())[i]);
  for (Node* other : node.after) lifted(other);
}

}  // namespace

void for_each_dependency(const Block& block, const Node& node, llvm::function_ref<void(Node&)> visit) {
  for_each_dependency(block, node, StateReaders::included, visit);
}

void for_each_stated_dependency(const Block& block, const Node& node, llvm::function_ref<void(Node&)> visit) {
  for_each_dependency(block, node, StateReaders::left_out, visit);
}

namespace {

/// The outsiders before `end` that must run after a member, directly or by another such outsider, in block order.
std::vector<Node*> outsiders_behind(const Block& block, const llvm::DenseSet<Node*>& members, const Node& end) {
  llvm::DenseSet<Node*> behind;
  std::vector<Node*> out;
  for (Node* node : block.nodes()) {
    if (node == &end) break;
    if (members.contains(node)) continue;
    bool depends = false;
    for_each_dependency(block, *node, [&](Node& other) { depends |= members.contains(&other) || behind.contains(&other); });
    if (!depends) continue;
    behind.insert(node);
    out.push_back(node);
  }
  return out;
}

/// Moves the nodes of a group to the end of `body` and erases the group; what it yielded takes the names and places of its results.
void dissolve_into(Node& group, Block& body) {
  Node* yield = group.body()->terminator();
  HEDDLE_CHECK(yield && yield->operands().size() == group.results().size(), "a group whose results are not what it yields");
  for (unsigned i = 0; i < group.results().size(); ++i) {
    Value &result = *group.result(i), &inner = *yield->operand(i);
    if (inner.producer() && inner.producer()->block() == group.body()) {
      if (!result.name.empty()) inner.name = result.name;
      inner.placement = result.placement;
    }
    result.replace_all_uses_with(inner);
  }
  for (Node* node : group.body()->nodes())
    if (node != yield) body.append(group.body()->take(*node));
  group.erase();
}

}  // namespace

Node& make_group(llvm::ArrayRef<Node*> members, std::string label) {
  HEDDLE_CHECK(!members.empty());
  Block& block = *members.front()->block();
  HEDDLE_CHECK(!block.group(), "groups do not nest");
  const llvm::DenseSet<Node*> inside(members.begin(), members.end());
  std::vector<Node*> ordered;
  for (Node* node : block.nodes())
    if (inside.contains(node)) ordered.push_back(node);
  HEDDLE_CHECK(ordered.size() == inside.size(), "members of different blocks");
  for (Node* member : ordered) HEDDLE_CHECK(!member->has(terminator), "a {} cannot join a group", member->info().name);

  Node& group = block.insert_before(*ordered.back(),
                                    std::make_unique<Node>(Op::group, llvm::ArrayRef<Value*>{}, std::vector<AttrValue>{std::move(label)}));
  Block& body = *group.body();

  // Convexity lets every outsider between the members stand on one side of the group: behind it when it needs a member, else before.
  const std::vector<Node*> behind = outsiders_behind(block, inside, group);

  for (Node* node : block.nodes())  // what waited for a member waits for the group, and the group for what a member waited for
    for (Node*& awaited : node->after)
      if (inside.contains(awaited)) awaited = &group;
  for (Node* member : ordered)
    for (Node* awaited : std::exchange(member->after, {}))
      if (awaited != &group && !llvm::is_contained(group.after, awaited)) group.after.push_back(awaited);

  for (Node* member : ordered)
    if (member->op() == Op::group) dissolve_into(*member, body);
    else body.append(block.take(*member));

  std::size_t next = block.position_of(group) + 1;
  for (Node* node : behind) {
    auto taken = block.take(*node);  // it stands before the group, which moves up one
    if (next - 1 < block.size()) block.insert_before(block[next - 1], std::move(taken));
    else block.append(std::move(taken));
  }

  llvm::SmallVector<Value*> outside;
  for (Node* node : body.nodes())
    for (Value* value : node->results())
      if (llvm::any_of(value->uses(), [&](const Value::Use& use) { return use.node->block() != &body; })) outside.push_back(value);
  for (Value* value : outside) {
    Value* result = group.add_result(value->type, value->name);
    if (!value->name.empty()) value->name += ".in";  // the name stays with the value that the rest of the function reads
    result->placement = std::exchange(value->placement, {});
    llvm::SmallVector<Value::Use> uses(value->uses().begin(), value->uses().end());
    for (auto& use : uses)
      if (use.node->block() != &body) use.node->set_operand(use.operand, result);
  }
  body.append(std::make_unique<Node>(Op::yield, outside));
  return group;
}

std::vector<Value*> inputs_of(const Node& group) {
  std::vector<Value*> inputs;
  for (Node* node : group.body()->nodes())
    for (Value* value : node->operands()) {
      const bool inner = value->producer() && value->producer()->block() == group.body();
      if (!inner && !llvm::is_contained(inputs, value)) inputs.push_back(value);
    }
  return inputs;
}

}  // namespace heddle::ir
