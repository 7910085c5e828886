#include "tools/compiler/kernel_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "ir/base/mapped_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_plan.h"

namespace heddle::tools {
namespace {

using ::testing::ElementsAre, ::testing::HasSubstr;

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

TEST(KernelFiles, EqualNamesAreToldApartAndLongOnesCut) {
  plan::Plan plan = testing::tiny_plan();
  for (auto& kernel : plan.kernels) kernel.spec.name = "same";
  plan.kernels[1].spec.name = std::string(300, 'x'), plan.kernels[2].spec.name = std::string(301, 'x');
  const auto kernels = kernels_of(plan, "");
  EXPECT_EQ(kernels[0].file_name, "same");
  EXPECT_EQ(kernels[3].file_name, "same.2");
  EXPECT_EQ(kernels[1].file_name, std::string(200, 'x'));
  EXPECT_EQ(kernels[2].file_name, std::string(200, 'x') + ".2");
  EXPECT_EQ(kernels_of(plan, "xx").size(), 2u);
  EXPECT_EQ(kernels_of(plan, "same")[1].file_name, "same.2") << "a filter changes no name";
}

TEST(KernelFiles, AreWrittenForADiff) {
  plan::Plan plan = testing::tiny_plan();
  const testing::TempDir folder;
  const std::string out = folder.file("a/b");
  auto kernels = kernels_of(plan, "attend");
  ASSERT_EQ(write_kernels(plan, {kernels.front()}, out).ok(), true);
  EXPECT_THAT(files_in(out), ElementsAre("attend.spec"));
  EXPECT_THAT(*read_text_file(out + "/attend.spec"), HasSubstr("attention: 2 heads of 16 on 1 kv heads"));

  plan::CudaCode& code = plan.kernels[kernels.front().index].cuda.emplace();
  code.text = "text", code.ptx = "ptx", code.cubin = {1, 2, 3};
  kernels = kernels_of(plan, "attend");
  ASSERT_EQ(write_kernels(plan, {kernels.front()}, out).ok(), true);
  EXPECT_THAT(files_in(out), ElementsAre("attend.cu", "attend.cubin", "attend.ptx", "attend.spec"));
  EXPECT_EQ(*read_text_file(out + "/attend.cu"), "text");
  EXPECT_EQ(std::filesystem::file_size(out + "/attend.cubin"), 3u);
}

}  // namespace
}  // namespace heddle::tools
