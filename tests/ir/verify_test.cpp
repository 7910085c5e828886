#include "ir/verify.h"

#include "ir/builder.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

constexpr std::string_view rows_x = "%x: f32[2, 64]";
const std::string cached = "%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]";

/// A function `f` over %x, with its ret still missing.
struct Draft {
  Module module;
  Function& function = module.add_function("f", EntryKind::decode, 2);
  Value* x = function.add_argument("x", Type{DType::f32, {2, 64}});
  Builder builder{function.body()};
  void ret(llvm::ArrayRef<Value*> values) { builder.ret("", values); }
  std::string complaint() { return testing::complaint(module); }
};

TEST(Verify, TheSamplesAreFine) {
  EXPECT_EQ(complaint(every_op), "");
  EXPECT_EQ(complaint(function_text(cached, "%y = kv_store %kv, %x, %x, %slot, %pos; ret %y")), "");
}

TEST(Verify, EveryRuleIsListed) {
  std::vector<std::string_view> names;
  for (const RuleInfo& rule : verifier_rules()) {
    names.push_back(rule.name);
    EXPECT_FALSE(rule.meaning.empty());
  }
  EXPECT_THAT(names,
              ::testing::ElementsAre("operands", "terminators", "groups", "dominance", "types", "after", "names", "states", "placements"));
}

TEST(Verify, Operands) {
  {
    Draft draft;
    Node& add = draft.function.body().append(std::make_unique<Node>(Op::add, draft.x));
    draft.ret(add.add_result(draft.x->type, "y"));
    EXPECT_EQ(draft.complaint(), "function 'f': node '%y = add %x : f32[2, 64]': add: has 1 operand, wants 2");
  }
  {
    Draft draft;
    Node& scale = draft.function.body().append(std::make_unique<Node>(Op::rms_scale, draft.x, std::vector<AttrValue>{std::int64_t(1)}));
    draft.ret(scale.add_result(Type{DType::f32, {2, 1}}, "y"));
    EXPECT_EQ(draft.complaint(),
              "function 'f': node '%y = rms_scale %x {eps=1} : f32[2, 1]': rms_scale: attribute eps is of kind i64, wants f32");
  }
}

TEST(Verify, Terminators) {
  EXPECT_EQ(complaint(function_text(rows_x, "")), "function 'f': its body is empty, wants ret at the end");
  EXPECT_EQ(complaint(function_text(rows_x, "%y = neg %x")),
            "function 'f': its body ends with '%y = neg %x : f32[2, 64]', wants ret at the end");
  EXPECT_EQ(complaint(function_text(rows_x, "yield %x")), "function 'f': its body ends with 'yield %x', wants ret at the end");
  EXPECT_EQ(complaint(function_text(rows_x, "ret %x; ret %x")), "function 'f': node 'ret %x': stands before the end of its block");
  EXPECT_EQ(complaint(function_text(rows_x, "group { %y = neg %x; ret %y }; ret %x")),
            "function 'f': node 'group \"\" {': its body ends with 'ret %y', wants yield at the end");
  EXPECT_EQ(complaint(function_text(rows_x, "group \"a\" { }; ret %x")),
            "function 'f': node 'group \"a\" {': its body is empty, wants yield at the end");
}

TEST(Verify, Groups) {
  EXPECT_EQ(complaint(function_text(rows_x, "%y = group { yield %x }; ret %y")),
            "function 'f': node '%y = group \"\" {': its body has no nodes, wants at least one before the yield");
  Draft draft;
  auto group = [](Block& block, const char* label) -> Node& {
    return block.append(std::make_unique<Node>(Op::group, llvm::ArrayRef<Value*>(), std::vector<AttrValue>{std::string(label)}));
  };
  Node& outer = group(draft.function.body(), "outer");
  Node& inner = group(*outer.body(), "inner");
  Builder(*inner.body()).yield("", llvm::ArrayRef<Value*>());
  Builder(*outer.body()).yield("", llvm::ArrayRef<Value*>());
  draft.ret(draft.x);
  EXPECT_EQ(draft.complaint(), "function 'f': node 'group \"inner\" {': stands in a group, groups do not nest");
}

TEST(Verify, Dominance) {
  {
    Draft draft;
    Value* y = draft.builder.neg("y", draft.x);
    Value* z = draft.builder.neg("z", y);
    z->producer()->move_before(*y->producer());
    draft.ret(z);
    EXPECT_EQ(draft.complaint(), "function 'f': node '%z = neg %y : f32[2, 64]': reads %y, which is not defined before it");
  }
  {
    Draft draft, other;
    Value* w = other.module.add_weight("w", draft.x->type, {});
    draft.ret(draft.builder.add("y", draft.x, w));
    EXPECT_EQ(draft.complaint(), "function 'f': node '%y = add %x, @w : f32[2, 64]': reads @w, which is not defined before it");
    draft.function.body()[0].set_operands({draft.x, draft.x});  // before `other` takes its weight away
  }
  {  // what is inside a group stays there
    Draft draft;
    Value* y = draft.builder.neg("y", draft.x);
    Value* z = draft.builder.neg("z", draft.x);
    Node& group = make_group(y->producer(), "g");
    z->producer()->set_operand(0, (*group.body())[0].result());
    draft.ret(z);
    EXPECT_EQ(draft.complaint(), "function 'f': node '%z = neg %y : f32[2, 64]': reads %y, which is not defined before it");
  }
}

TEST(Verify, Types) {
  EXPECT_EQ(complaint(function_text(rows_x, "%y = neg %x : f32[2, 32]; ret %y")),
            "function 'f': node '%y = neg %x : f32[2, 32]': result is f32[2, 32], neg gives f32[2, 64]");
  EXPECT_EQ(complaint(function_text("%x: f32[2, 32]", "%y = matmul @w, %x : f32[2, 96]; ret %y")),
            "function 'f': node '%y = matmul @w, %x : f32[2, 96]': matmul: w is q8_0[96, 64], x has 32 columns");
  EXPECT_EQ(complaint(function_text(rows_x, "%y = group { %a = neg %x; yield %a } : f32[2, 32]; ret %y")),
            "function 'f': node '%y = group \"\" {': result 0 is f32[2, 32], its body yields f32[2, 64]");
  EXPECT_EQ(complaint(function_text(rows_x, "%y, %z = group { %a = neg %x; yield %a } : f32[2, 64], f32[2, 64]; ret %y")),
            "function 'f': node '%y, %z = group \"\" {': has 2 results, its body yields 1 values");
  {
    Draft draft;
    draft.function.add_argument("kv", Type{DType::f32, {3, 4, 32}, true});
    draft.ret(draft.x);
    EXPECT_EQ(draft.complaint(), "function 'f': argument %kv: state f32[3, 4, 32]: a state is [2, kv_heads, head_dim] in f32, f16 or bf16");
  }
  {
    Draft draft;
    draft.module.add_weight("w", Type{DType::q4_K, {4, 100}}, {});
    draft.ret(draft.x);
    EXPECT_EQ(draft.complaint(), "weight @w: q4_K[4, 100]: rows are not whole blocks of 256");
  }
  {
    Draft draft;
    Value* y = draft.builder.neg("y", draft.x);
    y->producer()->add_result(y->type, "z");
    draft.ret(y);
    EXPECT_EQ(draft.complaint(), "function 'f': node '%y, %z = neg %x : f32[2, 64], f32[2, 64]': has 2 results, wants 1");
  }
}

TEST(Verify, After) {
  {
    Draft draft;
    Value* y = draft.builder.neg("y", draft.x);
    Value* z = draft.builder.neg("z", y);
    y->producer()->after.push_back(z->producer());
    draft.ret(z);
    EXPECT_EQ(draft.complaint(),
              "function 'f': node '%y = neg %x after(%z) : f32[2, 64]': waits for '%z = neg %y : f32[2, 64]', which is no "
              "earlier node of its block");
  }
  EXPECT_EQ(complaint(function_text(rows_x, "%y = neg %x; %z = group { %a = neg %x after(%y); yield %a }; ret %z")),
            "function 'f': node '%a = neg %x after(%y) : f32[2, 64]': waits for '%y = neg %x : f32[2, 64]', which is no earlier node of "
            "its block");
  {
    Draft draft;
    Value* y = draft.builder.neg("y", draft.x);
    Node& group = make_group(y->producer(), "g");
    Value* z = draft.builder.neg("z", draft.x);
    z->producer()->after.push_back(&group);
    draft.ret(z);
    EXPECT_EQ(draft.complaint(),
              "function 'f': node '%z = neg %x after(%?) : f32[2, 64]': waits for 'group \"g\" {', which has no result to name it by");
  }
}

TEST(Verify, Names) {
  {
    Draft draft;
    draft.ret(draft.builder.neg("x", draft.x));
    EXPECT_EQ(draft.complaint(), "function 'f': value %x: two values have this name");
    draft.function.make_names_unique();
    EXPECT_EQ(draft.complaint(), "");
  }
  {
    Draft draft;
    draft.ret(draft.builder.neg("a b", draft.x));
    EXPECT_EQ(draft.complaint(), "function 'f': value 'a b': a value's name is made of [A-Za-z0-9_.-]");
  }
  {
    Draft draft;
    draft.function.add_argument("", draft.x->type);
    draft.ret(draft.x);
    EXPECT_EQ(draft.complaint(), "function 'f': argument 1 has no name");
  }
  {
    Draft draft;
    draft.ret(draft.x);
    draft.function.name = "a/b";
    EXPECT_EQ(draft.complaint(), "function 'a/b': a function's name is made of [A-Za-z0-9_.-]");
  }
  {
    Draft draft;
    draft.ret(draft.x);
    Value* w = draft.module.add_weight("w", draft.x->type, {});
    draft.module.add_weight("v", draft.x->type, {});
    draft.module.weight("v")->name = "w";
    EXPECT_EQ(draft.complaint(), "weight @w: two weights have this name");
    w->name = "";
    EXPECT_EQ(draft.complaint(), "weight '': a weight's name is made of [A-Za-z0-9_.-]");
  }
  {
    Draft draft;
    draft.ret(draft.x);
    Function& twin = draft.module.add_function("f", EntryKind::decode, 1);
    Builder(twin.body()).ret("", llvm::ArrayRef<Value*>());
    EXPECT_EQ(draft.complaint(), "function 'f': two functions have this name");
  }
}

TEST(Verify, States) {
  const std::string attention = " {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}";
  auto says = [&](const std::string& body) { return complaint(function_text(cached, body)); };
  const std::string store = "kv_store %kv, %x, %x, %slot, %pos";
  EXPECT_EQ(says("%a = attention %x, %kv, %slot, %pos" + attention + "; %k = " + store + "; ret %a, %k"), "");
  EXPECT_EQ(says("%k = " + store + "; %a = attention %x, %k, %slot, %pos" + attention + "; ret %a, %k"), "");

  EXPECT_EQ(says("%k = " + store + "; %l = " + store + "; ret %k"), "function 'f': node '%l = " + store +
                                                                        " : state f32[2, 2, 32]': writes %kv, which '%k = " + store +
                                                                        " : state f32[2, 2, 32]' has replaced already");
  EXPECT_EQ(says("%k = " + store + "; %a = attention %x, %kv, %slot, %pos" + attention + "; ret %a, %k"),
            "function 'f': node '%a = attention %x, %kv, %slot, %pos" + attention + " : f32[2, 64]': reads %kv, which '%k = " + store +
                " : state f32[2, 2, 32]' has replaced already");
  EXPECT_EQ(says("%k = " + store + "; ret %kv, %k"),
            "function 'f': node 'ret %kv, %k': reads %kv, which '%k = " + store + " : state f32[2, 2, 32]' has replaced already");
  EXPECT_EQ(says("%k = " + store + "; ret %x"), "function 'f': state %kv is not returned, its last version is %k");
  EXPECT_EQ(says("ret %x"), "function 'f': state %kv is not returned, its last version is %kv");
  EXPECT_EQ(says("ret %kv, %kv"), "function 'f': state %kv is returned twice");

  // A group's result and the value it yields are one version.
  EXPECT_EQ(says("%k = group { %k.in = " + store + "; yield %k.in }; ret %k"), "");
  EXPECT_EQ(says("%k = group { %k.in = " + store + "; yield %k.in }; %l = " + store + "; ret %k"),
            "function 'f': node '%l = " + store + " : state f32[2, 2, 32]': writes %kv, which '%k.in = " + store +
                " : state f32[2, 2, 32]' has replaced already");
  EXPECT_EQ(says("%k, %l = group { %k.in = " + store + "; yield %k.in, %k.in }; ret %k, %l"), "function 'f': state %l is returned twice");
}

TEST(Verify, Placements) {
  auto says = [](std::string arguments, std::string body, int arena = 1024) {
    std::string text = function_text(arguments, body);
    text.replace(text.find("rows=2"), 6, fmt::format("rows=2 arena={}", arena));
    return complaint(text);
  };
  const std::string x(rows_x);
  EXPECT_EQ(says(x + " at input+0", "%y = neg %x : f32[2, 64] at arena+512:512; %z = neg %y : f32[2, 64] at output+0; ret %z"), "");

  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at arena+0:256; ret %y"),
            "function 'f': value %y : f32[2, 64]: at arena+0:256, it takes 512 bytes");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at arena+768:512; ret %y"),
            "function 'f': value %y : f32[2, 64]: at arena+768:512, the arena has 1024 bytes");
  EXPECT_EQ(says(x, "%y = group { %a = neg %x : f32[2, 64] at arena+0:512; yield %a }; ret %y"),
            "function 'f': value %a: at arena+0:512, but values inside a group have no place");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at input+0; ret %y"),
            "function 'f': value %y : f32[2, 64]: at input+0, it is not that argument");
  EXPECT_EQ(says(x + " at input+1", "ret %x"), "function 'f': value %x : f32[2, 64]: at input+1, it is not that argument");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at output+1; ret %x, %x"),
            "function 'f': value %y : f32[2, 64]: at output+1, the function does not return it there");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at state+0; ret %y"), "function 'f': value %y : f32[2, 64]: at state+0, it is no state");

  // A value and its last reader's result do not share bytes; after that they may.
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at arena+0:512; %z = neg %y : f32[2, 64] at arena+500:512; ret %z", 2048),
            "function 'f': value %z at arena+500:512 overlaps %y at arena+0:512, which is alive too");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at arena+512:512; %z = neg %y : f32[2, 64] at arena+0:513; ret %z", 2048),
            "function 'f': value %z at arena+0:513 overlaps %y at arena+512:512, which is alive too");
  EXPECT_EQ(says(x,
                 "%y = neg %x : f32[2, 64] at arena+0:512; %z = neg %y : f32[2, 64] at arena+512:512; "
                 "%u = neg %z : f32[2, 64] at arena+0:512; ret %u"),
            "");
  EXPECT_EQ(says(x,
                 "%y = neg %x : f32[2, 64] at arena+0:512; %z = neg %x : f32[2, 64] at arena+512:512; "
                 "%u = group { %a = neg %z; %b = add %a, %y; yield %b } : f32[2, 64] at arena+0:512; ret %u"),
            "function 'f': value %u at arena+0:512 overlaps %y at arena+0:512, which is alive too");

  // What is written over was read by nodes that the writer waits for, by data or by its list.
  const std::string apart = "%y = neg %x : f32[2, 64] at arena+0:512; %z = neg %y : f32[2, 64] at output+0; ";
  EXPECT_EQ(says(x, apart + "%u = exp %x : f32[2, 64] at arena+256:512; ret %z, %u"),
            "function 'f': node '%u = exp %x : f32[2, 64] at arena+256:512': puts %u where %y was, without waiting for "
            "'%z = neg %y : f32[2, 64] at output+0'");
  EXPECT_EQ(says(x, apart + "%u = exp %x after(%z) : f32[2, 64] at arena+256:512; ret %z, %u"), "");
  EXPECT_EQ(says(x, apart + "%u = exp %z : f32[2, 64] at arena+256:512; ret %z, %u"), "");
  EXPECT_EQ(says(x, "%y = neg %x : f32[2, 64] at arena+0:512; %u = exp %x : f32[2, 64] at arena+0:512; ret %u"),
            "function 'f': node '%u = exp %x : f32[2, 64] at arena+0:512': puts %u where %y was, without waiting for "
            "'%y = neg %x : f32[2, 64] at arena+0:512'");
  // %b owns the end of %a's bytes and waited for it; %c takes the rest of them and must wait too.
  EXPECT_EQ(says(x,
                 "%a = neg %x : f32[2, 64] at arena+0:1024; %r = exp %a; %b = neg %r : f32[2, 64] at arena+512:512; "
                 "%c = exp %x after(%b) : f32[2, 64] at arena+0:512; %d = exp %c : f32[2, 64] at arena+1024:512; ret %b, %d",
                 2048),
            "");
  EXPECT_EQ(
      says(x,
           "%a = neg %x : f32[2, 64] at arena+0:1024; %r = exp %a; %b = neg %r : f32[2, 64] at arena+512:512; "
           "%c = exp %x : f32[2, 64] at arena+0:512; ret %b, %c",
           2048),
      "function 'f': node '%c = exp %x : f32[2, 64] at arena+0:512': puts %c where %a was, without waiting for '%r = exp %a : f32[2, 64]'");

  const std::string store = "%k = kv_store %kv, %x, %x, %slot, %pos : state f32[2, 2, 32]";
  EXPECT_EQ(says(cached + " at state+3", store + " at state+3; ret %k"), "");
  EXPECT_EQ(says(cached + " at state+3", store + " at state+1; ret %k"),
            "function 'f': value %k is at state+1, the state %kv it is a version of at state+3");
  EXPECT_EQ(says(cached + " at input+3", store + "; ret %k"),
            "function 'f': value %kv : state f32[2, 2, 32]: at input+3, a state is placed at its argument's state");
  EXPECT_EQ(says(x + " at arena+0:512", "ret %x"), "function 'f': argument %x: at arena+0:512, but arguments are not in the arena");
  EXPECT_EQ(says(cached + " at state+0", store + "; ret %k"),
            "function 'f': value %kv : state f32[2, 2, 32]: at state+0, it is not that argument");
  const std::string attention = "%a = attention %x, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}; ";
  EXPECT_EQ(says(cached, attention + store + "; ret %a, %k"), "");  // before there are places, the order of the block is enough
  EXPECT_EQ(says(cached + " at state+3", attention + "%k = kv_store %kv, %x, %x, %slot, %pos after(%a); ret %a, %k"), "");
  EXPECT_EQ(says(cached + " at state+3", attention + store + "; ret %a, %k"),
            "function 'f': node '" + store + "': replaces %kv without waiting for '" + attention.substr(0, attention.size() - 2) +
                " : f32[2, 64]'");
}

}  // namespace
}  // namespace heddle::ir::testing
