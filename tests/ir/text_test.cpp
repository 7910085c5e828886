#include "ir/text/text.h"

#include "ir/builder.h"
#include "ir/infer_types.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

TEST(Text, EveryOpComesBackAsItWas) {
  const auto module = parsed(every_op);
  EXPECT_EQ(print(*module), every_op);
  EXPECT_EQ(complaint(*module), "");
}

TEST(Text, TheSampleHasEveryOp) {
  for (const OpInfo& row : all_ops()) {
    const bool there =
        every_op.find(fmt::format("= {} ", row.name)) != every_op.npos || every_op.find(fmt::format("  {} %", row.name)) != every_op.npos;
    EXPECT_TRUE(there) << "tests/ir/ir_text.h: every_op lacks " << row.name;
  }
}

TEST(Text, WhatTheParserKeeps) {
  const auto module = parsed(every_op);
  EXPECT_EQ(module->name, "tiny \"llama\" \x01");
  EXPECT_EQ(module->target.features, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(module->target.launch_us, 2.5);
  const Value& weight = *module->weight("blk.0.attn_k.weight");
  EXPECT_EQ(weight.type, (Type{DType::q8_0, {128, 256}}));
  ASSERT_EQ(weight.sources.size(), 2u);
  EXPECT_EQ(weight.sources[1].tensor, "more");
  EXPECT_EQ(weight.sources[1].row_begin, 64);
  EXPECT_EQ(weight.sources[1].rows, 64);
  EXPECT_EQ(module->weight("blk.0.attn_q.weight")->layout, Layout::planes);
  const Function& function = *module->function("decode_2");
  EXPECT_EQ(function.kind, EntryKind::decode);
  EXPECT_EQ(function.rows, 2);
  EXPECT_EQ(function.arena_bytes, 12288);
  EXPECT_TRUE(function.argument("kv.0")->type.state);
  const Node& group = *node_of(function, "q");
  EXPECT_EQ(group.str("label"), "qkv");
  ASSERT_EQ(group.after.size(), 1u);
  EXPECT_EQ(group.after[0], node_of(function, "x"));
  EXPECT_EQ(group.result()->placement, (Placement{Placement::arena, 2048, 2048}));
  EXPECT_EQ(group.result(1)->placement, (Placement{Placement::state, 4, 0}));
  EXPECT_EQ(node_of(*module->function("every_op"), "s")->f32("eps"), 9.999999747378752e-06);
}

TEST(Text, HandWrittenTextMayLeaveOutWhatCanBeInferred) {
  const auto module = parsed(R"(# a comment
heddle-ir 1
weight @w : q8_0[96, 64]
func @f decode rows=2 (%x: f32[2, 64]) { %y = matmul @w, %x; %z = group { %a = neg %y; yield %a }  # and another
  %s = rms_scale %z {eps = 1}
  ret %s }
)");
  EXPECT_EQ(print(*module), R"(heddle-ir 1
module ""
target "cpu" {activations="f32", features="", launch_us=2, memory_gbps=30, worker_gflops=20, workers=8}
weight @w : q8_0[96, 64] layout "rows"
func @f decode rows=2 (%x: f32[2, 64]) {
  %y = matmul @w, %x : f32[2, 96]
  %z = group "" {
    %a = neg %y : f32[2, 96]
    yield %a
  } : f32[2, 96]
  %s = rms_scale %z {eps=1} : f32[2, 1]
  ret %s
}
)");
}

TEST(Text, AttributesAndTargetFieldsComeInAnyOrder) {
  const auto module =
      parsed(function_text("%q: f32[2, 64], %pos: i32[2]", R"(%y = rope %q, %pos {pairing="halves", theta=1e4, dims=16, head_dim=16}
      ret %y)"));
  EXPECT_EQ(print(*node_of(*module->function("f"), "y")),
            R"(%y = rope %q, %pos {head_dim=16, dims=16, theta=10000, pairing="halves"} : f32[2, 64])");
  const auto target = parsed("heddle-ir 1\ntarget \"cuda:sm_90\" {workers=132, activations=\"q8_1\"}");
  EXPECT_EQ(target->target, (Target{"cuda:sm_90", DType::q8_1, {}, 132}));
}

TEST(Text, NumbersReadBackExactly) {
  for (double value : {0.1, 1e300, 5e-324, -0.0, 1.0 / 3, 123456789012345680.0, std::numeric_limits<double>::infinity()}) {
    Module module;
    Function& function = module.add_function("f", EntryKind::decode, 1);
    Builder builder(function.body());
    builder.ret("", llvm::ArrayRef<Value*>(builder.constant("c", value)));
    const auto again = parsed(print(module));
    EXPECT_EQ(std::bit_cast<std::uint64_t>(node_of(*again->function("f"), "c")->f32("value")), std::bit_cast<std::uint64_t>(value));
  }
}

TEST(Text, NamelessAndEqualNamesAreMadeUnique) {
  Module module;
  Function& function = module.add_function("f", EntryKind::decode, 1);
  Value* x = function.add_argument("x", Type{DType::f32, {1, 4}});
  Builder builder(function.body());
  Value* a = builder.neg("", x);
  Value* b = builder.neg("x", a);
  Value* c = builder.add("0", a, b);
  builder.ret("", llvm::ArrayRef<Value*>(c));
  EXPECT_EQ(head(*b->producer()), "%x = neg %? : f32[1, 4]");
  EXPECT_EQ(print(function), R"(func @f decode rows=1 (%x: f32[1, 4]) {
  %1 = neg %x : f32[1, 4]
  %x.1 = neg %1 : f32[1, 4]
  %0 = add %1, %x.1 : f32[1, 4]
  ret %0
}
)");
  EXPECT_EQ(print(*parsed(print(module))), print(module));
}

TEST(Text, ANodeOfAGroupPrintsWithItsBody) {
  const auto module = parsed(every_op);
  EXPECT_EQ(print(*node_of(*module->function("every_op"), "o")), R"(%o = group "" {
  %o8 = quantize %r {format="q8_1"} : q8_1[2, 256]
  %o.in = matmul @blk.0.attn_q.weight, %o8 : f32[2, 256]
  yield %o.in
} : f32[2, 256])");
  EXPECT_EQ(head(*node_of(*module->function("decode_2"), "q")), "%q, %kv.0.1 = group \"qkv\" after(%x) {");
}

}  // namespace
}  // namespace heddle::ir::testing
