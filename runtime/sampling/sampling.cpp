#include "runtime/sampling/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace heddle::runtime {
namespace {

struct Candidate {
  float logit;
  std::int32_t id;
  std::uint64_t weight = 0;
};
using Candidates = std::vector<Candidate>;

bool better(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

Result<void> check_finite(std::span<const float> logits, std::uint64_t position) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) [[unlikely]] {
      const char* what = std::isnan(logits[i]) ? "nan" : logits[i] > 0 ? "inf" : "-inf";
      return error("logit of token {} at position {} is {}", i, position, what);
    }
  }
  return {};
}

bool penalises(const SamplingOptions& options) { return options.repeat_penalty != 1 && options.repeat_last_n != 0; }

std::vector<float> penalised(std::span<const float> logits, const SamplingOptions& options, std::span<const std::int32_t> history) {
  std::vector<float> out(logits.begin(), logits.end());
  if (options.repeat_last_n > 0 && std::size_t(options.repeat_last_n) < history.size()) history = history.last(options.repeat_last_n);
  constexpr float largest = std::numeric_limits<float>::max();
  for (std::int32_t id : history) {
    if (id < 0 || std::size_t(id) >= out.size()) continue;
    // From the given logits, so that a token seen twice counts once.
    const float logit = logits[id], r = options.repeat_penalty;
    out[id] = std::clamp(logit > 0 ? logit / r : logit * r, -largest, largest);
  }
  return out;
}

std::int32_t best_of(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best]) best = i;
  return std::int32_t(best);
}

/// The `k` best of all tokens, in no order.
Candidates top_k(std::span<const float> logits, int k) {
  Candidates all;
  if (k <= 0 || std::size_t(k) >= logits.size()) {
    all.reserve(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i) all.push_back({logits[i], std::int32_t(i)});
    return all;
  }
  constexpr int heap_pays = 1024;
  if (k > heap_pays) {
    all = top_k(logits, 0);
    std::nth_element(all.begin(), all.begin() + (k - 1), all.end(), better);
    all.resize(k);
    return all;
  }
  // The worst of the best so far is at the front. Ids come in ascending order, so a tie with it never wins.
  all.reserve(k);
  for (int i = 0; i < k; ++i) all.push_back({logits[i], i});
  std::make_heap(all.begin(), all.end(), better);
  for (std::size_t i = k; i < logits.size(); ++i) {
    if (logits[i] <= all.front().logit) continue;
    std::pop_heap(all.begin(), all.end(), better);
    all.back() = {logits[i], std::int32_t(i)};
    std::push_heap(all.begin(), all.end(), better);
  }
  return all;
}

constexpr double one = 0x1p40;  // weight of the best token

/// Gives each candidate its weight and returns the sum. Weights are integers, so that no order of summation changes a result.
std::uint64_t weigh(Candidates& candidates, double temperature) {
  float best = -std::numeric_limits<float>::max();
  for (const Candidate& c : candidates) best = std::max(best, c.logit);
  std::uint64_t sum = 0;
  for (Candidate& c : candidates) {
    const double x = (double(c.logit) - double(best)) / temperature;
    c.weight = x < -29 ? 0 : std::uint64_t(std::exp(x) * one + 0.5);  // 2^40 * e^-29 rounds to 0
    sum += c.weight;
  }
  return sum;
}

/// Keeps the fewest of the best whose weights reach `share` of the sum, one at least.
void top_p(Candidates& candidates, std::uint64_t sum, double share) {
  const auto wanted = std::uint64_t(std::ceil(std::max(share, 0.0) * double(sum)));
  // Those before `low` are kept and do not suffice, those from `high` on are not needed: halve what is between, then count one by one.
  std::uint64_t reached = 0;
  auto low = candidates.begin(), high = candidates.end();
  while (high - low > 64) {
    const auto middle = low + (high - low) / 2;
    std::nth_element(low, middle, high, better);
    const auto half = std::accumulate(low, middle, std::uint64_t(0), [](std::uint64_t s, const Candidate& c) { return s + c.weight; });
    if (reached + half >= wanted) {
      high = middle;
    } else {
      reached += half;
      low = middle;
    }
  }
  std::sort(low, high, better);
  if (low == candidates.begin()) reached += low++->weight;
  while (low != high && reached < wanted) reached += low++->weight;
  candidates.erase(low, candidates.end());
}

void min_p(Candidates& candidates, double share) {
  const double least = std::min(share, 1.0) * one;
  std::erase_if(candidates, [least](const Candidate& c) { return double(c.weight) < least; });
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t(0xD2511F53u) * counter[0], b = std::uint64_t(0xCD9E8D57u) * counter[2];
    counter = {std::uint32_t(b >> 32) ^ counter[1] ^ key[0], std::uint32_t(b), std::uint32_t(a >> 32) ^ counter[3] ^ key[1],
               std::uint32_t(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

namespace {

std::uint32_t uniform_24_bits(std::uint64_t seed, std::uint64_t position) {
  return philox4x32_10({std::uint32_t(position), std::uint32_t(position >> 32), 0, 0},
                       {std::uint32_t(seed), std::uint32_t(seed >> 32)})[0] >>
         8;
}

}  // namespace

float uniform(std::uint64_t seed, std::uint64_t position) { return float(uniform_24_bits(seed, position)) * 0x1p-24f; }

Result<std::int32_t> sample(std::span<const float> logits, const SamplingOptions& options, std::span<const std::int32_t> history,
                            std::uint64_t position) {
  if (logits.empty()) return error("logits at position {}: none, at least one is needed", position);
  HEDDLE_TRY(check_finite(logits, position));
  std::vector<float> changed;
  if (penalises(options)) logits = changed = penalised(logits, options, history);
  if (!(options.temperature > 0)) return best_of(logits);

  Candidates candidates = top_k(logits, options.top_k);
  if (options.top_p < 1 || options.min_p > 0) {
    const std::uint64_t sum = weigh(candidates, 1);
    if (options.top_p < 1) top_p(candidates, sum, options.top_p);
    if (options.min_p > 0) min_p(candidates, options.min_p);
  }
  const std::uint64_t sum = weigh(candidates, options.temperature);
  const auto target = std::uint64_t((unsigned __int128)(sum)*uniform_24_bits(options.seed, position) >> 24);
  const auto by_id = [](const Candidate& a, const Candidate& b) { return a.id < b.id; };
  if (!std::is_sorted(candidates.begin(), candidates.end(), by_id)) std::sort(candidates.begin(), candidates.end(), by_id);
  std::uint64_t reached = 0;
  for (const Candidate& c : candidates) {
    reached += c.weight;
    if (reached > target) return c.id;
  }
  HEDDLE_CHECK(false, "a draw of {} past the sum {}", target, sum);
}

}  // namespace heddle::runtime
