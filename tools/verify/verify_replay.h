#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/session/session.h"

/// One plan run in several ways that must give the same bits.
namespace heddle::tools {

struct ReplayWay {
  std::string name;  // "graph"
  std::function<Result<std::unique_ptr<runtime::Device>>()> make;
  bool device_draws = false;  // tokens are drawn by the device, each feeding the next step; only they are compared then
};

struct ReplayCheck {
  std::string way;
  std::size_t tokens = 0;            // compared
  std::optional<std::string> fault;  // "token 17 is 5, eager has 9"; "the logits of token 17 differ"
};

/// Feeds `ids` and then the likeliest token again and again, `tokens` in all, on a new device for every way; compares all but the first
/// with the first: the tokens, and every bit of the logits that they are drawn from. A device that cannot draw is an error only where it is
/// asked to.
Result<std::vector<ReplayCheck>> verify_replay(std::shared_ptr<const plan::Plan> plan, std::span<const std::int32_t> ids,
                                               std::int64_t tokens, std::span<const ReplayWay> ways);

/// The ways of a CUDA plan: kernel by kernel, as one graph, as one graph with plain edges, and the graph that draws its tokens.
std::vector<ReplayWay> cuda_ways(const plan::Plan& plan);

}  // namespace heddle::tools
