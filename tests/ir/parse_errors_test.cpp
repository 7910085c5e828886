#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

struct Case {
  const char *text, *message;
};

std::string message_of(std::string_view text) {
  const auto module = parse(text, "t.ir");
  return module.ok() ? "parsed" : module.error().message();
}

TEST(ParseErrors, OfAModule) {
  const Case cases[] = {
      {"", "t.ir:1:1: found the end of the text, wanted 'heddle-ir 1'\n\n^"},
      {"GGUF\x03\x01", "t.ir:1:1: found 'GGUF', wanted 'heddle-ir 1'\nGGUF??\n^"},
      {"heddle-ir 2\n", "t.ir:1:11: found '2', wanted version 1 of the IR's text\nheddle-ir 2\n          ^"},
      {"heddle-ir 1\nmodule tiny", "t.ir:2:8: found 'tiny', wanted the module's name in quotes\nmodule tiny\n       ^"},
      {"heddle-ir 1\nmodule \"tiny\nmore\"", "t.ir:2:8: the string does not end on its line\nmodule \"tiny\n       ^"},
      {"heddle-ir 1\nmodule \"a\\qb\"",
       "t.ir:2:8: unknown escape in '\"a\\qb\"': wanted \\\", \\\\, \\n, \\t or \\xHH\nmodule \"a\\qb\"\n       ^"},
      {"heddle-ir 1\nmodule \"a\"\nmodule \"b\"", "t.ir:3:1: module is given twice\nmodule \"b\"\n^"},
      {"heddle-ir 1\ntarget \"cpu\" {cores=8}",
       "t.ir:2:15: unknown field cores, a target has activations, features, launch_us, memory_gbps, worker_gflops, workers\ntarget \"cpu\" "
       "{cores=8}\n              ^"},
      {"heddle-ir 1\ntarget \"cpu\" {workers=8, workers=9}",
       "t.ir:2:26: workers is given twice\ntarget \"cpu\" {workers=8, workers=9}\n                         ^"},
      {"heddle-ir 1\ntarget \"cpu\" {workers=0}",
       "t.ir:2:23: workers is 0, wanted 1 to 1048576\ntarget \"cpu\" {workers=0}\n                      ^"},
      {"heddle-ir 1\ntarget \"cpu\" {launch_us=fast}",
       "t.ir:2:25: found 'fast', wanted a number\ntarget \"cpu\" {launch_us=fast}\n                        ^"},
      {"heddle-ir 1\nfunction @f", "t.ir:2:1: found 'function', wanted module, target, weight or func\nfunction @f\n^"},
      {"heddle-ir 1\nweight w : f32[4]", "t.ir:2:8: found 'w', wanted a weight's name (@name)\nweight w : f32[4]\n       ^"},
      {"heddle-ir 1\nweight @ : f32[4]", "t.ir:2:8: a name is missing after the sigil\nweight @ : f32[4]\n       ^"},
      {"heddle-ir 1\nweight @w f32[4]", "t.ir:2:11: found 'f32', wanted ':'\nweight @w f32[4]\n          ^"},
      {"heddle-ir 1\nweight @w : q9[4]", "t.ir:2:13: found 'q9', wanted a type (f32[1, 256])\nweight @w : q9[4]\n            ^"},
      {"heddle-ir 1\nweight @w : state f32[2, 1, 4]",
       "t.ir:2:8: weight @w is a state, wanted a tensor\nweight @w : state f32[2, 1, 4]\n       ^"},
      {"heddle-ir 1\nweight @w : q4_K[4, 100]",
       "t.ir:2:13: q4_K[4, 100]: rows are not whole blocks of 256\nweight @w : q4_K[4, 100]\n            ^"},
      {"heddle-ir 1\nweight @w : f32[4, 0]",
       "t.ir:2:13: f32[4, 0]: dimension is 0, wants at least 1\nweight @w : f32[4, 0]\n            ^"},
      {"heddle-ir 1\nweight @w : f32[-4]", "t.ir:2:13: f32[-4]: dimension is -4, wants at least 1\nweight @w : f32[-4]\n            ^"},
      {"heddle-ir 1\nweight @w : f32[4.5]", "t.ir:2:17: '4.5' is no integer, wanted a dimension\nweight @w : f32[4.5]\n                ^"},
      {"heddle-ir 1\nweight @w : f32[99999999999999999999]",
       "t.ir:2:17: '99999999999999999999' does not fit 64 bits\nweight @w : f32[99999999999999999999]\n                ^"},
      {"heddle-ir 1\nweight @w : f32[1048576, 1048576, 1048576]",
       "t.ir:2:13: f32[1048576, 1048576, 1048576]: more than 2^40 elements\nweight @w : f32[1048576, 1048576, 1048576]\n            ^"},
      {"heddle-ir 1\nweight @w : f32[1, 1, 1, 1, 1]",
       "t.ir:2:13: f32[1, 1, 1, 1, 1]: has 5 dimensions, wants at most 4\nweight @w : f32[1, 1, 1, 1, 1]\n            ^"},
      {"heddle-ir 1\nweight @w : f32[1, 1, 1, 1, 1, 1, 1, 1, 1]",
       "t.ir:2:41: more than 8 dimensions\nweight @w : f32[1, 1, 1, 1, 1, 1, 1, 1, 1]\n                                        ^"},
      {"heddle-ir 1\nweight @w : f32[4",
       "t.ir:2:18: found the end of the text, wanted a dimension or ']'\nweight @w : f32[4\n                 ^"},
      {"heddle-ir 1\nweight @w : f32[4] from \"t\"[0, 0]",
       "t.ir:2:32: the number of rows is 0, wanted 1 to 1125899906842624\nweight @w : f32[4] from \"t\"[0, 0]\n                            "
       "   ^"},
      {"heddle-ir 1\nweight @w : f32[4] from \"t\"",
       "t.ir:2:28: found the end of the text, wanted '['\nweight @w : f32[4] from \"t\"\n                           ^"},
      {"heddle-ir 1\nweight @w : f32[4] from \"\"[0, 1]",
       "t.ir:2:25: a tensor's name is empty\nweight @w : f32[4] from \"\"[0, 1]\n                        ^"},
      {"heddle-ir 1\nweight @w : f32[4] layout rows",
       "t.ir:2:27: found 'rows', wanted a layout in quotes\nweight @w : f32[4] layout rows\n                          ^"},
      {"heddle-ir 1\nweight @w : f32[4]\nweight @w : f32[4]", "t.ir:3:8: weight @w is given twice\nweight @w : f32[4]\n       ^"},
  };
  for (const Case& c : cases) EXPECT_EQ(message_of(c.text), c.message);
}

TEST(ParseErrors, OfAFunctionsFirstLine) {
  const Case cases[] = {
      {"heddle-ir 1\nfunc f", "t.ir:2:6: found 'f', wanted a function's name (@name)\nfunc f\n     ^"},
      {"heddle-ir 1\nfunc @f rows=1", "t.ir:2:9: unknown kind rows, wanted decode, prefill or prompt\nfunc @f rows=1\n        ^"},
      {"heddle-ir 1\nfunc @f decode (%x: f32[4]) { ret }",
       "t.ir:2:16: found '(', wanted 'rows='\nfunc @f decode (%x: f32[4]) { ret }\n               ^"},
      {"heddle-ir 1\nfunc @f decode rows=0 () { ret }",
       "t.ir:2:21: rows is 0, wanted 1 to 1048576\nfunc @f decode rows=0 () { ret }\n                    ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 arena=-1 () { ret }",
       "t.ir:2:29: arena is -1, wanted 0 to 1125899906842624\nfunc @f decode rows=1 arena=-1 () { ret }\n                            ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 (x: f32[4]) { ret }",
       "t.ir:2:24: found 'x', wanted an argument (%name: type) or ')'\nfunc @f decode rows=1 (x: f32[4]) { ret }\n                       "
       "^"},
      {"heddle-ir 1\nfunc @f decode rows=1 (%x f32[4]) { ret }",
       "t.ir:2:27: found 'f32', wanted ':'\nfunc @f decode rows=1 (%x f32[4]) { ret }\n                          ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 (%x: f32[4] at home+1) { ret }",
       "t.ir:2:38: found 'home', wanted arena, state, input or output\nfunc @f decode rows=1 (%x: f32[4] at home+1) { ret }\n              "
       "                       ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 (%x: f32[4] at arena+16) { ret }",
       "t.ir:2:46: found ')', wanted ':'\nfunc @f decode rows=1 (%x: f32[4] at arena+16) { ret }\n                                         "
       "    ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 (%x: f32[4], %x: f32[4]) { ret }",
       "t.ir:2:36: %x is defined twice\nfunc @f decode rows=1 (%x: f32[4], %x: f32[4]) { ret }\n                                   ^"},
      {"heddle-ir 1\nfunc @f decode rows=1 () { ret }\nfunc @f decode rows=1 () { ret }",
       "t.ir:3:6: function @f is given twice\nfunc @f decode rows=1 () { ret }\n     ^"},
  };
  for (const Case& c : cases) EXPECT_EQ(message_of(c.text), c.message);
}

TEST(ParseErrors, OfABody) {
  const Case cases[] = {
      {"  ret %x", "parsed"},
      {"  %y = neg %x; ret %y", "parsed"},
      {"  %y = add %x, %z", "t.ir:5:16: unknown value %z\n  %y = add %x, %z\n               ^"},
      {"  %y = add %x, @nobody", "t.ir:5:16: unknown weight @nobody\n  %y = add %x, @nobody\n               ^"},
      {"  %y = add %x %x", "t.ir:5:15: found '%x', wanted ','\n  %y = add %x %x\n              ^"},
      {"  %y = add %x,", "t.ir:6:1: found '}', wanted a value (%name) or a weight (@name)\n}\n^"},
      {"  %y = add %x", "t.ir:5:8: add: has 1 operand, wants 2\n  %y = add %x\n       ^"},
      {"  %y = add %x, %x, %x", "t.ir:5:8: add: has 3 operands, wants 2\n  %y = add %x, %x, %x\n       ^"},
      {"  %y add %x, %x", "t.ir:5:6: found 'add', wanted '='\n  %y add %x, %x\n     ^"},
      {"  %y, = add %x, %x", "t.ir:5:7: found '=', wanted a value (%name)\n  %y, = add %x, %x\n      ^"},
      {"  %y, %z = add %x, %x", "t.ir:5:12: add has one result, names given: 2\n  %y, %z = add %x, %x\n           ^"},
      {"  add %x, %x", "t.ir:5:3: add has one result, names given: 0\n  add %x, %x\n  ^"},
      {"  %y = addd %x, %x", "t.ir:5:8: unknown op 'addd'\n  %y = addd %x, %x\n       ^"},
      {"  %y = ret %x", "t.ir:5:3: ret has no results\n  %y = ret %x\n  ^"},
      {"  %x = neg %x", "t.ir:5:3: %x is defined twice\n  %x = neg %x\n  ^"},
      {"  %y = neg %x {eps=1}", "t.ir:5:15: neg has no attributes\n  %y = neg %x {eps=1}\n              ^"},
      {"  %y = rms_norm %x, @gain", "t.ir:5:8: rms_norm lacks attribute eps\n  %y = rms_norm %x, @gain\n       ^"},
      {"  %y = rms_norm %x, @gain {}", "t.ir:5:8: rms_norm lacks attribute eps\n  %y = rms_norm %x, @gain {}\n       ^"},
      {"  %y = rms_norm %x, @gain {epsilon=1}",
       "t.ir:5:28: unknown attribute epsilon, rms_norm has eps\n  %y = rms_norm %x, @gain {epsilon=1}\n                           ^"},
      {"  %y = rms_norm %x, @gain {eps=1, eps=1}",
       "t.ir:5:35: eps is given twice\n  %y = rms_norm %x, @gain {eps=1, eps=1}\n                                  ^"},
      {"  %y = rms_norm %x, @gain {eps=\"1\"}",
       "t.ir:5:32: found '\"1\"', wanted a value of eps: a number\n  %y = rms_norm %x, @gain {eps=\"1\"}\n                               "
       "^"},
      {"  %y = rms_norm %x, @gain {eps=1e999}",
       "t.ir:5:32: '1e999' does not fit a double\n  %y = rms_norm %x, @gain {eps=1e999}\n                               ^"},
      {"  %y = rms_norm %x, @gain {eps=-}",
       "t.ir:5:32: '-' is no number, wanted a value of eps: a number\n  %y = rms_norm %x, @gain {eps=-}\n                               ^"},
      {"  %y = rms_norm %x, @gain {eps=1 : f32[2, 64]",
       "t.ir:5:34: found ':', wanted '}'\n  %y = rms_norm %x, @gain {eps=1 : f32[2, 64]\n                                 ^"},
      {"  %y = quantize %x {format=q8_1}",
       "t.ir:5:28: found 'q8_1', wanted a value of format: a text in quotes\n  %y = quantize %x {format=q8_1}\n                           "
       "^"},
      {"  %y = rope %x, %pos {head_dim=1.5, dims=2, theta=1, pairing=\"halves\"}",
       "t.ir:5:32: '1.5' is no integer, wanted a value of head_dim: an integer\n  %y = rope %x, %pos {head_dim=1.5, dims=2, theta=1, "
       "pairing=\"halves\"}\n                               ^"},
      {"  %y = rope %x, %pos {head_dim=99999999999999999999, dims=2, theta=1, pairing=\"halves\"}",
       "t.ir:5:32: '99999999999999999999' does not fit 64 bits\n  %y = rope %x, %pos {head_dim=99999999999999999999, dims=2, theta=1, "
       "pairing=\"halves\"}\n                               ^"},
      {"  %y = matmul @w, %pos",
       "t.ir:5:8: matmul: x is i32[2], wants [rows, n] in f32 or an 8-bit activation format\n  %y = matmul @w, %pos\n       ^"},
      {"  %y = neg %x : f32[2, 64], f32[2, 64]",
       "t.ir:5:15: names given: 1, types given: 2\n  %y = neg %x : f32[2, 64], f32[2, 64]\n              ^"},
      {"  %y = neg %x : f32[2, 64] at arena+x",
       "t.ir:5:37: found 'x', wanted the place\n  %y = neg %x : f32[2, 64] at arena+x\n                                    ^"},
      {"  %y = neg %x after(%x)",
       "t.ir:5:21: %x is no node's result, after(...) names nodes\n  %y = neg %x after(%x)\n                    ^"},
      {"  %y = neg %x after %x", "t.ir:5:21: found '%x', wanted '('\n  %y = neg %x after %x\n                    ^"},
      {"  %y = neg %x ! f32[2, 64]", "t.ir:5:15: no token begins with this character\n  %y = neg %x ! f32[2, 64]\n              ^"},
      {"  %y = group { %z = group { %a = neg %x; yield %a }; yield %z }",
       "t.ir:5:21: a group inside a group: groups do not nest\n  %y = group { %z = group { %a = neg %x; yield %a }; yield %z }\n           "
       "         ^"},
      {"  %y = group { %a = neg %x; yield %a, %a }",
       "t.ir:5:8: names given: 1, values that the body yields: 2\n  %y = group { %a = neg %x; yield %a, %a }\n       ^"},
      {"  %y = group { %a = neg %x }", "t.ir:5:8: names given: 1, values that the body yields: 0\n  %y = group { %a = neg %x }\n       ^"},
      {"  %y = group { %a = neg %x; yield %a }\n  %z = neg %a",
       "t.ir:6:12: %a is inside a group and cannot be read here\n  %z = neg %a\n           ^"},
      {"  %y = group { %y = neg %x; yield %y }", "t.ir:5:3: %y is defined twice\n  %y = group { %y = neg %x; yield %y }\n  ^"},
      {"  %y = group label { %a = neg %x; yield %a }",
       "t.ir:5:14: found 'label', wanted '{'\n  %y = group label { %a = neg %x; yield %a }\n             ^"},
      {"  %y = group { %a = neg %x; yield %a", "t.ir:7:1: found the end of the text, wanted a node or '}'\n\n^"},
      {"  %y = neg %x\n}\n}", "t.ir:7:1: found '}', wanted module, target, weight or func\n}\n^"},
      {"\t%y = neg\t%z", "t.ir:5:11: unknown value %z\n\t%y = neg\t%z\n\t        \t^"},
  };
  for (const Case& c : cases) {
    const std::string text = std::string("heddle-ir 1\nweight @gain : f32[64]\nweight @w : q8_0[96, 64]\n") +
                             "func @f decode rows=2 (%x: f32[2, 64], %pos: i32[2]) {\n" + c.text + "\n}\n";
    EXPECT_EQ(message_of(text), c.message) << c.text;
  }
}

TEST(ParseErrors, LongAndUnprintableLinesAreCutAroundTheColumn) {
  const std::string message = message_of("heddle-ir 1\nmodule \"" + std::string(500, 'a') + "\x80\" ?");
  EXPECT_EQ(message, "t.ir:2:512: no token begins with this character\n" + std::string(57, 'a') + "?\" ?\n" + std::string(60, ' ') + "^");
}

TEST(ParseErrors, SizesAreLimited) {
  EXPECT_EQ(message_of(std::string((16u << 20) + 1, ' ')), "t.ir: 16777217 bytes of text, wanted at most 16777216");
  std::string many = "heddle-ir 1\n";
  for (int i = 0; i < 8193; ++i) many += fmt::format("weight @w{}:f32[1]\n", i);
  EXPECT_EQ(message_of(many), "t.ir:8194:8: more than 8192 weights\nweight @w8192:f32[1]\n       ^");
  many = "heddle-ir 1\nfunc @f decode rows=1 (%x: f32[1]) {\n";
  for (int i = 0; i < 32769; ++i) many += fmt::format("%{}=neg %x\n", i);
  EXPECT_EQ(message_of(many), "t.ir:32771:8: more than 32768 nodes in a function\n%32768=neg %x\n       ^");
}

}  // namespace
}  // namespace heddle::ir::testing
