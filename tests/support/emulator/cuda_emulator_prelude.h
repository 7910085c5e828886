// Stands in for the prelude of emitted CUDA text, so that the rest runs on the host. Compiled with each kernel: the heavy part is in
// cuda_emulator.cpp.
#include <math.h>

#include "cuda_emulator_core.h"

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
struct int2 {
  int x, y;
};
struct int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  u32 x, y;
};
struct alignas(16) uint4 {
  u32 x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern "C" {
heddle::testing::EmulatorCore* emulator_core;
}
#define threadIdx (emulator_core->thread)
#define blockIdx (emulator_core->block)
#define blockDim (emulator_core->threads)
#define gridDim (emulator_core->blocks)

#define INLINE static inline
#define __device__
#define __global__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define DYNAMIC_SHARED char* const shared = emulator_core->shared
#define F(x) float(x)
struct State {
  char* keys;
  char* values;
  long long capacity;
};

INLINE void copy16(char* to, const char* from) { emulator_core->copy(to, from, 16); }
INLINE void copy8(char* to, const char* from) { emulator_core->copy(to, from, 8); }
INLINE void copy4(char* to, const char* from) { emulator_core->copy(to, from, 4); }
INLINE void end_group() { emulator_core->end_group(); }
template <int N>
INLINE void groups_left() {
  emulator_core->groups_left(N);
}
INLINE void wait() {}
INLINE void trigger() {}
INLINE void fence_system() {}
INLINE void __threadfence() {}
INLINE void __syncthreads() { emulator_core->barrier(); }
INLINE void team_barrier(int, int) { emulator_core->barrier(); }
INLINE void __syncwarp() { emulator_core->exchange(0, 0); }
template <class To, class From>
INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}
template <class T>
INLINE T __shfl_sync(u32, T value, int from) {
  return bits_as<T>(emulator_core->exchange(bits_as<u32>(value), unsigned(from)));
}
template <class T>
INLINE T __shfl_xor_sync(u32 mask, T value, int with) {
  return __shfl_sync(mask, value, int(threadIdx.x % 32) ^ with);
}
template <class T>
INLINE T __ldg(const T* p) {
  if (reinterpret_cast<unsigned long long>(p) % sizeof(T)) emulator_core->stop("a load is not aligned");
  return *p;
}
template <class T>
INLINE T __ldcg(const T* p) {
  return __ldg(p);
}
template <class T>
INLINE T atomicAdd(T* p, T x) {
  const T old = *p;
  *p += x;
  return old;
}
INLINE int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += int((signed char)(a >> i)) * int((signed char)(b >> i));
  return c;
}
INLINE float __uint_as_float(u32 x) { return bits_as<float>(x); }
INLINE u32 __float_as_uint(float x) { return bits_as<u32>(x); }
INLINE int __float2int_rn(float x) { return x != x ? 0 : int(nearbyintf(x)); }
INLINE u64 __umul64hi(u64 a, u64 b) { return u64((unsigned __int128)(a) * b >> 64); }
INLINE float rsqrtf(float x) { return 1 / sqrtf(x); }
INLINE void sincospif(float x, float* s, float* c) { *s = float(sin(M_PI * double(x))), *c = float(cos(M_PI * double(x))); }
INLINE float low_f16(u32 x) { return float(bits_as<_Float16>(u16(x))); }
INLINE float high_f16(u32 x) { return low_f16(x >> 16); }
INLINE u16 to_f16(float x) { return bits_as<u16>(_Float16(x)); }
INLINE u32 pack_f16(float low, float high) { return to_f16(low) | u32(to_f16(high)) << 16; }
INLINE u32 word(const uint4& x, int i) { return i == 0 ? x.x : i == 1 ? x.y : i == 2 ? x.z : x.w; }
INLINE u32 __byte_perm(u32 a, u32 b, u32 order) {
  const u64 both = u64(b) << 32 | a;
  u32 out = 0;
  for (int i = 0; i < 4; ++i) out |= u32(both >> 8 * (order >> 4 * i & 7) & 255) << 8 * i;
  return out;
}
// Lane 4g + j holds of the left-hand side rows g and g + 8, of the right-hand side column g, of the result columns 2j and 2j + 1.
INLINE void mma_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const int lane = int(threadIdx.x % 32), g = lane / 4, j = lane % 4;
  u32 rows[4][4], columns[2][4][2];
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 4; ++i) rows[i][k] = __shfl_sync(~0u, a[i], 4 * g + k);
    for (int n = 0; n < 2; ++n) columns[n][k][0] = __shfl_sync(~0u, b0, 4 * (2 * j + n) + k), columns[n][k][1] = __shfl_sync(~0u, b1, 4 * (2 * j + n) + k);
  }
  for (int i = 0; i < 4; ++i)
    for (int half = 0; half < 2; ++half)
      for (int k = 0; k < 4; ++k) {
        const u32 x = rows[i / 2 + 2 * half][k], y = columns[i % 2][k][half];
        c[i] += low_f16(x) * low_f16(y) + high_f16(x) * high_f16(y);
      }
}
INLINE void mma_s8(int (&d)[4], u32 a0, u32 a1, u32 b, int c) {
  for (int& x : d) x = c;
  const int lane = int(threadIdx.x % 32), g = lane / 4, j = lane % 4;
  for (int k = 0; k < 4; ++k) {
    const u32 rows[2] = {__shfl_sync(~0u, a0, 4 * g + k), __shfl_sync(~0u, a1, 4 * g + k)};
    const u32 columns[2] = {__shfl_sync(~0u, b, 4 * (2 * j) + k), __shfl_sync(~0u, b, 4 * (2 * j + 1) + k)};
    for (int i = 0; i < 4; ++i) d[i] = __dp4a(int(rows[i / 2]), int(columns[i % 2]), d[i]);
  }
}
INLINE float power_of_2(float x) { return exp2f(x); }
INLINE float about_inverse(float x) { return nextafterf(1 / x, 0); }
INLINE int min(int a, int b) { return a < b ? a : b; }
INLINE int max(int a, int b) { return a < b ? b : a; }
INLINE u32 max(u32 a, u32 b) { return a < b ? b : a; }
INLINE float max(float a, float b) { return fmaxf(a, b); }
INLINE float min(float a, float b) { return fminf(a, b); }

// ---- matrix_units.cpp

#define MATRIX_SHARED DYNAMIC_SHARED
INLINE void cluster_arrive() { emulator_core->cluster_arrive(); }
INLINE void await_cluster() { emulator_core->await_cluster(); }
INLINE float4 load_from_block(const float* p, int rank) { return *(const float4*)emulator_core->of_block(p, rank); }
INLINE int thread_again() { return int(threadIdx.x); }
INLINE int2 block_again() { return {int(blockIdx.x), int(blockIdx.y)}; }
template <class Op>
INLINE u32 each_half(Op op) {
  return bits_as<u16>(_Float16(op(0))) | u32(bits_as<u16>(_Float16(op(16)))) << 16;
}
INLINE double half_at(u32 x, int shift) { return double(low_f16(x >> shift)); }
INLINE u32 add_f16x2(u32 x, u32 y) {
  return each_half([&](int i) { return half_at(x, i) + half_at(y, i); });
}
INLINE u32 multiply_f16x2(u32 x, u32 y) {
  return each_half([&](int i) { return half_at(x, i) * half_at(y, i); });
}
INLINE u32 fma_f16x2(u32 x, u32 y, u32 z) {
  return each_half([&](int i) { return half_at(x, i) * half_at(y, i) + half_at(z, i); });
}
template <int THREADS>
INLINE void team_barrier(int team) {
  if (team != int(threadIdx.x) / THREADS) emulator_core->stop("a thread waits for another team");
  emulator_core->team_barrier(THREADS);
}
// What the lanes of every warp show each other.
static u32 shown[32][32][4];
template <int N>
INLINE u32 (&show(const u32 (&x)[N]))[32][4] {
  auto& mine = shown[threadIdx.x / 32];
  for (int i = 0; i < N; ++i) mine[threadIdx.x % 32][i] = x[i];
  __syncwarp();
  return mine;
}
INLINE void load_matrices(u32 (&x)[4], const char* row) {
  if ((unsigned long long)row % 16) emulator_core->stop("a row of a matrix is not aligned");
  u32 of_row[4];
  __builtin_memcpy(of_row, row, 16);
  const auto& all = show(of_row);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; ++i) x[i] = all[i * 8 + lane / 4][lane % 4];
  __syncwarp();
}
INLINE void load_transposed(u32 (&x)[4], const char* row) {
  u32 of_row[4];
  __builtin_memcpy(of_row, row, 16);
  const auto& all = show(of_row);
  const int lane = threadIdx.x % 32, column = lane / 4;
  const auto half = [&](int i, int r) { return all[i * 8 + r][column / 2] >> column % 2 * 16 & 0xffff; };
  for (int i = 0; i < 4; ++i) x[i] = half(i, lane % 4 * 2) | half(i, lane % 4 * 2 + 1) << 16;
  __syncwarp();
}
INLINE float half_of(const u32 (&registers)[4], int base, int step, int k) {  // k of 16, in registers base and base + step
  return low_f16(registers[k < 8 ? base : base + step] >> k % 2 * 16);
}
INLINE void multiply_16x8x16(float* d, const u32 (&a)[4], u32 b0, u32 b1) {
  const int lane = threadIdx.x % 32;
  u32 rows[2][4][4];
  const auto& of_a = show(a);
  for (int r = 0; r < 2; ++r)
    for (int t = 0; t < 4; ++t)
      for (int i = 0; i < 2; ++i) rows[r][t][i] = of_a[lane / 4 * 4 + t][r + 2 * i];
  __syncwarp();
  const u32 b[2] = {b0, b1};
  const auto& of_b = show(b);
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < 16; ++k)
      d[i] += half_of(rows[i / 2][k % 8 / 2], 0, 1, k) * half_of(of_b[(lane % 4 * 2 + i % 2) * 4 + k % 8 / 2], 0, 1, k);
  __syncwarp();
}
INLINE void begin_multiply() {}
INLINE void end_multiply() {}
template <int N>
INLINE void multiplies_left() {}
INLINE void fence_shared() {}
template <int N>
INLINE void multiply_rows(float (&d)[N], const u32 (&a)[4], const char* x) {
  const int lane = threadIdx.x % 32;
  const auto& of_a = show(a);
  const unsigned long long at = (unsigned long long)x, base = at & ~127ull;
  if (base % 1024) emulator_core->stop("a matrix in shared memory is not aligned");
  for (int i = 0; i < N; ++i) {
    const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const unsigned long long piece = (at % 128 / 16 + unsigned(k) / 8) ^ unsigned(column) % 8;
      d[i] += half_of(of_a[lane / 4 * 4 + k % 8 / 2], i / 2 % 2, 2, k) * low_f16(((const u16*)(base + unsigned(column) * 128 + piece * 16))[k % 8]);
    }
  }
  __syncwarp();
}
