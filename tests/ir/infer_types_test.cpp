#include "ir/infer_types.h"

#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

/// The type of %y in a function with one node, or what the rule has against it.
std::string type_of(std::string_view node) {
  const auto module = parse(fmt::format(R"(heddle-ir 1
weight @table : q8_0[100, 64]
weight @w : q4_K[8, 512]
weight @experts : q8_0[4, 96, 64]
weight @gain : bf16[64]
weight @head_gain : f32[32]
weight @odd_gain : f32[48]
weight @q_gain : q8_0[64]
weight @freqs : f32[16]
weight @ids : i32[2]
func @f decode rows=2 (%x: f32[2, 64], %wide: f32[2, 512], %one: f32[1, 64], %i: i32[2], %j: i32[3], %choice: i32[2, 1], %three: i32[2, 3], %g3: f32[2, 3], %x3: f32[2, 192],
                       %other: i32[1, 3], %s: f32[],
                       %column: f32[2, 1], %v: f32[64], %h: f16[2, 64], %q8: q8_1[2, 64], %q4: q4_0[2, 64], %cube: f32[2, 2, 64],
                       %kv: state f16[2, 2, 32]) {{
  %y = {}
}}
)",
                                        node),
                            "t.ir");
  if (module.ok()) return node_of(*(*module)->function("f"), "y")->result()->type.str();
  const std::string& message = module.error().message();  // t.ir:line:column: what
  const std::string line = message.substr(0, message.find('\n'));
  return line.substr(line.find(": ") + 2);
}

TEST(InferTypes, Results) {
  EXPECT_EQ(type_of("constant {value=1}"), "f32[]");
  EXPECT_EQ(type_of("embed @table, %j"), "f32[3, 64]");
  EXPECT_EQ(type_of("matmul @w, %wide"), "f32[2, 8]");
  EXPECT_EQ(type_of("matmul @table, %q8"), "f32[2, 100]");
  EXPECT_EQ(type_of("matmul @experts, %x, %choice"), "f32[2, 96]");
  EXPECT_EQ(type_of("matmul @experts, %x, %three"), "f32[2, 288]");
  EXPECT_EQ(type_of("matmul @experts, %x3, %three, %g3"), "f32[2, 96]");
  EXPECT_EQ(type_of("top_k %x {k=3}"), "i32[2, 3]");
  EXPECT_EQ(type_of("expert_gates %x, %three {normalized=1}"), "f32[2, 3]");
  EXPECT_EQ(type_of("quantize %x {format=\"q8_1\"}"), "q8_1[2, 64]");
  EXPECT_EQ(type_of("quantize %wide {format=\"q8_K\"}"), "q8_K[2, 512]");
  EXPECT_EQ(type_of("rms_norm %x, @gain {eps=0}"), "f32[2, 64]");
  EXPECT_EQ(type_of("rms_norm %x, @head_gain {eps=0}"), "f32[2, 64]");
  EXPECT_EQ(type_of("rms_scale %x {eps=0}"), "f32[2, 1]");
  EXPECT_EQ(type_of("rope %x, %i {head_dim=32, dims=32, theta=1e4, pairing=\"halves\"}"), "f32[2, 64]");
  EXPECT_EQ(type_of("rope %x, %i, @freqs {head_dim=32, dims=32, theta=1e4, pairing=\"adjacent\"}"), "f32[2, 64]");
  EXPECT_EQ(type_of("kv_store %kv, %x, %x, %i, %i"), "state f16[2, 2, 32]");
  EXPECT_EQ(type_of("attention %wide, %kv, %i, %i {heads=16, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}"), "f32[2, 512]");
  EXPECT_EQ(type_of("select_rows %x, %j"), "f32[3, 64]");
  EXPECT_EQ(type_of("select_rows %i, %j"), "i32[3]");
}

TEST(InferTypes, Broadcasting) {
  EXPECT_EQ(type_of("add %x, %x"), "f32[2, 64]");
  EXPECT_EQ(type_of("add %v, %x"), "f32[2, 64]");
  EXPECT_EQ(type_of("add %x, @gain"), "f32[2, 64]");
  EXPECT_EQ(type_of("mul %column, %x"), "f32[2, 64]");
  EXPECT_EQ(type_of("mul %s, %x"), "f32[2, 64]");
  EXPECT_EQ(type_of("mul %v, %s"), "f32[64]");
  EXPECT_EQ(type_of("mul %s, %s"), "f32[]");
  EXPECT_EQ(type_of("mul @gain, %v"), "f32[64]");
  EXPECT_EQ(type_of("neg @gain"), "f32[64]");
  EXPECT_EQ(type_of("add %x, %wide"), "add: x is f32[2, 64], y is f32[2, 512]: neither repeats over the other");
  EXPECT_EQ(type_of("add %x, %one"), "add: x is f32[2, 64], y is f32[1, 64]: neither repeats over the other");
  EXPECT_EQ(type_of("add %column, %v"), "add: x is f32[2, 1], y is f32[64]: neither repeats over the other");
  EXPECT_EQ(type_of("add @odd_gain, %x"), "add: x is f32[48], y is f32[2, 64]: neither repeats over the other");
  EXPECT_EQ(type_of("add %x, %h"), "add: y is f16[2, 64], wants f32, or a weight in a float type");
  EXPECT_EQ(type_of("add @q_gain, %x"), "add: x is q8_0[64], wants f32, or a weight in a float type");
  EXPECT_EQ(type_of("neg %i"), "neg: x is i32[2], wants f32, or a weight in a float type");
  EXPECT_EQ(type_of("neg %kv"), "neg: x is state f16[2, 2, 32], wants f32, or a weight in a float type");
}

TEST(InferTypes, WrongOperands) {
  EXPECT_EQ(type_of("embed @gain, %i"), "embed: table is bf16[64], wants [vocabulary, n]");
  EXPECT_EQ(type_of("embed @table, %x"), "embed: tokens is f32[2, 64], wants i32[rows]");
  EXPECT_EQ(type_of("matmul @w, %x"), "matmul: w is q4_K[8, 512], x has 64 columns");
  EXPECT_EQ(type_of("matmul @experts, %x"), "matmul: w is q8_0[4, 96, 64], wants [rows, columns]");
  EXPECT_EQ(type_of("matmul @table, %x, %choice"), "matmul: w is q8_0[100, 64], wants [experts, rows, columns]");
  EXPECT_EQ(type_of("matmul @experts, %x, %i"), "matmul: experts is i32[2], wants i32[2, t]");
  EXPECT_EQ(type_of("matmul @experts, %x, %other"), "matmul: experts is i32[1, 3], wants i32[2, t]");
  EXPECT_EQ(type_of("matmul @experts, %x, %three, %column"), "matmul: gates is f32[2, 1], wants f32[2, 3]");
  EXPECT_EQ(type_of("matmul @experts, %x, %three, %g3"), "matmul: w is q8_0[4, 96, 64], x has 64 columns for 3 experts");
  EXPECT_EQ(type_of("top_k %x {k=65}"), "top_k: k is 65, wants 1 to the 64 columns of x");
  EXPECT_EQ(type_of("expert_gates %x, %three {normalized=2}"), "expert_gates: normalized is 2, wants 0 or 1");
  EXPECT_EQ(type_of("matmul @table, %q4"), "matmul: x is q4_0[2, 64], wants [rows, n] in f32 or an 8-bit activation format");
  EXPECT_EQ(type_of("matmul @table, %cube"), "matmul: x is f32[2, 2, 64], wants [rows, n] in f32 or an 8-bit activation format");
  EXPECT_EQ(type_of("matmul @ids, %x"), "matmul: w is i32[2], wants [rows, columns]");
  EXPECT_THAT(type_of("quantize %x {format=\"q4_K\"}"), ::testing::MatchesRegex("quantize: format is 'q4_K', wants one of .*q8_1.*"));
  EXPECT_EQ(type_of("quantize %x {format=\"q8_K\"}"), "quantize: x is f32[2, 64], q8_K takes rows of whole blocks of 256");
  EXPECT_EQ(type_of("quantize %v {format=\"q8_1\"}"), "quantize: x is f32[64], wants f32[rows, n]");
  EXPECT_EQ(type_of("rms_norm %x, @odd_gain {eps=0}"), "rms_norm: gain has 48 elements, wants a divisor of the 64 columns of x");
  EXPECT_EQ(type_of("rms_norm %x, @table {eps=0}"), "rms_norm: gain is q8_0[100, 64], wants a float vector [n]");
  EXPECT_EQ(type_of("rms_norm %h, @gain {eps=0}"), "rms_norm: x is f16[2, 64], wants f32[rows, n]");
  EXPECT_EQ(type_of("rms_norm %x, @gain {eps=-1}"), "rms_norm: eps is -1, wants a finite number of at least 0");
  EXPECT_EQ(type_of("rms_scale %x {eps=nan}"), "rms_scale: eps is nan, wants a finite number of at least 0");
  EXPECT_EQ(type_of("select_rows %x, %choice"), "select_rows: index is i32[2, 1], wants i32[m]");
  EXPECT_EQ(type_of("select_rows %choice, %i"), "select_rows: x is i32[2, 1], wants f32[rows, n] or i32[rows]");
  EXPECT_EQ(type_of("select_rows %kv, %i"), "select_rows: x is state f16[2, 2, 32], wants f32[rows, n] or i32[rows]");
}

TEST(InferTypes, WrongRope) {
  auto rope = [](std::string_view operands, int head_dim, int dims, double theta = 1e4, std::string_view pairing = "halves") {
    return type_of(fmt::format("rope {} {{head_dim={}, dims={}, theta={}, pairing=\"{}\"}}", operands, head_dim, dims, theta, pairing));
  };
  EXPECT_EQ(rope("%x, %i", 48, 32), "rope: head_dim is 48, wants a divisor of the 64 columns of x");
  EXPECT_EQ(rope("%x, %i", 0, 32), "rope: head_dim is 0, wants at least 1");
  EXPECT_EQ(rope("%x, %i", 32, 15), "rope: dims is 15, wants an even number from 2 to head_dim = 32");
  EXPECT_EQ(rope("%x, %i", 32, 34), "rope: dims is 34, wants an even number from 2 to head_dim = 32");
  EXPECT_EQ(rope("%x, %i", 32, 0), "rope: dims is 0, wants an even number from 2 to head_dim = 32");
  EXPECT_EQ(rope("%x, %i", 32, 32, 0), "rope: theta is 0, wants a finite number above 0");
  EXPECT_EQ(rope("%x, %i", 32, 32, 1e4, "neox"), "rope: pairing is 'neox', wants 'adjacent' or 'halves'");
  EXPECT_EQ(rope("%x, %j", 32, 32), "rope: pos is i32[3], wants i32[2]");
  EXPECT_EQ(rope("%x, %i, @freqs", 32, 16), "rope: factors has 16 elements, wants dims / 2 = 8");
}

TEST(InferTypes, WrongCaches) {
  EXPECT_EQ(type_of("kv_store %x, %x, %x, %i, %i"), "kv_store: kv is f32[2, 64], wants a state [2, kv_heads, head_dim]");
  EXPECT_EQ(type_of("kv_store %kv, %wide, %x, %i, %i"), "kv_store: k is f32[2, 512], kv is state f16[2, 2, 32] and takes rows of 64");
  EXPECT_EQ(type_of("kv_store %kv, %x, %one, %i, %i"), "kv_store: v is f32[1, 64], k is f32[2, 64]");
  EXPECT_EQ(type_of("kv_store %kv, %x, %x, %j, %i"), "kv_store: slot is i32[3], wants i32[2]");
  EXPECT_EQ(type_of("kv_store %kv, %x, %x, %i, %j"), "kv_store: pos is i32[3], wants i32[2]");
  auto attention = [](int heads, int kv_heads, int head_dim, std::string_view rest = "scale=1, window=0, softcap=0",
                      std::string_view operands = "%x, %kv, %i, %i") {
    return type_of(fmt::format("attention {} {{heads={}, kv_heads={}, head_dim={}, {}}}", operands, heads, kv_heads, head_dim, rest));
  };
  EXPECT_EQ(attention(2, 2, 32), "f32[2, 64]");
  EXPECT_EQ(attention(3, 2, 32), "attention: heads is 3, wants a multiple of kv_heads = 2");
  EXPECT_EQ(attention(4, 2, 32), "attention: q is f32[2, 64], 4 heads of 32 are wanted");
  EXPECT_EQ(attention(4, 2, 16), "attention: kv is state f16[2, 2, 32], 2 kv_heads of 16 are wanted");
  EXPECT_EQ(attention(2, 0, 32), "attention: kv_heads is 0, wants at least 1");
  EXPECT_EQ(attention(2, 2, 32, "scale=inf, window=0, softcap=0"), "attention: scale is inf, wants a finite number");
  EXPECT_EQ(attention(2, 2, 32, "scale=1, window=-1, softcap=0"), "attention: window is -1, wants at least 0");
  EXPECT_EQ(attention(2, 2, 32, "scale=1, window=0, softcap=-2"), "attention: softcap is -2, wants a finite number of at least 0");
  EXPECT_EQ(attention(2, 2, 32, "scale=1, window=0, softcap=0", "%x, %kv, %j, %i"), "attention: slot is i32[3], wants i32[2]");
  EXPECT_EQ(type_of("attention %x, %kv, %i, %i {heads=4611686018427387904, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}"),
            "attention: q is f32[2, 64], 4611686018427387904 heads of 32 are wanted");
}

TEST(InferTypes, EveryRuleOfOpsDefIsKnown) {
  for (const OpInfo& row : all_ops()) {
    bool known = false;
    for (const ResultRule& rule : result_rules()) known |= rule.name == row.result_rule;
    EXPECT_TRUE(known) << row.name;
  }
}

TEST(InferTypes, TypesThatCannotBe) {
  auto says = [](const Type& type) {
    auto checked = check_type(type);
    return checked.ok() ? std::string() : checked.error().message();
  };
  EXPECT_EQ(says({DType::f32, {}}), "");
  EXPECT_EQ(says({DType::f32, {1 << 20, 1 << 20}}), "");
  EXPECT_EQ(says({DType::f32, {(1 << 20) + 1, 1 << 20}}), "f32[1048577, 1048576]: more than 2^40 elements");
  EXPECT_EQ(says({DType::f32, {INT64_MAX, INT64_MAX}}), "f32[9223372036854775807, 9223372036854775807]: more than 2^40 elements");
  EXPECT_EQ(says({DType::q8_0, {}}), "q8_0[]: rows are not whole blocks of 32");
  EXPECT_EQ(says({DType::i32, {2, 1, 4}, true}), "state i32[2, 1, 4]: a state is [2, kv_heads, head_dim] in f32, f16 or bf16");
}

}  // namespace
}  // namespace heddle::ir::testing
