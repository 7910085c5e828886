// A pass that is wrong on purpose, for `heddle verify`: the residual of the second layer is added to itself, not to the product.
//   before  %l1.x1 = add %x, %o    after  %l1.x1 = add %x, %x
#include "passes/plugin.h"

namespace {

using namespace heddle;

passes::Outcome spoil(ir::Node& add, passes::Context& context) {
  if (add.result()->name != "l1.x1" || add.operand(0) == add.operand(1)) return passes::no_match();
  if (!context.take_change()) return passes::declined(add, "the limit on changes is reached");
  add.set_operand(1, add.operand(0));
  return passes::fired(add);
}

}  // namespace

HEDDLE_PLUGIN(registry) {
  auto pass = passes::at_each("wrong_residual", "adds a residual to itself", ir::Op::add, spoil);
  pass.before = "group_qkv";
  return registry.add(std::move(pass));
}
