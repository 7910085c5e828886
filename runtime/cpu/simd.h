#pragma once
// Include before anything of Highway in a file with per-target code: which instruction sets the CPU device is compiled for.
// AVX3_DL (8-bit dot products) is off by default in Highway; SSSE3 without SSE4 is not worth a copy of the code.
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS HWY_SSSE3

/// Before a loop of few, constant rounds whose vectors must stay in registers.
#ifdef __clang__
#define HEDDLE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HEDDLE_UNROLL _Pragma("GCC unroll 16")
#endif
