#include "codegen/cuda/measure/read_rate.h"

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view load = R"(
struct alignas(16) Word { u32 x, y, z, w; };
INLINE Word load(const Word* p) {
  Word v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}
)";

// As a decode kernel would: its first loads are on their way before it waits for the kernel in front, and it then reads something that one
// wrote.
constexpr std::string_view body = R"(
INLINE u32 folded(Word v) { return v.x ^ v.y ^ v.z ^ v.w; }
constexpr int IN_FLIGHT = 8;

extern "C" __global__ void __launch_bounds__(512) stream(const Word* from, u64 words, u32* results) {
  trigger();
  const u64 stride = (u64)gridDim.x * 512;
  u64 at = (u64)blockIdx.x * 512 + threadIdx.x;
  Word ahead[IN_FLIGHT];
#pragma unroll
  for (int i = 0; i < IN_FLIGHT; ++i) ahead[i] = at + i * stride < words ? load(from + at + i * stride) : Word{};
  wait();
  u32 sum = ((volatile u32*)results)[blockIdx.x * 31 % 1024];
#pragma unroll
  for (int i = 0; i < IN_FLIGHT; ++i) sum ^= folded(ahead[i]);
  for (at += IN_FLIGHT * stride; at < words; at += IN_FLIGHT * stride) {
#pragma unroll
    for (int i = 0; i < IN_FLIGHT; ++i) ahead[i] = at + i * stride < words ? load(from + at + i * stride) : Word{};
#pragma unroll
    for (int i = 0; i < IN_FLIGHT; ++i) sum ^= folded(ahead[i]);
  }
  for (int o = 16; o > 0; o /= 2) sum ^= __shfl_xor_sync(~0u, sum, o);
  if (threadIdx.x % 32 == 0) results[1024 + (blockIdx.x * 16 + threadIdx.x / 32) % 4096] = sum;
}

extern "C" __global__ void __launch_bounds__(512) fill(Word* to, u64 words) {
  for (u64 i = (u64)blockIdx.x * 512 + threadIdx.x; i < words; i += (u64)gridDim.x * 512) {
    u64 z = (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull, z ^= z >> 27;
    const u64 y = z * 0x94d049bb133111ebull;
    to[i] = Word{(u32)z, (u32)(z >> 32), (u32)y, (u32)(y >> 32)};
  }
}
)";

}  // namespace

Result<std::shared_ptr<const plan::Plan>> stream_plan(const ir::Target& target, const std::string& cache_dir) {
  const std::string text = prelude(target, load) + std::string(body.substr(1));
  HEDDLE_ASSIGN(const Compiled compiled, compile_cached("stream", text, architecture_of(target), cache_dir));
  auto plan = std::make_shared<plan::Plan>();
  plan->target = target.name, plan->backend = BackendKind::cuda;
  auto& entry = plan->entries.emplace_back();
  for (const std::uint32_t per_sm : {8u, 1u, 2u, 4u}) {
    auto& kernel = plan->kernels.emplace_back();
    const bool fills = plan->kernels.size() == 1;
    kernel.spec.name = fills ? "fill" : "stream";
    kernel.cuda.emplace();
    kernel.cuda->entry = kernel.spec.name;
    kernel.cuda->ptx = compiled.ptx, kernel.cuda->cubin = compiled.cubin;
    kernel.cuda->grid = {1, 1, 1}, kernel.cuda->block = {512, 1, 1};
    kernel.cuda->grid_per_sm = per_sm;
    kernel.cuda->programmatic = !fills && target.has("programmatic_launch");
    auto& node = entry.nodes.emplace_back();
    node.kernel = std::uint32_t(plan->kernels.size() - 1);
  }
  return std::shared_ptr<const plan::Plan>(std::move(plan));
}

}  // namespace heddle::codegen::cuda
