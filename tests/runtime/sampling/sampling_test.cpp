#include "runtime/sampling/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

namespace heddle::runtime {
namespace {

using Ids = std::vector<std::int32_t>;

std::int32_t draw(const std::vector<float>& logits, const SamplingOptions& options, std::uint64_t position, const Ids& history = {}) {
  auto token = sample(logits, options, history, position);
  HEDDLE_CHECK(token.ok(), "{}", token.error().message());
  return *token;
}

/// All knobs off.
SamplingOptions plain() { return {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0}; }

std::set<std::int32_t> ever_drawn(const std::vector<float>& logits, const SamplingOptions& options, const Ids& history = {}) {
  std::set<std::int32_t> out;
  for (int position = 0; position < 4000; ++position) out.insert(draw(logits, options, position, history));
  return out;
}

std::vector<float> logs(std::vector<double> probabilities) {
  std::vector<float> out;
  for (double p : probabilities) out.push_back(float(std::log(p)));
  return out;
}

// ---- Philox

TEST(Philox, KnownAnswers) {  // kat_vectors of Random123
  using C = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}), (C{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (C{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (C{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, IsTheTop24BitsOfTheFirstWord) {
  EXPECT_EQ(uniform(0, 0), float(0x6627e8) / float(1 << 24));
  const auto word = philox4x32_10({7, 9, 0, 0}, {3, 5})[0];
  EXPECT_EQ(uniform(5ull << 32 | 3, 9ull << 32 | 7), float(word >> 8) / float(1 << 24));
}

TEST(Uniform, DependsOnSeedAndPosition) {
  EXPECT_NE(uniform(1, 0), uniform(0, 0));
  EXPECT_NE(uniform(0, 1), uniform(0, 0));
  EXPECT_NE(uniform(1ull << 32, 0), uniform(0, 0));
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const float u = uniform(42, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.012);  // four standard deviations
}

// ---- Greedy

TEST(Sample, GreedyTakesTheLargestAndTheSmallestIdAmongEquals) {
  SamplingOptions greedy{.temperature = 0};
  EXPECT_EQ(draw({1, 3, 2}, greedy, 0), 1);
  EXPECT_EQ(draw({1, 3, 3, 3}, greedy, 5), 1);
  EXPECT_EQ(draw({-2, -2}, greedy, 9), 0);
  EXPECT_EQ(draw({-0.0f, 0.0f}, greedy, 9), 0);
}

TEST(Sample, GreedyLooksAfterThePenalty) {
  SamplingOptions greedy{.temperature = 0, .repeat_penalty = 2};
  EXPECT_EQ(draw({1, 3, 2}, greedy, 0, {1}), 2);
  EXPECT_EQ(draw({1, 3, 1.5}, greedy, 0, {1}), 1);  // 1.5 each
  EXPECT_EQ(draw({-1, -3}, greedy, 0, {0}), 0);     // -2 and -3
  EXPECT_EQ(draw({-1, -1.5}, greedy, 0, {0}), 1);
}

// ---- The knobs

TEST(Sample, PenaltyCountsATokenOnceAndOnlyTheLastOnes) {
  SamplingOptions o{.temperature = 0, .repeat_penalty = 2, .repeat_last_n = 3};
  EXPECT_EQ(draw({3, 1}, o, 0, {0, 0, 0}), 0);     // 1.5, not 0.375
  EXPECT_EQ(draw({3, 2}, o, 0, {0, 5, 6, 7}), 0);  // too long ago
  EXPECT_EQ(draw({3, 2}, o, 0, {5, 0, 6, 7}), 1);
  o.repeat_last_n = 0;
  EXPECT_EQ(draw({3, 2}, o, 0, {0}), 0);
  o.repeat_last_n = -1;
  EXPECT_EQ(draw({3, 2}, o, 0, {0, 5, 6, 7, 8, 9}), 1);
  EXPECT_EQ(draw({3, 2}, o, 0, {-1, 2, 1000000}), 0);  // no tokens of these logits
  o.repeat_penalty = 1;
  EXPECT_EQ(draw({3, 2}, o, 0, {0}), 0);
}

TEST(Sample, APenaltyThatOverflowsIsStillFinite) {
  SamplingOptions o = plain();
  o.repeat_penalty = 1e-30f;
  EXPECT_EQ(ever_drawn({1e30f, 1}, o, {0}), (std::set<std::int32_t>{0}));
  o.repeat_penalty = 1e30f;
  EXPECT_EQ(ever_drawn({-1e30f, 1}, o, {0}), (std::set<std::int32_t>{1}));
}

TEST(Sample, TopKKeepsTheBestAndTheSmallerIdAmongEquals) {
  SamplingOptions o = plain();
  o.top_k = 1;
  EXPECT_EQ(ever_drawn({1, 2, 2, 0}, o), (std::set<std::int32_t>{1}));
  o.top_k = 2;
  EXPECT_EQ(ever_drawn({1, 1, 2, 1}, o), (std::set<std::int32_t>{0, 2}));
  o.top_k = 3;
  EXPECT_EQ(ever_drawn({1, 1, 2, 1}, o), (std::set<std::int32_t>{0, 1, 2}));
  o.top_k = 4;
  EXPECT_EQ(ever_drawn({1, 1, 2, 1}, o).size(), 4u);
  o.top_k = 99;
  EXPECT_EQ(ever_drawn({1, 1, 2, 1}, o).size(), 4u);
  o.top_k = -1;
  EXPECT_EQ(ever_drawn({1, 1, 2, 1}, o).size(), 4u);
}

TEST(Sample, TopPKeepsTheFewestThatReachIt) {
  const auto logits = logs({0.1, 0.5, 0.15, 0.25});
  SamplingOptions o = plain();
  for (const auto& [p, kept] : std::map<float, std::set<std::int32_t>>{
           {0.0f, {1}}, {0.49f, {1}}, {0.51f, {1, 3}}, {0.74f, {1, 3}}, {0.76f, {1, 2, 3}}, {0.91f, {0, 1, 2, 3}}, {1.0f, {0, 1, 2, 3}}}) {
    o.top_p = p;
    EXPECT_EQ(ever_drawn(logits, o), kept) << p;
  }
  o.top_p = 0.5f;  // equal logits have equal weights: exactly half is reached
  EXPECT_EQ(ever_drawn({0, 0, 0, 0}, o), (std::set<std::int32_t>{0, 1}));
}

TEST(Sample, TopPIsOfWhatTopKLeft) {
  SamplingOptions o = plain();
  o.top_k = 2;
  o.top_p = 0.6f;  // 0.5 of 0.75 is more than 0.6
  EXPECT_EQ(ever_drawn(logs({0.1, 0.5, 0.15, 0.25}), o), (std::set<std::int32_t>{1}));
}

TEST(Sample, MinPIsRelativeToTheBest) {
  const auto logits = logs({0.1, 0.5, 0.15, 0.25});
  SamplingOptions o = plain();
  for (const auto& [p, kept] : std::map<float, std::set<std::int32_t>>{
           {0.19f, {0, 1, 2, 3}}, {0.21f, {1, 2, 3}}, {0.31f, {1, 3}}, {0.49f, {1, 3}}, {0.51f, {1}}, {1.0f, {1}}, {2.0f, {1}}}) {
    o.min_p = p;
    EXPECT_EQ(ever_drawn(logits, o), kept) << p;
  }
  o.min_p = 1;  // equals of the best are as good
  EXPECT_EQ(ever_drawn({0, 2, 2, 1}, o), (std::set<std::int32_t>{1, 2}));
}

TEST(Sample, TopPAndMinPLookAtTemperatureOne) {
  SamplingOptions o = plain();
  o.temperature = 100;  // nearly uniform, but the filters come before it
  o.min_p = 0.45f;
  EXPECT_EQ(ever_drawn(logs({0.1, 0.5, 0.15, 0.25}), o), (std::set<std::int32_t>{1, 3}));
  o.min_p = 0;
  o.top_p = 0.6f;
  EXPECT_EQ(ever_drawn(logs({0.1, 0.5, 0.15, 0.25}), o), (std::set<std::int32_t>{1, 3}));
}

TEST(Sample, ExtremeLogitsAndTemperatures) {
  const float largest = std::numeric_limits<float>::max();
  SamplingOptions o = plain();
  EXPECT_EQ(ever_drawn({-largest, largest, 0}, o), (std::set<std::int32_t>{1}));
  EXPECT_EQ(ever_drawn({-largest, -largest}, o), (std::set<std::int32_t>{0, 1}));
  o.temperature = 1e-38f;
  EXPECT_EQ(ever_drawn({1, 1.0001f, 1}, o), (std::set<std::int32_t>{1}));
  o.temperature = 1e38f;
  EXPECT_EQ(ever_drawn({-1000, 1000}, o), (std::set<std::int32_t>{0, 1}));
  EXPECT_EQ(draw({5}, SamplingOptions{}, 0), 0);
}

// ---- Distribution

double chi_squared(const std::vector<float>& logits, const SamplingOptions& options, const std::vector<double>& probabilities) {
  constexpr int draws = 20000;
  std::vector<int> seen(logits.size());
  for (int position = 0; position < draws; ++position) ++seen[draw(logits, options, position)];
  double sum = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const double expected = draws * probabilities[i];
    if (expected == 0) EXPECT_EQ(seen[i], 0) << i;
    else sum += (seen[i] - expected) * (seen[i] - expected) / expected;
  }
  return sum;
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature, const std::set<std::size_t>& kept) {
  double sum = 0;
  std::vector<double> out(logits.size());
  for (std::size_t i : kept) sum += out[i] = std::exp(logits[i] / temperature);
  for (double& p : out) p /= sum;
  return out;
}

TEST(Sample, DrawsFollowTheExactProbabilities) {
  const std::vector<float> logits = {0.3f, -1, 2, 1.5f, 0, -0.5f, 1, 0.9f};
  const std::set<std::size_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  // 7 degrees of freedom: a sum above 29.9 has probability 1e-4.
  EXPECT_LT(chi_squared(logits, plain(), softmax(logits, 1, all)), 29.9);
  SamplingOptions o = plain();
  o.temperature = 0.7f;
  o.seed = 12345;
  EXPECT_LT(chi_squared(logits, o, softmax(logits, 0.7f, all)), 29.9);
  EXPECT_GT(chi_squared(logits, o, softmax(logits, 1, all)), 29.9);  // it can tell
  o.top_k = 4;                                                       // 3 degrees: 21.1
  EXPECT_LT(chi_squared(logits, o, softmax(logits, 0.7f, {2, 3, 6, 7})), 21.1);
}

// ---- One definition

/// The definition in sampling.h word for word: sorts everything, keeps lists.
std::int32_t by_definition(std::vector<float> logits, const SamplingOptions& o, const Ids& history, std::uint64_t position) {
  std::set<std::int32_t> seen;
  for (std::size_t i = 0; i < history.size(); ++i)
    if (int(history.size() - i) <= o.repeat_last_n) seen.insert(history[i]);
  for (std::int32_t id : seen) logits[id] = logits[id] > 0 ? logits[id] / o.repeat_penalty : logits[id] * o.repeat_penalty;
  std::vector<std::int32_t> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = std::int32_t(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  if (o.temperature == 0) return order[0];
  const auto weight = [&logits, largest = double(logits[order[0]])](std::int32_t id, double t) {
    const double x = (double(logits[id]) - largest) / t;
    return x < -29 ? std::uint64_t(0) : std::uint64_t(std::floor(std::ldexp(std::exp(x), 40) + 0.5));
  };
  const auto sum = [&](double t) {
    std::uint64_t s = 0;
    for (std::int32_t id : order) s += weight(id, t);
    return s;
  };
  if (o.top_k > 0 && std::size_t(o.top_k) < order.size()) order.resize(o.top_k);
  if (o.top_p < 1) {
    const double wanted = std::ceil(double(o.top_p) * double(sum(1)));
    std::uint64_t reached = 0;
    std::size_t kept = 0;
    do reached += weight(order[kept++], 1);
    while (double(reached) < wanted && kept < order.size());
    order.resize(kept);
  }
  while (o.min_p > 0 && double(weight(order.back(), 1)) < std::ldexp(o.min_p, 40)) order.pop_back();
  const auto target = std::uint64_t(std::floor((long double)(sum(o.temperature)) * (long double)(uniform(o.seed, position))));
  std::sort(order.begin(), order.end());
  std::uint64_t reached = 0;
  for (std::int32_t id : order)
    if ((reached += weight(id, o.temperature)) > target) return id;
  return -1;
}

TEST(Sample, IsTheDefinitionWhateverTheOrderOfComputation) {
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t n = round < 1900 ? 1 + random() % 300 : 5000;
    std::vector<float> logits(n);
    const bool ties = random() % 2;
    for (float& l : logits) l = float(std::normal_distribution<double>(0, 3)(random));
    if (ties)
      for (float& l : logits) l = std::round(l);
    SamplingOptions o{.temperature = float(random() % 4) * 0.5f,
                      .top_k = int(random() % 3 ? random() % (n + 2) : 0),
                      .top_p = random() % 2 ? 1 : float(random() % 100) / 100,
                      .min_p = random() % 2 ? 0 : float(random() % 100) / 200,
                      .repeat_penalty = random() % 2 ? 1.0f : 1.3f,
                      .repeat_last_n = int(random() % 10),
                      .seed = random()};
    Ids history(random() % 12);
    for (auto& id : history) id = std::int32_t(random() % n);
    const std::uint64_t position = random() % 1000;
    ASSERT_EQ(draw(logits, o, position, history), by_definition(logits, o, history, position))
        << fmt::format("round {}: {} logits, temperature {}, top-k {}, top-p {}, min-p {}, penalty {} over {}", round, n, o.temperature,
                       o.top_k, o.top_p, o.min_p, o.repeat_penalty, o.repeat_last_n);
  }
}

TEST(Sample, WeightsAreRounded) {
  SamplingOptions o = plain();
  o.min_p = 0x1p-40f;  // a weight of 1
  o.temperature = 1e30f;
  const auto tiny = [](double weight) { return float(std::log(weight) - 40 * std::log(2)); };
  EXPECT_EQ(ever_drawn({0, tiny(0.6)}, o), (std::set<std::int32_t>{0, 1}));
  EXPECT_EQ(ever_drawn({0, tiny(0.4)}, o), (std::set<std::int32_t>{0}));
}

TEST(Sample, ADrawOnABorderIsTheTokenBehindIt) {
  const std::vector<float> logits(256, 1);
  int found = 0;
  for (std::uint64_t position = 0; found < 3 && position < 3000000; ++position) {
    const auto u = std::uint32_t(uniform(0, position) * 0x1p24f);
    if (u % (1 << 16) != 0) continue;
    EXPECT_EQ(draw(logits, plain(), position), std::int32_t(u >> 16));
    ++found;
  }
  EXPECT_EQ(found, 3);
}

TEST(Sample, HasNoMemory) {
  const std::vector<float> logits = {0.3f, -1, 2, 1.5f, 0, -0.5f, 1, 0.9f};
  Ids forward, backward;
  for (int i = 0; i < 50; ++i) forward.push_back(draw(logits, {}, i));
  for (int i = 49; i >= 0; --i) backward.push_back(draw(logits, {}, i));
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  EXPECT_GT(std::set<std::int32_t>(forward.begin(), forward.end()).size(), 2u);
}

// ---- Bad input

TEST(Sample, RefusesLogitsThatAreNotFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> logits(100);
  const auto message = [&](std::uint64_t position, float temperature) {
    SamplingOptions o;
    o.temperature = temperature;
    auto token = sample(logits, o, {}, position);
    return token.ok() ? "no error" : token.error().message();
  };
  logits[17] = NAN;
  EXPECT_EQ(message(3, 0.8f), "logit of token 17 at position 3 is nan");
  logits[17] = -NAN;
  EXPECT_EQ(message(3, 0), "logit of token 17 at position 3 is nan");
  logits[17] = inf;
  logits[50] = NAN;
  EXPECT_EQ(message(5000000000, 0.8f), "logit of token 17 at position 5000000000 is inf");
  logits[17] = 0;
  logits[50] = -inf;
  EXPECT_EQ(message(0, 0), "logit of token 50 at position 0 is -inf");
  logits.clear();
  EXPECT_EQ(message(4, 1), "logits at position 4: none, at least one is needed");
}

}  // namespace
}  // namespace heddle::runtime
