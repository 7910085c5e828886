// The experts of every row from its logits: one warp for each row, whose lanes hold the logits and find the largest one after the other.
#include "codegen/cuda/kernels/experts/top_experts.h"

#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/expression.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view body = R"(
const int lane = threadIdx.x, row = blockIdx.x;
wait();
trigger();
float x[EACH];
u32 taken = 0;  // a bit for each of this lane's columns
#pragma unroll
for (int i = 0; i < EACH; ++i) {
  const int column = i * 32 + lane;
  x[i] = column < N ? __ldcg((const float*)a$logits + row * N + column) : LOWEST;
  if (!(x[i] >= LOWEST)) x[i] = LOWEST;  // not a number, or minus infinity: last, and still a column
  if (column >= N) taken |= 1u << i;
}
float top = 0, sum = 0, mine = 0;  // `mine`: the logit of the expert whose place is this lane
int expert = 0;
for (int j = 0; j < CHOSEN; ++j) {
  float best = 0;
  int at = N;
#pragma unroll
  for (int i = 0; i < EACH; ++i)
    if (!(taken >> i & 1) && (at == N || x[i] > best)) best = x[i], at = i * 32 + lane;
  for (int i = 16; i > 0; i /= 2) {
    const float other = __shfl_xor_sync(~0u, best, i);
    const int there = __shfl_xor_sync(~0u, at, i);
    if (there < N && (at == N || other > best || (other == best && there < at))) best = other, at = there;
  }
  if (at % 32 == lane) taken |= 1u << at / 32;
  if (j == 0) top = best;
  if (j % 32 == lane) mine = best, expert = at;
  if (NORMALIZED) sum += exp(best - top);
  if (j % 32 == 31 || j == CHOSEN - 1) {
    const int place = j / 32 * 32 + lane;
    if (place < CHOSEN) {
      ((int*)a$experts)[row * CHOSEN + place] = expert;
      ((float*)a$gates)[row * CHOSEN + place] = exp(mine - top);
    }
  }
}
if (!NORMALIZED) {
#pragma unroll
  for (int i = 0; i < EACH; ++i)
    if (i * 32 + lane < N) sum += exp(x[i] - top);
  sum = sum_of_warp(sum);
}
for (int place = lane; place < CHOSEN; place += 32) ((float*)a$gates)[row * CHOSEN + place] /= sum;
)";

}  // namespace

std::variant<TopExpertsPlan, Refusal> plan_top_experts(const plan::KernelSpec& spec, const ir::Target& target) {
  const std::int64_t n = spec.args[spec.top_experts()->logits].shape.back(), each = (n + 31) / 32;
  if (each > 32) return refused_loop(spec, fmt::format("{} columns are more than a warp's lanes mark, 1024", n));
  Launch launch;
  launch.grid = {std::uint32_t(spec.rows), 1, 1};
  launch.block = {32, 1, 1};
  launch.programmatic = target.has("programmatic_launch");
  return TopExpertsPlan{n, each, launch};
}

CudaText print_top_experts(const plan::KernelSpec& spec, const TopExpertsPlan& plan, const ir::Target& target) {
  const plan::TopExperts& loop = *spec.top_experts();
  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  out.put(program_prelude);
  print_signature(out, spec, 32, 1, false);
  out.line("constexpr int N = {}, EACH = {}, CHOSEN = {};", plan.columns, plan.each, spec.args[loop.experts].shape.back());
  out.line("constexpr bool NORMALIZED = {};", loop.normalized);
  out.line("constexpr float LOWEST = -3.4e38f;");
  out.put(body,
          {{"logits", std::to_string(loop.logits)}, {"experts", std::to_string(loop.experts)}, {"gates", std::to_string(loop.gates)}});
  out.close();
  return {plan.launch, spec.name, out.str()};
}

}  // namespace heddle::codegen::cuda
