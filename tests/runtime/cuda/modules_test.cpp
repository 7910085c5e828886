#include "runtime/cuda/driver/modules.h"

#include <gtest/gtest.h>

#include "cuda_plan.h"
#include "fake_driver.h"

namespace heddle::testing {
namespace {

class LoadModules : public ::testing::Test {
 protected:
  /// The modules of the plan on the GPU as `fake` now describes it.
  Result<Modules> load() {
    gpu.reset();
    gpu = std::move(*Gpu::open(fake.api(), 0, "cuda"));
    return Modules::load(*gpu, *p.plan);
  }
  std::string why() {
    const auto modules = load();
    return modules.ok() ? "" : modules.error().message();
  }
  FakeDriver fake;
  CudaPlan p;
  std::unique_ptr<Gpu> gpu;
};

TEST_F(LoadModules, LaunchShapesComeFromPlanAndDevice) {
  p.plan->kernels[0].cuda->grid_per_sm = 2;
  p.plan->kernels[1].cuda->dynamic_shared_bytes = 100000;
  p.plan->kernels[1].cuda->programmatic = true;
  p.plan->kernels[1].cuda->even_start = true;
  const auto modules = load();
  ASSERT_TRUE(modules.ok());
  EXPECT_EQ((*modules)[0].grid, (std::array<unsigned, 3>{264, 1, 1}));
  EXPECT_EQ((*modules)[0].name, "embed");
  EXPECT_FALSE((*modules)[0].programmatic);
  EXPECT_FALSE((*modules)[0].even_start);
  EXPECT_EQ((*modules)[1].grid, (std::array<unsigned, 3>{2, 1, 1}));
  EXPECT_EQ((*modules)[1].block, (std::array<unsigned, 3>{128, 1, 1}));
  EXPECT_TRUE((*modules)[1].programmatic);
  EXPECT_TRUE((*modules)[1].even_start);
  EXPECT_EQ(fake.function_attributes, (std::map<std::string, int>{{"project_1", 100000}}));
}

TEST_F(LoadModules, TakesTheCubinOnTheSameArchitectureAndNewerMinors) {
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();
  EXPECT_EQ(why(), "");
  p.make_images(80);
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();
  fake.compute_capability = 89;
  EXPECT_EQ(why(), "");
}

TEST_F(LoadModules, CompilesPtxForANewerArchitecture) {
  fake.compute_capability = 120;
  EXPECT_EQ(why(), "");
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();
  EXPECT_EQ(why(),
            "kernel 'embed': the plan is for sm_90 and has no PTX, GPU 0 (Fake H100) is sm_120: compile it with --target cuda:sm_120");
}

TEST_F(LoadModules, RefusesAPlanForANewerGpu) {
  fake.compute_capability = 80, fake.gpu_name = "Fake A100";
  EXPECT_EQ(why(), "the plan is for sm_90, GPU 0 (Fake A100) is sm_80: compile it with --target cuda:sm_80");
}

TEST_F(LoadModules, RefusesPtxThatTheDriverDoesNotKnow) {
  fake.compute_capability = 100, fake.newest_ptx = "8.3", fake.version = 12030;
  EXPECT_EQ(why(),
            "kernel 'embed': the driver (CUDA 12.3) is too old for the plan's PTX 8.4: update it, or compile it with --target cuda:sm_100");
}

TEST_F(LoadModules, FallsBackToPtxWhereTheCubinIsRefused) {
  for (auto& kernel : p.plan->kernels) kernel.cuda->cubin = {'?', 0};
  EXPECT_EQ(why(), "");
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();
  EXPECT_EQ(why(), "kernel 'embed': cuModuleLoadData of its cubin failed: error 200: error 200");
}

TEST_F(LoadModules, RefusesMoreSharedMemoryThanThereIs) {
  p.plan->kernels[3].cuda->dynamic_shared_bytes = 166000, p.plan->kernels[3].cuda->shared_bytes = 2000;
  EXPECT_EQ(why(), "");
  fake.most_shared_bytes = 166912;
  EXPECT_EQ(why(), "kernel 'output': needs 168000 bytes of shared memory, GPU 0 (Fake H100) has 166912");
}

TEST_F(LoadModules, LoadsOnlyWhatNodesUse) {
  p.plan->entries[0].nodes.clear();
  p.plan->entries[1].nodes.clear();  // prefill_4 has two nodes
  const auto modules = load();
  ASSERT_TRUE(modules.ok());
  EXPECT_EQ(fake.live(), "2 module, 1 context");
}

TEST_F(LoadModules, APlanForACardRunsOnItsArchitecture) {
  p.plan->target = "cuda:h200";  // the fake is an H100
  EXPECT_TRUE(load().ok());
  p.plan->target = "cuda:b200";
  EXPECT_EQ(why(), "the plan is for sm_100, GPU 0 (Fake H100) is sm_90: compile it with --target cuda:sm_90");
}

TEST_F(LoadModules, RefusesOtherTargets) {
  p.plan->target = "cpu", p.plan->backend = BackendKind::cpu;
  EXPECT_EQ(why(), "the plan is for target 'cpu', wanted cuda:sm_NN");
}

}  // namespace
}  // namespace heddle::testing
