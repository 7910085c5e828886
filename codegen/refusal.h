#pragma once
#include <optional>
#include <string>

namespace heddle::ir {
class Node;
}

namespace heddle::codegen {

/// Why something is not one kernel. Of a spec, which knows no nodes, the refusal names a place: an instruction, or the loop (`op` alone), or the
/// whole (nothing); SpecOfGroup::node_of says which node that was.
struct Refusal {
  struct Instr {
    unsigned program, index;  // of the spec's programs, the prologue first; in the program
  };
  const ir::Node* node = nullptr;  // the node that cannot be emitted; null: see above
  std::string reason;              // "rms_norm after the loop needs whole rows"
  std::string op = {};             // of a place in a spec, by its name in the IR
  std::optional<Instr> instr = {};
};

}  // namespace heddle::codegen
