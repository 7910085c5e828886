#pragma once
#include <memory>
#include <string>

#include "ir/graph.h"

namespace heddle::ir {

/// The text of a module, function or node; `print(parse(print(m))) == print(m)`. Names the nameless values first, and renames the second of
/// two values with one name. A node's text has no newline at its end.
///
///   heddle-ir 1
///   module "tiny-llama"
///   target "cpu" {activations="q8_1", features="", launch_us=2, memory_gbps=30, worker_gflops=20, workers=8}
///   weight @blk.0.attn_q.weight : q4_K[256, 256] from "blk.0.attn_q.weight"[0, 256] layout "rows"
///   func @decode_1 decode rows=1 arena=4096 (%tokens: i32[1] at input+0, %kv.0: state f32[2, 2, 64] at state+1) {
///     %x = embed @token_embd.weight, %tokens : f32[1, 256] at arena+0:1024
///     %h, %kv.0.1 = group "qkv" after(%x) {
///       %n = rms_norm %x, @blk.0.attn_norm.weight {eps=1e-05} : f32[1, 256]
///       ...
///       yield %h.in, %kv.0.1.in
///     } : f32[1, 256] at arena+1024:1024, state f32[2, 2, 64] at state+1
///     ret %logits, %kv.0.1
///   }
///
/// Names are [A-Za-z0-9_.-]+ after the sigil: @ for weights and functions, % for values. `after(...)` names first results of the nodes
/// waited for; it stands behind the attributes. Numbers are in the shortest form that reads back exactly; "..." knows the escapes
/// \" \\ \n \t and \xHH. `# ...` is a comment.
std::string print(const Module& module);
std::string print(const Function& function);
std::string print(const Node& node);

/// The first line of a node's text, for messages: nothing is renamed, a nameless value is `%?`.
std::string head(const Node& node);

/// Reads such text. Only the first line must be there: `module`, `target` (and each of its fields), `from` and `layout` of a weight,
/// `arena`, the label of a group and every type that can be inferred may be left out. Attributes may come in any order. `;` may stand for a
/// line break. An error gives file:line:column, the line and a caret:
///   f.ir:4:12: unknown value %y
///     %x = add %y, %z
///              ^
/// The result has been parsed, not verified.
Result<std::unique_ptr<Module>> parse(std::string_view text, std::string_view file = "<ir>");

/// Graphviz text of a function; groups are clusters, nodes are labelled with name, op and type, edges that only order are dashed.
std::string to_dot(const Function& function);

}  // namespace heddle::ir
