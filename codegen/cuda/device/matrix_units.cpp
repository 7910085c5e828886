#include "codegen/cuda/device/matrix_units.h"

#include <fmt/format.h>

#include "codegen/cuda/source_text.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view common = R"(
// matrix units
#define MATRIX_SHARED extern __shared__ __align__(1024) char shared[]
INLINE u32 add_f16x2(u32 x, u32 y) {
  u32 z;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  return z;
}
INLINE u32 multiply_f16x2(u32 x, u32 y) {
  u32 z;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  return z;
}
INLINE u32 fma_f16x2(u32 x, u32 y, u32 z) {
  u32 o;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(o) : "r"(x), "r"(y), "r"(z));
  return o;
}
// threadIdx.x and blockIdx anew: what is computed from them need not stay in registers through a loop that has none to spare
INLINE int thread_again() {
  int x;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
  return x;
}
INLINE int2 block_again() {
  int2 b;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(b.x));
  asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(b.y));
  return b;
}
// a barrier of THREADS threads of the block, one after the other
template <int THREADS> INLINE void team_barrier(int team) { asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "n"(THREADS) : "memory"); }
// four matrices of 8 rows of 16 bytes: lane l says where row l % 8 of matrix l / 8 is, and gets word l % 4 of row l / 4 of each
INLINE void load_matrices(u32 (&x)[4], const char* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(shared_address(row))
               : "memory");
}
// the same, transposed: halves l % 4 * 2, + 1 of column l / 4
INLINE void load_transposed(u32 (&x)[4], const char* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(shared_address(row))
               : "memory");
}
INLINE void multiply_16x8x16(float* d, const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
)";

constexpr std::string_view warpgroups = R"(
INLINE void begin_multiply() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
INLINE void end_multiply() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> INLINE void multiplies_left() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// blocks of a cluster: what they wrote before they arrive can be read in all of them by who has waited
INLINE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
INLINE void await_cluster() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// four floats from the same place of the shared memory of block `rank`
INLINE float4 load_from_block(const float* p, int rank) {
  u32 at;
  float4 x;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared_address(p)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(x.x), "=f"(x.y), "=f"(x.z), "=f"(x.w) : "r"(at) : "memory");
  return x;
}
// what this thread wrote to shared memory is there for multiply_rows behind the next barrier
INLINE void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
)";

/// The sums of a warpgroup in a thread, as PTX names them and as the assembler's outputs.
struct Sums {
  int count;
  std::string places, outputs;
};
Sums sums_of(int columns) {
  Sums out{columns / 2, {}, {}};
  for (int i = 0; i < out.count; ++i) {
    out.places += fmt::format("{}%{}", i == 0 ? "" : ", ", i);
    out.outputs += fmt::format("{}\"+f\"(d[{}])", i == 0 ? "" : ", ", i);
  }
  return out;
}

}  // namespace

bool has_warpgroups(const ir::Target& target) { return target.has("warpgroups"); }

std::string matrix_prelude(int columns) {
  std::string out(common.substr(1));
  if (columns == 0) return out;
  out += warpgroups.substr(1);
  const auto [sums, places, outputs] = sums_of(columns);
  // The descriptor: pieces exchanged within 128 bytes, groups of 8 rows 1024 bytes apart.
  out += fmt::format(
      "INLINE void multiply_rows(float (&d)[{0}], const u32 (&a)[4], const char* x) {{\n"
      "  const u64 b = 1ull << 62 | 64ull << 32 | 1ull << 16 | (shared_address(x) >> 4);\n"
      "  asm volatile(\"wgmma.mma_async.sync.aligned.m64n{1}k16.f32.f16.f16 {{{2}}}, {{%{3}, %{4}, %{5}, %{6}}}, %{7}, 1, 1, 1, 0;\"\n"
      "               : {8} : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b));\n}}\n",
      sums, columns, places, sums, sums + 1, sums + 2, sums + 3, sums + 4, outputs);
  return out;
}

std::string tiles_prelude(int columns) {
  const auto [sums, places, outputs] = sums_of(columns);
  return fmt::format(
      "INLINE void multiply_tiles(float (&d)[{0}], const char* x, const char* y) {{\n"
      "  const u64 form = 1ull << 62 | 64ull << 32 | 1ull << 16;\n"
      "  const u64 a = form | (shared_address(x) >> 4), b = form | (shared_address(y) >> 4);\n"
      "  asm volatile(\"wgmma.mma_async.sync.aligned.m64n{1}k16.f32.f16.f16 {{{2}}}, %{3}, %{4}, 1, 1, 1, 0, 0;\"\n"
      "               : {5} : \"l\"(a), \"l\"(b));\n}}\n",
      sums, columns, places, sums, sums + 1, outputs);
}

}  // namespace heddle::codegen::cuda
