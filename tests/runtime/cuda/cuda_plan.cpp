#include "cuda_plan.h"

#include <fmt/ranges.h>

#include <fstream>
#include <random>

#include "tests/support/tiny_plan.h"

namespace heddle::testing {

CudaPlan::CudaPlan(bool prompt) : plan(std::make_shared<plan::Plan>(prompt ? tiny_plan_with_prompt() : tiny_plan())) {
  plan->target = "cuda:sm_90", plan->backend = BackendKind::cuda;
  for (std::size_t i = 0; i < plan->kernels.size(); ++i) {
    plan::CudaCode& code = plan->kernels[i].cuda.emplace();
    code.entry = fmt::format("{}_{}", plan->kernels[i].spec.name, i);
    code.grid = {unsigned(i) + 1, 1, 1}, code.block = {128, 1, 1};
  }
  make_images();
  std::mt19937 random(1);
  file.resize(plan->files[0].bytes);
  for (std::byte& b : file) b = std::byte(random());
  plan->files[0].path = dir.file("tiny.bin");
  std::ofstream(plan->files[0].path, std::ios::binary).write(reinterpret_cast<const char*>(file.data()), std::streamsize(file.size()));
}

void CudaPlan::add_sampling(std::size_t index, std::int32_t max_top_k) {
  plan::EntryPoint& entry = plan->entries[index];
  plan::Kernel kernel;
  kernel.spec.name = "sample", kernel.spec.rows = entry.rows;
  kernel.spec.loop = plan::Sample{.logits = 0, .tokens = 1, .slots = 2, .positions = 3, .max_top_k = max_top_k};
  plan::Node node;
  node.kernel = std::uint32_t(plan->kernels.size());
  node.after = {std::uint32_t(entry.nodes.size() - 1)};
  const plan::ArgRole roles[] = {plan::ArgRole::buffer, plan::ArgRole::tokens, plan::ArgRole::slots, plan::ArgRole::positions};
  for (std::uint32_t i = 0; i < 4; ++i) {
    auto& arg = kernel.spec.args.emplace_back();
    arg.role = roles[i], arg.written = i > 0;
    auto& ref = node.args.emplace_back();
    ref.where = i == 0 ? plan::Where::output : plan::Where::input;
    ref.index = i == 0 ? 0 : i - 1;
  }
  kernel.cuda.emplace();
  kernel.cuda->entry = fmt::format("sample_{}", entry.rows);
  kernel.cuda->grid = {1, 1, 1}, kernel.cuda->block = {128, 1, 1};
  kernel.cuda->programmatic = plan->kernels[entry.nodes.back().kernel].cuda->programmatic;
  plan->kernels.push_back(std::move(kernel));
  entry.sampling.push_back(std::move(node));
  make_images();
}

void CudaPlan::make_images(int architecture) {
  plan->target = fmt::format("cuda:sm_{}", architecture);
  for (plan::Kernel& kernel : plan->kernels) {
    std::vector<int> bytes;
    for (const auto& arg : kernel.spec.args) bytes.push_back(arg.role == plan::ArgRole::state ? 24 : 8);
    if (kernel.cuda->scratch_bytes > 0) bytes.push_back(8);
    if (kernel.spec.sample()) bytes.push_back(8);
    const std::string what = fmt::format("{}:{}", kernel.cuda->entry, fmt::join(bytes, ","));
    const std::string cubin = fmt::format("cubin {} {}", architecture, what);
    kernel.cuda->cubin.assign(cubin.c_str(), cubin.c_str() + cubin.size() + 1);
    kernel.cuda->ptx = ".version 8.4 " + what;
  }
}

}  // namespace heddle::testing
