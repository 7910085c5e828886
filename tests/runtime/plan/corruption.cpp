#include "corruption.h"

namespace heddle::plan {

CudaCode& as_cuda(Plan& plan) {
  plan.target = "cuda:sm_90";
  for (auto& kernel : plan.kernels) {
    kernel.cuda = std::make_unique<CudaCode>();
    kernel.cuda->entry = "k", kernel.cuda->ptx = ".version 8.0", kernel.cuda->grid = {132, 1, 1}, kernel.cuda->block = {256, 1, 1};
  }
  return *plan.kernels[2].cuda;
}

KernelSpec& with_sampling(Plan& plan) {
  auto& kernel = plan.kernels.emplace_back();
  kernel.spec = std::make_unique<KernelSpec>();
  kernel.spec.loop = LoopKind::sample, kernel.spec.rows = 1, kernel.spec.sample = std::make_unique<Sample>();
  auto& loop = *kernel.spec.sample();
  loop.logits = 0, loop.tokens = 1, loop.slots = 2, loop.positions = 3;
  auto& node = decode(plan).sampling.emplace_back();
  node.kernel = 14, node.after = {5};
  for (const ArgRole role : {ArgRole::buffer, ArgRole::tokens, ArgRole::slots, ArgRole::positions}) {
    const bool logits = role == ArgRole::buffer;
    auto& arg = kernel.spec.args.emplace_back();
    arg.role = role, arg.dtype = logits ? "f32" : "i32", arg.layout = Layout::rows, arg.written = !logits;
    arg.shape = logits ? std::vector<std::int64_t>{1, 48} : std::vector<std::int64_t>{1};
    auto& place = node.args.emplace_back();
    place.where = logits ? Where::output : Where::input, place.index = logits ? 0 : std::uint32_t(role) - std::uint32_t(ArgRole::tokens);
  }
  as_cuda(plan);
  return kernel.spec;
}

std::string refusal(const Case& c) {
  Plan plan = testing::tiny_plan();
  c.corrupt(plan);
  const std::string file = serialize(plan);
  auto parsed = parse_plan(std::as_bytes(std::span(file)), "a.plan");
  if (parsed.ok()) return "accepted";
  const std::string& message = parsed.error().message();
  return message.starts_with("a.plan: ") ? message.substr(8) : "no path in: " + message;
}

}  // namespace heddle::plan
