#include "corruption.h"

namespace heddle::plan {

CudaCode& as_cuda(Plan& plan) {
  plan.target = "cuda:sm_90", plan.backend = BackendKind::cuda;
  for (auto& kernel : plan.kernels) {
    kernel.cuda.emplace();
    kernel.cuda->entry = "k", kernel.cuda->ptx = ".version 8.0", kernel.cuda->grid = {132, 1, 1}, kernel.cuda->block = {256, 1, 1};
  }
  return *plan.kernels[2].cuda;
}

KernelSpec& with_sampling(Plan& plan) {
  auto& kernel = plan.kernels.emplace_back();
  kernel.spec.loop = Sample{.logits = 0, .tokens = 1, .slots = 2, .positions = 3};
  kernel.spec.rows = 1;
  auto& node = decode(plan).sampling.emplace_back();
  node.kernel = 14, node.after = {5};
  for (const ArgRole role : {ArgRole::buffer, ArgRole::tokens, ArgRole::slots, ArgRole::positions}) {
    const bool logits = role == ArgRole::buffer;
    auto& arg = kernel.spec.args.emplace_back();
    arg.role = role, arg.dtype = logits ? DType::f32 : DType::i32, arg.layout = Layout::rows, arg.written = !logits;
    arg.shape = logits ? std::vector<std::int64_t>{1, 48} : std::vector<std::int64_t>{1};
    auto& place = node.args.emplace_back();
    place.where = logits ? Where::output : Where::input, place.index = logits ? 0 : std::uint32_t(role) - std::uint32_t(ArgRole::tokens);
  }
  as_cuda(plan);
  return kernel.spec;
}

std::string refusal(const std::string& file) {
  auto parsed = parse_plan(std::as_bytes(std::span(file)), "a.plan");
  if (parsed.ok()) return "accepted";
  const std::string& message = parsed.error().message();
  return message.starts_with("a.plan: ") ? message.substr(8) : "no path in: " + message;
}

std::string refusal(const Case& c) {
  Plan plan = testing::tiny_plan();
  c.corrupt(plan);
  return refusal(serialize(plan));
}

}  // namespace heddle::plan
