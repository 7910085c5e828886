#include "ir/builder.h"

#include "ir/infer_types.h"

namespace heddle::ir {

Value* Builder::op(Op op, std::string name, llvm::ArrayRef<Value*> operands, std::vector<AttrValue> attrs) {
  const auto rows = info(op).attrs;
  for (std::size_t i = 0; i < rows.size() && i < attrs.size(); ++i)
    if (auto* integer = std::get_if<std::int64_t>(&attrs[i]); integer && rows[i].kind == AttrKind::f32) attrs[i] = double(*integer);
  auto made = std::make_unique<Node>(op, operands, std::move(attrs));
  Node& node = position_ ? block_->insert_before(*position_, std::move(made)) : block_->append(std::move(made));
  if (node.has(terminator)) return nullptr;
  auto type = infer_type(node);
  HEDDLE_CHECK(type.ok(), "{}", type.error().message());
  return node.add_result(std::move(*type), std::move(name));
}

}  // namespace heddle::ir
