#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

TEST(Dot, GroupsAreClusters) {
  const auto module = parsed(R"(heddle-ir 1
weight @w : q8_0[96, 64]
func @f decode rows=2 (%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]) {
  %a = group "say \"hi\"" {
    %n = neg %x
    %a.in = add %n, %n
    yield %a.in
  }
  %s = attention %a, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}
  %k = group "store" {
    %k.in = kv_store %kv, %a, %x, %slot, %pos
    yield %k.in
  }
  %m = matmul @w, %s
  ret %m, %k
}
)");
  EXPECT_EQ(to_dot(*module->function("f")), R"(digraph "f" {
  node [shape=box, fontname=monospace];
  a0 [shape=ellipse, label="%x\nf32[2, 64]"];
  a1 [shape=ellipse, label="%slot\ni32[2]"];
  a2 [shape=ellipse, label="%pos\ni32[2]"];
  a3 [shape=ellipse, label="%kv\nstate f32[2, 2, 32]"];
  subgraph cluster_0 {
    label="say \"hi\"";
    n1 [label="%n\nneg\nf32[2, 64]"];
    n2 [label="%a.in\nadd\nf32[2, 64]"];
  }
  n4 [label="%s\nattention\nf32[2, 64]"];
  subgraph cluster_5 {
    label="store";
    n6 [label="%k.in\nkv_store\nstate f32[2, 2, 32]"];
  }
  n8 [label="%m\nmatmul @w\nf32[2, 96]"];
  n9 [label="ret"];
  a0 -> n1;
  n1 -> n2;
  n2 -> n4;
  a3 -> n4;
  a1 -> n4;
  a2 -> n4;
  a3 -> n6;
  n2 -> n6;
  a0 -> n6;
  a1 -> n6;
  a2 -> n6;
  n4 -> n8;
  n8 -> n9;
  n6 -> n9;
  n4 -> n6 [style=dashed, constraint=false];
}
)");
}

}  // namespace
}  // namespace heddle::ir::testing
