#pragma once
#include <cstddef>

/// What this machine can do at best on one thread, measured at the first call.
namespace heddle::testing {

/// Bytes a second out of memory, asked for ahead.
double peak_read();
/// How memory is read: by loads alone, or as the kernels do (runtime/cpu/prefetch.h).
enum class Reading { plain, ahead };
/// Reads `bytes` bytes, as fast as one thread can in that way.
void read_memory(const void* from, std::size_t bytes, Reading how);
/// 8-bit products (multiply and add) a second of the fastest unit that the CPU device uses, operands in registers.
double peak_products();
/// "matrix unit", "vector unit, AVX3_DL", ...
const char* peak_unit();

}  // namespace heddle::testing
