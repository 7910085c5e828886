#pragma once
#include <cstddef>
#include <vector>

#include "runtime/plan/plan.h"

/// How a prompt is cut into steps.
namespace heddle::runtime {

/// One step: the next `tokens` of the prompt in the first rows of entry point `entry`, whose other rows idle.
struct Chunk {
  std::size_t entry = 0, tokens = 0;
};

/// The steps that feed `count` tokens in the least time by the plan's microseconds of its entry points, and by the keys that earlier steps
/// left for the rows of later ones; of a prompt of more than twice the widest one's rows only the end, before it the steps that take the
/// least time for a row. In order; nothing for none. `logits`: those of the last token are wanted, so that the last step is a prompt entry
/// point, or a decode step of one row, as a single token always is. The plan must have the latter. The same plan and count give the same
/// steps.
std::vector<Chunk> chunks_of(const plan::Plan& plan, std::size_t count, bool logits);

}  // namespace heddle::runtime
