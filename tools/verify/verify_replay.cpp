#include "tools/verify/verify_replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tools/verify/open_session.h"

namespace heddle::tools {
namespace {

/// What a way gave.
struct Trace {
  std::vector<std::int32_t> tokens;
  std::vector<std::uint64_t> logits;  // a hash of the bits that each token was drawn from; empty where the device draws
};

std::uint64_t hash_of(std::span<const float> values) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    hash = (hash ^ bits) * 0x100000001b3;
    hash ^= hash >> 29;
  }
  return hash;
}

runtime::SamplingOptions greedy() {
  runtime::SamplingOptions options;
  options.temperature = 0;
  options.repeat_penalty = 1;
  return options;
}

/// The entry point of one row that gives logits.
Result<std::size_t> decode_entry(const plan::Plan& plan) {
  for (std::size_t i = 0; i < plan.entries.size(); ++i)
    if (plan.entries[i].kind == EntryKind::decode && plan.entries[i].rows == 1) return i;
  return error("the plan has no decode entry point of one row");
}

Result<Trace> host_draws(runtime::Session& session, std::span<const std::int32_t> ids, std::int64_t count) {
  Trace trace;
  HEDDLE_ASSIGN(std::span<const float> logits, session.feed(ids));
  while (true) {
    trace.logits.push_back(hash_of(logits));
    HEDDLE_ASSIGN(const std::int32_t id, runtime::sample(logits, greedy(), trace.tokens, std::uint64_t(session.position())));
    trace.tokens.push_back(id);
    if (std::int64_t(trace.tokens.size()) == count) return trace;
    HEDDLE_ASSIGN(logits, session.feed({&id, 1}));
  }
}

Result<Trace> device_draws(runtime::Session& session, std::span<const std::int32_t> ids, std::int64_t count) {
  Trace trace;
  HEDDLE_ASSIGN(const std::size_t entry, decode_entry(session.plan()));
  runtime::Device& device = session.device();
  if (!device.can_generate(entry, greedy()))
    return error("{} cannot draw tokens of {}", device.description(), session.plan().entries[entry].name);
  // The first token is drawn from the prompt's own logits, as everywhere: all behind it then went through the same entry points.
  HEDDLE_ASSIGN(const std::span<const float> logits, session.feed(ids));
  HEDDLE_ASSIGN(const std::int32_t id, runtime::sample(logits, greedy(), trace.tokens, std::uint64_t(session.position())));
  trace.tokens.push_back(id);
  if (count == 1) return trace;
  const runtime::GenerationRow row{{id, 0, std::int32_t(ids.size())}, greedy(), trace.tokens, count - 1};
  HEDDLE_TRY(device.begin_generation(entry, {&row, 1}, {}));
  while (true) {
    HEDDLE_ASSIGN(const auto draws, device.next_draws());
    if (draws[0].kind == runtime::Draw::none) break;
    trace.tokens.push_back(draws[0].token);
  }
  HEDDLE_TRY(device.end_generation());
  return trace;
}

std::optional<std::string> first_difference(const Trace& first, const Trace& other, std::string_view first_name) {
  if (other.tokens.size() != first.tokens.size())
    return fmt::format("{} tokens, {} has {}", other.tokens.size(), first_name, first.tokens.size());
  for (std::size_t i = 0; i < first.tokens.size(); ++i) {
    if (other.tokens[i] != first.tokens[i])
      return fmt::format("token {} is {}, {} has {}", i, other.tokens[i], first_name, first.tokens[i]);
    if (!other.logits.empty() && other.logits[i] != first.logits[i])
      return fmt::format("the logits of token {} are not the bits of {}", i, first_name);
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<ReplayCheck>> verify_replay(std::shared_ptr<const plan::Plan> plan, std::span<const std::int32_t> ids,
                                               std::int64_t tokens, std::span<const ReplayWay> ways) {
  HEDDLE_CHECK(!ids.empty() && tokens > 0 && !ways.empty(), "{} ids, {} tokens, {} ways", ids.size(), tokens, ways.size());
  std::vector<ReplayCheck> checks;
  Trace first;
  for (const ReplayWay& way : ways) {
    auto trace = [&]() -> Result<Trace> {
      HEDDLE_ASSIGN(auto device, way.make());
      HEDDLE_ASSIGN(auto session, runtime::Session::open(std::move(device), plan, std::int64_t(ids.size()) + tokens));
      return way.device_draws ? device_draws(session, ids, tokens) : host_draws(session, ids, tokens);
    }();
    if (!trace.ok()) return trace.take_error().at(way.name);
    if (&way == &ways.front()) {
      first = std::move(*trace);
      continue;
    }
    checks.push_back({way.name, trace->tokens.size(), first_difference(first, *trace, ways.front().name)});
  }
  return checks;
}

std::vector<ReplayWay> cuda_ways(const plan::Plan& plan) {
  const auto way = [&](std::string name, DeviceOptions options, bool draws = false) {
    return ReplayWay{std::move(name), [&plan, options] { return make_device(plan, options); }, draws};
  };
  std::vector<ReplayWay> ways = {way("eager", {.no_graph = true}), way("graph", {}), way("graph with plain edges", {.plain_edges = true})};
  if (std::ranges::any_of(plan.entries,
                          [](const auto& entry) { return entry.kind == EntryKind::decode && entry.rows == 1 && !entry.sampling.empty(); }))
    ways.push_back(way("graph that draws its tokens", {}, true));
  return ways;
}

}  // namespace heddle::tools
