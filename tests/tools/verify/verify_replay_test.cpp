#include "tools/verify/verify_replay.h"

#include <gtest/gtest.h>

#include "runtime/device/fake_device.h"
#include "tests/support/tiny_plan.h"

namespace heddle::tools {
namespace {

using Logits = runtime::FakeDevice::Logits;

/// Likes (token + 1) mod 48, as the fake device does by itself; `spoil` may change a row.
ReplayWay way(std::string name, std::function<void(std::int32_t position, std::vector<float>&)> spoil = {}) {
  return {std::move(name), [spoil]() -> Result<std::unique_ptr<runtime::Device>> {
            return std::make_unique<runtime::FakeDevice>([spoil](std::int32_t token, std::int32_t position) {
              std::vector<float> logits(48, 0.f);
              logits[std::size_t(token + 1) % 48] = 1;
              if (spoil) spoil(position, logits);
              return logits;
            });
          }};
}

std::string found(const std::vector<ReplayWay>& ways, std::int64_t tokens = 20) {
  const auto plan = std::make_shared<plan::Plan>(testing::tiny_plan());
  const std::vector<std::int32_t> ids = {3, 4, 5};
  const auto checks = verify_replay(plan, ids, tokens, ways);
  if (!checks.ok()) return checks.error().message();
  std::string text;
  for (const ReplayCheck& check : *checks) text += fmt::format("{} {}: {}; ", check.way, check.tokens, check.fault.value_or("equal"));
  return text;
}

TEST(VerifyReplay, EqualWaysAreEqual) {
  EXPECT_EQ(found({way("eager"), way("graph"), way("plain")}), "graph 20: equal; plain 20: equal; ");
}

TEST(VerifyReplay, ABitOfALogitThatIsNotDrawnCounts) {
  const auto last_bit = [](std::int32_t position, std::vector<float>& logits) {
    if (position == 10) logits[47] = 1e-42f;
  };
  // Position 2 is the prompt's last; the first token is drawn from its logits.
  EXPECT_EQ(found({way("eager"), way("graph", last_bit), way("plain")}),
            "graph 20: the logits of token 8 are not the bits of eager; plain 20: equal; ");
}

TEST(VerifyReplay, AnotherTokenIsTold) {
  const auto other = [](std::int32_t position, std::vector<float>& logits) {
    if (position == 4) logits[40] = 2;
  };
  EXPECT_EQ(found({way("eager"), way("graph", other)}), "graph 20: token 2 is 40, eager has 8; ");
}

TEST(VerifyReplay, ErrorsNameTheWay) {
  ReplayWay drawing = way("drawing");
  drawing.device_draws = true;
  EXPECT_EQ(found({way("eager"), drawing}), "drawing: fake cannot draw tokens of decode_1");
  const auto not_a_number = [](std::int32_t position, std::vector<float>& logits) {
    if (position == 5) logits[1] = std::numeric_limits<float>::quiet_NaN();
  };
  EXPECT_EQ(found({way("eager", not_a_number)}), "eager: logit of token 1 at position 6 is nan");
}

}  // namespace
}  // namespace heddle::tools
