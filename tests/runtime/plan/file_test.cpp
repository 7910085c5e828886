#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <random>

#include "ir/base/mapped_file.h"
#include "runtime/plan/plan_file.h"
#include "runtime/plan/wire.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_plan.h"

namespace heddle::plan {
namespace {

std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// A plan file around any body, with a right header.
std::string file_around(const std::string& body) {
  std::string file(64, '\0');
  const std::uint32_t version = plan_version;
  const std::uint64_t length = body.size();
  const XXH128_hash_t hash = XXH3_128bits(body.data(), body.size());
  std::memcpy(file.data(), "heddle-plan", 11);
  std::memcpy(file.data() + 12, &version, 4);
  std::memcpy(file.data() + 16, &length, 8);
  std::memcpy(file.data() + 24, &hash.low64, 8);
  std::memcpy(file.data() + 32, &hash.high64, 8);
  return file + body;
}

std::string refusal(const std::string& file) {
  auto plan = parse_plan(bytes(file), "a.plan");
  return plan.ok() ? "accepted" : plan.error().message();
}

TEST(PlanFile, WhatIsWrittenIsRead) {
  const testing::TempDir dir;
  const Plan plan = testing::tiny_plan();
  const std::string path = dir.file("tiny.plan");
  ASSERT_TRUE(write_plan(path, plan).ok());
  auto read = read_plan(path);
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(serialize(**read), serialize(plan));
  EXPECT_EQ((*read)->entries[2].name, "prefill_4");
  EXPECT_EQ(std::get<Quantize>((*read)->kernels[1].spec.gemm()->prologue.instrs[1].op).format, DType::q8_1);
  EXPECT_EQ((*read)->vocabulary.tokens[5].text, "F");
  EXPECT_EQ((*read)->kernels[0].spec.gemm(), nullptr);
}

TEST(PlanFile, HeaderIsAsDocumented) {
  const std::string file = serialize(testing::tiny_plan());
  EXPECT_EQ(file.substr(0, 12), std::string("heddle-plan\0", 12));
  EXPECT_EQ(file, file_around(file.substr(64)));
}

TEST(PlanFile, BytesThatLieAnyhow) {
  const std::string file = serialize(testing::tiny_plan());
  for (std::size_t shift : {0, 1, 4}) {
    const std::string moved = std::string(shift, ' ') + file;
    auto plan = parse_plan(bytes(moved).subspan(shift), "a.plan");
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    EXPECT_EQ(serialize(**plan), file);
  }
}

TEST(PlanFile, ManyTokens) {
  Plan plan = testing::tiny_plan();
  plan.vocabulary.kind = "none";
  plan.vocabulary.tokens.clear();
  for (int i = 0; i < 300000; ++i) plan.vocabulary.merges.push_back(fmt::format("left{} right", i));
  ASSERT_TRUE(parse_plan(bytes(serialize(plan)), "a.plan").ok());
}

TEST(PlanFile, RefusalsOfTheHeader) {
  const std::string good = serialize(testing::tiny_plan());
  EXPECT_EQ(refusal(""), "a.plan: not a plan: it does not begin with 'heddle-plan'");
  EXPECT_EQ(refusal("GGUF" + good), "a.plan: not a plan: it does not begin with 'heddle-plan'");
  EXPECT_EQ(refusal(good.substr(0, 40)), "a.plan: 40 bytes, a plan's header has 64");

  const std::string small = file_around(std::string(100, 'x'));
  EXPECT_EQ(refusal(small.substr(0, 100)), "a.plan: 100 bytes, the header needs 164");
  EXPECT_EQ(refusal(small + "tail"), "a.plan: 168 bytes, the header needs 164");
  EXPECT_EQ(refusal(small), "a.plan: the body is not a well-formed FlatBuffer");

  std::string other = good;
  other[12] = 7;
  EXPECT_EQ(refusal(other), "a.plan: plan version 7, this program reads 3");
  other = good;
  other[23] = 1;
  EXPECT_EQ(refusal(other),
            fmt::format("a.plan: the header says {} bytes of body, at most 2147483646 are possible", (1ull << 56) + good.size() - 64));
  other = good;
  other[50] = 1;
  EXPECT_EQ(refusal(other), "a.plan: byte 50 of the header is not zero: the file is damaged");
  other = good;
  other[100] ^= 1;
  EXPECT_EQ(refusal(other), "a.plan: checksum does not match: the file is damaged");
  EXPECT_EQ(refusal(file_around("")), "a.plan: the body is not a well-formed FlatBuffer");
}

TEST(PlanFile, RefusalsOfTheFile) {
  const testing::TempDir dir;
  EXPECT_EQ(read_plan(dir.file("no.plan")).error().message(), dir.file("no.plan") + ": cannot open: No such file or directory");
  std::ofstream(dir.file("a.plan")) << "text";
  EXPECT_EQ(read_plan(dir.file("a.plan")).error().message(), dir.file("a.plan") + ": not a plan: it does not begin with 'heddle-plan'");
}

TEST(PlanFile, EveryTruncationIsRefused) {
  const std::string good = serialize(testing::tiny_plan());
  for (std::size_t size = 0; size < good.size(); size += 97) EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
}

TEST(PlanFile, EveryFlippedBitIsRefused) {
  const std::string good = serialize(testing::tiny_plan());
  ASSERT_EQ(refusal(good), "accepted");
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = random() % good.size(), bit = random() % 8;
    std::string flipped = good;
    flipped[at] = char(flipped[at] ^ (1 << bit));
    EXPECT_NE(refusal(flipped), "accepted") << "byte " << at << " bit " << bit;
  }
  for (std::size_t at = 0; at < 64 * 8; ++at) {  // all of the header
    std::string flipped = good;
    flipped[at / 8] = char(flipped[at / 8] ^ (1 << at % 8));
    EXPECT_NE(refusal(flipped), "accepted") << "header bit " << at;
  }
}

// With the checksum made right again, flipped bits reach the verifier and the check. Some change a text or a score and are good plans; none
// may crash, and what passes must pass again.
TEST(PlanFile, FlippedBitsBehindARightChecksum) {
  const std::string good = serialize(testing::tiny_plan());
  std::mt19937 random(2);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string body = good.substr(64);
    for (int flips = 1 + int(random() % 3); flips > 0; --flips) {
      const std::size_t at = random() % body.size();
      body[at] = char(body[at] ^ (1 << random() % 8));
    }
    auto plan = parse_plan(bytes(file_around(body)), "a.plan");
    if (!plan.ok()) ++refused;
    else EXPECT_TRUE(check(**plan).ok());
  }
  EXPECT_GT(refused, 1000);
}

/// A body in which `count` remarks are one and the same string.
std::string body_with_shared_remarks(std::size_t count) {
  flatbuffers::FlatBufferBuilder builder;
  const auto text = builder.CreateString(std::string(1 << 16, 'x'));
  const auto remarks = builder.CreateVector(std::vector(count, text));
  wire::PlanBuilder plan(builder);
  plan.add_remarks(remarks);
  builder.Finish(plan.Finish());
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

TEST(PlanFile, ASmallFileThatUnpacksToALargePlanIsRefused) {
  EXPECT_EQ(refusal(file_around(body_with_shared_remarks(1))), "a.plan: target is '', which is unknown");
  EXPECT_EQ(refusal(file_around(body_with_shared_remarks(1000000))), "a.plan: the body holds the same bytes more than once");
}

TEST(PlanFile, SummaryReadsNoMeaning) {
  const testing::TempDir dir;
  Plan plan = testing::tiny_plan();
  plan.kernels[0].spec.rows = 17;
  ASSERT_TRUE(write_plan(dir.file("a.plan"), plan).ok());
  auto summary = summarize_plan(dir.file("a.plan"));
  ASSERT_TRUE(summary.ok()) << summary.error().message();
  EXPECT_EQ(summary->model, "tiny.bin");
  EXPECT_EQ(summary->target, "cpu");
}

}  // namespace
}  // namespace heddle::plan
