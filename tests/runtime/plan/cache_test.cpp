#include "runtime/plan/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/paths.h"
#include "tests/support/tiny_plan.h"

namespace heddle::plan {
namespace {
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::MatchesRegex;

const Key tiny_key = {{"model fingerprint", "1a2b"}, {"target", "cpu"}, {"disabled", ""}, {"build-id", "77aa"}};

Key with(Key key, std::string_view field, const std::string& value) {
  for (auto& [name, old] : key)
    if (name == field) old = value;
  return key;
}

std::vector<std::string> names_in(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

class Cache : public ::testing::Test {
 protected:
  void store(const Plan& plan, const std::string& model = "/models/tiny.gguf") {
    ASSERT_TRUE(write_plan(cache.path_for(model, key_of(plan)), plan).ok());
  }
  std::string why(const Key& key, const std::string& model = "/models/tiny.gguf") {
    Lookup lookup = cache.find(model, key);
    EXPECT_EQ(lookup.plan == nullptr, !lookup.why.empty());
    return lookup.why;
  }
  testing::TempDir dir;
  PlanCache cache{dir.file("heddle")};
};

TEST_F(Cache, NamesAreReadable) {
  EXPECT_THAT(cache.path_for("/models/tiny.gguf", tiny_key), MatchesRegex(".*/heddle/tiny-cpu-[0-9a-f]{16}\\.plan"));
  EXPECT_THAT(cache.path_for("/models/my model (1).Q4_K_M.gguf", with(tiny_key, "target", "cuda:sm_90")),
              MatchesRegex(".*/heddle/my_model__1_\\.Q4_K_M-cuda_sm_90-[0-9a-f]{16}\\.plan"));
  EXPECT_LT(fs::path(cache.path_for("/models/" + std::string(200, 'x') + ".gguf", tiny_key)).filename().string().size(), 120u);
}

TEST_F(Cache, VariantsLieSideBySideAndStalePlansAreReplaced) {
  const std::string path = cache.path_for("/models/tiny.gguf", tiny_key);
  EXPECT_EQ(cache.path_for("/models/../models/./tiny.gguf", tiny_key), path);
  EXPECT_NE(cache.path_for("/other/tiny.gguf", tiny_key), path);
  EXPECT_NE(cache.path_for("/models/tiny.gguf", with(tiny_key, "target", "cuda:sm_90")), path);
  EXPECT_NE(cache.path_for("/models/tiny.gguf", with(tiny_key, "disabled", "cse")), path);
  EXPECT_EQ(cache.path_for("/models/tiny.gguf", with(tiny_key, "model fingerprint", "ffff")), path);
  EXPECT_EQ(cache.path_for("/models/tiny.gguf", with(tiny_key, "build-id", "ffff")), path);
  EXPECT_FALSE(tells_variants_apart("nvrtc version"));
  EXPECT_FALSE(tells_variants_apart("program build"));
  EXPECT_TRUE(tells_variants_apart("pipeline"));
}

TEST_F(Cache, SaysWhyThereIsNoPlan) {
  EXPECT_EQ(why(tiny_key), "no plan yet");
  store(testing::tiny_plan());
  EXPECT_EQ(why(tiny_key), "");
  EXPECT_EQ(cache.find("/models/tiny.gguf", tiny_key).plan->entries[0].name, "decode_1");
  EXPECT_EQ(why(with(tiny_key, "model fingerprint", "3c4d")), "model fingerprint: 1a2b is not 3c4d");
  EXPECT_EQ(why(with(tiny_key, "build-id", "88bb")), "build-id: 77aa is not 88bb");
  EXPECT_EQ(why(with(with(tiny_key, "build-id", "88bb"), "model fingerprint", "3c4d")), "model fingerprint: 1a2b is not 3c4d");
  EXPECT_EQ(why(with(tiny_key, "disabled", "cse")), "no plan yet");
  Key more = tiny_key;
  more.emplace_back("nvrtc version", "12.4");
  EXPECT_EQ(why(more), "nvrtc version: (none) is not 12.4");
}

TEST_F(Cache, ADamagedPlanSaysSo) {
  store(testing::tiny_plan());
  const std::string path = cache.path_for("/models/tiny.gguf", tiny_key);
  fs::resize_file(path, fs::file_size(path) - 1);
  EXPECT_EQ(why(tiny_key), fmt::format("{}: {} bytes, the header needs {}", path, fs::file_size(path), fs::file_size(path) + 1));
  Plan plan = testing::tiny_plan();
  plan.entries[0].nodes[0].kernel = 99;
  store(plan);
  EXPECT_EQ(why(tiny_key), path + ": entries[0].nodes[0]: kernel is 99, there are 14");
  fs::remove(path);
  fs::create_directory(path);
  EXPECT_EQ(why(tiny_key), path + ": is a directory, wanted a file");
}

TEST(ExplainDifference, NamesTheFirstField) {
  EXPECT_EQ(explain_difference(tiny_key, tiny_key), "");
  EXPECT_EQ(explain_difference(tiny_key, {}), "model fingerprint: 1a2b is not (none)");
  EXPECT_EQ(explain_difference({}, tiny_key), "model fingerprint: (none) is not 1a2b");
  EXPECT_EQ(explain_difference(tiny_key, with(tiny_key, "disabled", "cse")), "disabled:  is not cse");
}

TEST_F(Cache, WritingReplacesAndLeavesNothingElse) {
  store(testing::tiny_plan());
  Plan plan = testing::tiny_plan();
  plan.remarks = {"second"};
  store(plan);
  EXPECT_THAT(names_in(cache.dir()), ElementsAre(MatchesRegex("tiny-cpu-.*\\.plan")));
  EXPECT_THAT(cache.find("/models/tiny.gguf", tiny_key).plan->remarks, ElementsAre("second"));
}

TEST_F(Cache, ListsGoodAndBadPlans) {
  EXPECT_TRUE(cache.list().empty());
  store(testing::tiny_plan());
  std::ofstream(cache.dir() + "/zz.plan") << "rubbish";
  std::ofstream(cache.dir() + "/notes.txt") << "mine";
  const auto items = cache.list();
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].path, cache.path_for("/models/tiny.gguf", tiny_key));
  EXPECT_EQ(items[0].state, "ok");
  EXPECT_EQ(items[0].model, "tiny.bin");
  EXPECT_EQ(items[0].target, "cpu");
  EXPECT_EQ(items[0].bytes, fs::file_size(items[0].path));
  EXPECT_EQ(items[1].state, "not a plan: it does not begin with 'heddle-plan'");
  EXPECT_EQ(items[1].bytes, 7u);
}

TEST_F(Cache, ClearTakesPlansAndOurTemporaryFilesOnly) {
  EXPECT_EQ(*cache.clear(), 0);
  store(testing::tiny_plan());
  std::ofstream(cache.dir() + "/zz.plan") << "rubbish";
  std::ofstream(cache.dir() + "/.heddle-123-0") << "half";
  std::ofstream(cache.dir() + "/notes.txt") << "mine";
  fs::create_directory(cache.dir() + "/folder.plan");
  fs::create_symlink(cache.dir() + "/notes.txt", cache.dir() + "/link.plan");
  EXPECT_EQ(*cache.clear(), 3);
  EXPECT_THAT(names_in(cache.dir()), ElementsAre("folder.plan", "link.plan", "notes.txt"));
}

}  // namespace
}  // namespace heddle::plan
