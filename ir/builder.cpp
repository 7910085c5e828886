#include "ir/builder.h"

#include "ir/infer_types.h"

namespace heddle::ir {

Value* Builder::op(Op op, std::string name, llvm::ArrayRef<Value*> operands, std::vector<AttrValue> attrs) {
  const auto rows = info(op).attrs;
  for (std::size_t i = 0; i < rows.size() && i < attrs.size(); ++i)
    if (auto* integer = std::get_if<std::int64_t>(&attrs[i]); integer && rows[i].kind == AttrKind::f32) attrs[i] = double(*integer);
  Node& node = block_->append(std::make_unique<Node>(op, operands, std::move(attrs)));
  if (node.has(terminator)) return nullptr;
  auto type = infer_type(node);
  HEDDLE_CHECK(type.ok(), "{}", type.error().message());
  return node.add_result(std::move(*type), std::move(name));
}

}  // namespace heddle::ir
