#pragma once
// Include before anything of Highway in a file with per-target code: which instruction sets the CPU device is compiled for.
// AVX3_DL (8-bit dot products) is off by default in Highway; SSSE3 without SSE4 is not worth a copy of the code. Sanitizers make the
// unrolled loops slow to compile (minutes), so they get fewer sets and no unrolling. Vectors of ARM's SVE have no size that a compiler
// knows, and cannot stand in arrays: NEON runs there.
#define HWY_WANT_AVX3_DL
#ifdef __aarch64__
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#elif defined(__SANITIZE_ADDRESS__)
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3)
#else
#define HWY_DISABLED_TARGETS HWY_SSSE3
#endif

/// Before a loop of few, constant rounds whose vectors must stay in registers.
#if defined(__SANITIZE_ADDRESS__)
#define HEDDLE_UNROLL
#elif defined(__clang__)
#define HEDDLE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HEDDLE_UNROLL _Pragma("GCC unroll 16")
#endif
