#include "codegen/cuda/measure/matrix_peak.h"

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/device/matrix_units.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int threads = 256;

// Random bits, since multiplications of zeros or of equal numbers take less power, and power is what holds the clock down. Magnitudes from
// 1/8 to 2, so that sums of thousands of rounds stay finite.
constexpr std::string_view random_halves = R"(
INLINE u32 random_halves(u32& state) {
  state ^= state << 13, state ^= state >> 17, state ^= state << 5;
  return (state & 0x8fff8fff) | 0x30003000;
}
INLINE u32 seed() { return (blockIdx.x * 256 + threadIdx.x + 1) * 0x9e3779b9u | 1; }
)";

// Two warpgroups, each with 64 rows of its own by the 256 columns that they share, 256 deep: as much as fits in shared memory. While one
// waits for the end of its round the other's products keep the units busy. (To wait for all but the newest instead has the assembler put a
// wait behind each: it moves sums between registers at the loop's end.)
constexpr int blocks = 4, steps = 4, columns = 256, warpgroup_rows = 64;  // blocks of 64 halves of each row, in steps of 16
constexpr int a_bytes = warpgroup_rows * 128, b_bytes = columns * 128;
constexpr int warpgroup_shared = blocks * (b_bytes + threads / 128 * a_bytes);
constexpr std::string_view of_warpgroups = R"(
extern "C" __global__ void __launch_bounds__(256, 1) multiply(float* results, u64 rounds) {
  MATRIX_SHARED;
  u32 state = seed();
  for (int i = threadIdx.x; i < $shared / 4; i += 256) ((u32*)shared)[i] = random_halves(state);
  fence_shared();
  __syncthreads();
  const char* const b = shared;
  const char* const a = shared + $blocks * $bbytes + threadIdx.x / 128 * ($blocks * $abytes);
  float sums[128];
#pragma unroll
  for (int i = 0; i < 128; ++i) sums[i] = 0;
#pragma unroll 1
  for (u64 r = 0; r < rounds; ++r) {
    begin_multiply();
#pragma unroll
    for (int s = 0; s < $blocks * $steps; ++s)
      multiply_tiles(sums, a + s / $steps * $abytes + s % $steps * 32, b + s / $steps * $bbytes + s % $steps * 32);
    end_multiply();
    multiplies_left<0>();
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 128; ++i) sum += sums[i];
  results[threadIdx.x] = sum;
}
)";

// Sixteen products a warp that do not wait for each other, from registers.
constexpr int pieces = 4;
constexpr std::string_view of_warps = R"(
extern "C" __global__ void __launch_bounds__(256, 2) multiply(float* results, u64 rounds) {
  u32 state = seed(), a[$pieces][4], b[$pieces][2];
  float sums[$pieces][$pieces][4];
#pragma unroll
  for (int i = 0; i < $pieces; ++i) {
#pragma unroll
    for (int k = 0; k < 4; ++k) a[i][k] = random_halves(state);
    b[i][0] = random_halves(state), b[i][1] = random_halves(state);
#pragma unroll
    for (int j = 0; j < $pieces; ++j) sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0;
  }
#pragma unroll 1
  for (u64 r = 0; r < rounds; ++r)
#pragma unroll
    for (int i = 0; i < $pieces; ++i)
#pragma unroll
      for (int j = 0; j < $pieces; ++j) multiply_16x8x16(sums[i][j], a[i], b[j][0], b[j][1]);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < $pieces; ++i)
#pragma unroll
    for (int j = 0; j < $pieces; ++j) sum += sums[i][j][0] + sums[i][j][1] + sums[i][j][2] + sums[i][j][3];
  results[threadIdx.x] = sum;
}
)";

}  // namespace

MultiplyText multiply_text(const ir::Target& target) {
  const bool warpgroups = has_warpgroups(target);
  MultiplyText out;
  CudaText& kernel = out.kernel;
  kernel.entry = "multiply";
  kernel.text = prelude(target, (warpgroups ? matrix_prelude(columns) + tiles_prelude(columns) : matrix_prelude(0)) +
                                    std::string(random_halves.substr(1)));
  if (warpgroups)
    kernel.text += filled(of_warpgroups.substr(1), {{"shared", std::to_string(warpgroup_shared)},
                                                    {"blocks", std::to_string(blocks)},
                                                    {"steps", std::to_string(steps)},
                                                    {"abytes", std::to_string(a_bytes)},
                                                    {"bbytes", std::to_string(b_bytes)}});
  else kernel.text += filled(of_warps.substr(1), {{"pieces", std::to_string(pieces)}});
  kernel.block = {threads, 1, 1};
  kernel.grid_per_sm = warpgroups ? 1 : 2;
  kernel.dynamic_shared_bytes = warpgroups ? warpgroup_shared : 0;
  kernel.architecture_only = warpgroups;
  const double product = warpgroups ? 2.0 * warpgroup_rows * columns * 16 : 2.0 * 16 * 8 * 16;
  out.operations = product * (warpgroups ? threads / 128 * blocks * steps : threads / 32 * pieces * pieces);
  return out;
}

Result<MultiplyKernel> multiply_kernel(const ir::Target& target, const std::string& cache_dir) {
  const auto [text, operations] = multiply_text(target);
  const std::string architecture = architecture_of(target) + (text.architecture_only ? "a" : "");
  HEDDLE_ASSIGN(Compiled compiled, compile_cached(text.entry, text.text, architecture, cache_dir));
  if (text.architecture_only) compiled.ptx.clear();  // no newer GPU takes it
  auto plan = std::make_shared<plan::Plan>();
  plan->target = target.name, plan->backend = BackendKind::cuda;
  auto& kernel = plan->kernels.emplace_back();
  kernel.spec.name = text.entry;
  kernel.cuda.emplace();
  kernel.cuda->entry = text.entry;
  kernel.cuda->ptx = compiled.ptx, kernel.cuda->cubin = compiled.cubin;
  kernel.cuda->grid = {1, 1, 1}, kernel.cuda->block = {text.block[0], 1, 1};
  kernel.cuda->grid_per_sm = text.grid_per_sm;
  kernel.cuda->dynamic_shared_bytes = text.dynamic_shared_bytes;
  auto& entry = plan->entries.emplace_back();
  entry.nodes.emplace_back();
  return MultiplyKernel{std::move(plan), operations};
}

}  // namespace heddle::codegen::cuda
