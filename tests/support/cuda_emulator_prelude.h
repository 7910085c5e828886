// Stands in for the prelude of emitted CUDA text, so that the rest runs on the host: blocks one after the other, the threads of a block as
// fibers that run until they wait for others. Shared memory holds NaNs at first. What it can show: wrong numbers, missing barriers (threads
// run in either order), reads of a ring before its copies arrive or writes into a slot still in use (copies are done at once or as late as
// possible), lanes that miss a shuffle. What it cannot: speed, memory ordering between blocks.
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned short u16;
struct int4 { int x, y, z, w; };
struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct Dim3 { unsigned x, y, z; };
static Dim3 threadIdx, blockIdx, blockDim, gridDim;

#define INLINE static inline
#define __device__
#define __global__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DYNAMIC_SHARED char* const shared = emulator::dynamic_shared
#define F(x) float(x)
struct State { char* keys; char* values; long long capacity; };

namespace emulator {

alignas(256) static char dynamic_shared[256 * 1024];

enum Waits { nothing, block, warp, done };
struct Copy { char* to; const char* from; int bytes; };
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  Waits waits = nothing;
  u32 value = 0;
  std::vector<std::vector<Copy>> groups{{}};
};
static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static Fiber* current;
static std::vector<u32> seen;  // what the lanes offered at their warp's last meeting
static bool late_copies;
static void (*kernel)(void**);
static void** parameters;

static void stop_until(Waits what) {
  current->waits = what;
  swapcontext(&current->context, &scheduler);
}
static void run_fiber() {
  kernel(parameters);
  current->waits = done;
  swapcontext(&current->context, &scheduler);
}
static u32 exchange(u32 value, unsigned from) {
  current->value = value;
  const unsigned base = threadIdx.x / 32 * 32;
  stop_until(warp);
  return seen[base + from];
}
static void copy(char* to, const char* from, int bytes) {
  if (reinterpret_cast<std::size_t>(to) % bytes || reinterpret_cast<std::size_t>(from) % bytes) {
    std::fprintf(stderr, "a copy of %d bytes is not aligned\n", bytes);
    std::abort();
  }
  if (late_copies) current->groups.back().push_back({to, from, bytes});
  else std::memcpy(to, from, bytes);
}
static void run_block(unsigned threads, bool backwards) {
  // Stacks are kept from block to block.
  if (fibers.size() < threads) fibers.resize(threads);
  seen.assign(fibers.size(), 0);
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& f = fibers[i];
    constexpr std::size_t bytes = 64 * 1024;
    if (!f.stack) f.stack = std::make_unique<char[]>(bytes);
    f.waits = nothing;
    f.groups.assign(1, {});
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = bytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, run_fiber, 0);
  }
  for (;;) {
    bool moved = false;
    for (unsigned n = 0; n < threads; ++n) {
      const unsigned i = backwards ? threads - 1 - n : n;
      if (fibers[i].waits != nothing) continue;
      current = &fibers[i];
      threadIdx = {i, 0, 0};
      swapcontext(&scheduler, &current->context);
      moved = true;
    }
    bool all_done = true, all_at_block = true;
    for (unsigned i = 0; i < threads; ++i) {
      all_done = all_done && fibers[i].waits == done;
      all_at_block = all_at_block && (fibers[i].waits == block || fibers[i].waits == done);
    }
    if (all_done) return;
    if (all_at_block) {
      for (unsigned i = 0; i < threads; ++i)
        if (fibers[i].waits == block) fibers[i].waits = nothing;
      continue;
    }
    for (unsigned w = 0; w < threads; w += 32) {
      bool all = true;
      for (unsigned i = w; i < w + 32; ++i) all = all && fibers[i].waits == warp;
      if (!all) continue;
      for (unsigned i = w; i < w + 32; ++i) seen[i] = fibers[i].value, fibers[i].waits = nothing;
      moved = true;
    }
    if (!moved) {
      std::fprintf(stderr, "the threads of a block wait for each other\n");
      std::abort();
    }
  }
}

}  // namespace emulator

extern "C" void emulator_launch(void (*kernel)(void**), const unsigned* grid, unsigned threads, void** parameters, int mode) {
  emulator::kernel = kernel;
  emulator::parameters = parameters;
  emulator::late_copies = mode & 1;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {threads, 1, 1};
  const unsigned blocks = grid[0] * grid[1] * grid[2];
  for (unsigned n = 0; n < blocks; ++n) {
    const unsigned b = mode & 2 ? blocks - 1 - n : n;
    blockIdx = {b % grid[0], b / grid[0] % grid[1], b / grid[0] / grid[1]};
    std::memset(emulator::dynamic_shared, 0xff, sizeof emulator::dynamic_shared);
    emulator::run_block(threads, mode & 2);
  }
}

INLINE void copy16(char* to, const char* from) { emulator::copy(to, from, 16); }
INLINE void copy8(char* to, const char* from) { emulator::copy(to, from, 8); }
INLINE void copy4(char* to, const char* from) { emulator::copy(to, from, 4); }
INLINE void end_group() { emulator::current->groups.emplace_back(); }
template <int N> INLINE void groups_left() {
  auto& groups = emulator::current->groups;  // the last one is open
  while (int(groups.size()) - 1 > N) {
    for (const auto& c : groups.front()) std::memcpy(c.to, c.from, c.bytes);
    groups.erase(groups.begin());
  }
}
INLINE void wait() {}
INLINE void trigger() {}
INLINE void fence_system() {}
INLINE void __threadfence() {}
INLINE void __syncthreads() { emulator::stop_until(emulator::block); }
INLINE void __syncwarp() { emulator::exchange(0, 0); }
template <class T> INLINE T __shfl_xor_sync(u32, T value, int with) {
  u32 bits;
  std::memcpy(&bits, &value, 4);
  bits = emulator::exchange(bits, (threadIdx.x % 32) ^ unsigned(with));
  std::memcpy(&value, &bits, 4);
  return value;
}
template <class T> INLINE T __shfl_sync(u32, T value, int from) {
  u32 bits;
  std::memcpy(&bits, &value, 4);
  bits = emulator::exchange(bits, unsigned(from));
  std::memcpy(&value, &bits, 4);
  return value;
}
template <class T> INLINE T __ldg(const T* p) {
  if (reinterpret_cast<std::size_t>(p) % sizeof(T)) {
    std::fprintf(stderr, "a load of %d bytes is not aligned\n", int(sizeof(T)));
    std::abort();
  }
  return *p;
}
template <class T> INLINE T __ldcg(const T* p) { return __ldg(p); }
template <class T> INLINE T atomicAdd(T* p, T x) { const T old = *p; *p += x; return old; }
INLINE int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += int((signed char)(a >> i)) * int((signed char)(b >> i));
  return c;
}
INLINE float __uint_as_float(u32 x) { float y; std::memcpy(&y, &x, 4); return y; }
INLINE u32 __float_as_uint(float x) { u32 y; std::memcpy(&y, &x, 4); return y; }
INLINE int __float2int_rn(float x) { return std::isnan(x) ? 0 : int(std::nearbyintf(x)); }
INLINE float rsqrtf(float x) { return 1 / std::sqrt(x); }
INLINE void sincospif(float x, float* s, float* c) { *s = float(std::sin(M_PI * double(x))), *c = float(std::cos(M_PI * double(x))); }
INLINE float low_f16(u32 x) { _Float16 h; const u16 b = u16(x); std::memcpy(&h, &b, 2); return float(h); }
INLINE float high_f16(u32 x) { return low_f16(x >> 16); }
INLINE u16 to_f16(float x) { const _Float16 h = _Float16(x); u16 b; std::memcpy(&b, &h, 2); return b; }
INLINE float power_of_2(float x) { return std::exp2(x); }
INLINE float about_inverse(float x) { return std::nextafterf(1 / x, 0); }
INLINE int min(int a, int b) { return a < b ? a : b; }
INLINE int max(int a, int b) { return a < b ? b : a; }
INLINE u32 max(u32 a, u32 b) { return a < b ? b : a; }
INLINE float max(float a, float b) { return fmaxf(a, b); }
INLINE float min(float a, float b) { return fminf(a, b); }
INLINE u64 __umul64hi(u64 a, u64 b) { return u64((unsigned __int128)(a) * b >> 64); }
using std::ceil, std::erf, std::exp, std::sqrt, std::tanh;
