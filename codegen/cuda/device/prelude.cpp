#include "codegen/cuda/device/prelude.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view common = R"(
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
#define INLINE __device__ __forceinline__
#define DYNAMIC_SHARED extern __shared__ __align__(16) char shared[]
#define F(x) float(x)
struct State { char* keys; char* values; long long capacity; };

// copies by each lane into its own part of a ring, in groups
INLINE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
INLINE void copy16(char* to, const char* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
INLINE void copy8(char* to, const char* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
INLINE void copy4(char* to, const char* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
INLINE void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> INLINE void groups_left() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// conversions
INLINE float low_f16(u32 x) {
  float y;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, l;}" : "=f"(y) : "r"(x));
  return y;
}
INLINE float high_f16(u32 x) {
  float y;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %1; cvt.f32.f16 %0, h;}" : "=f"(y) : "r"(x));
  return y;
}
INLINE u16 to_f16(float x) {
  u16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
INLINE float power_of_2(float x) {  // 0 for -infinity
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
INLINE float about_inverse(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
INLINE u32 pack_f16(float low, float high) {
  u32 y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
// tensor cores: c[16 x 8] += a[16 x 16] b[16 x 8]
INLINE void mma_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// d = a[16 x 16] b[16 x 8] on top of `c` everywhere
INLINE void mma_s8(int (&d)[4], u32 a0, u32 a1, u32 b, int c) {
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%7, %7, %7, %7};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a0), "r"(a1), "r"(b), "r"(c));
}
// warps of a team meet; ids from 1
INLINE void team_barrier(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
INLINE u32 word(const uint4& x, int i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }
INLINE void fence_system() { asm volatile("fence.acq_rel.sys;" ::: "memory"); }
)";

constexpr std::string_view programmatic = R"(
INLINE void wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
INLINE void trigger() { asm volatile("griddepcontrol.launch_dependents;"); }
)";

constexpr std::string_view plain = R"(
INLINE void wait() {}
INLINE void trigger() {}
)";

}  // namespace

std::string prelude(const ir::Target& target, std::string_view more) {
  std::string out(common.substr(1));
  out += target.has("programmatic_launch") ? programmatic : plain;
  out += more;
  out += end_of_prelude;
  return out;
}

}  // namespace heddle::codegen::cuda
