#include "runtime/cpu/dot/amx_tiles.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace heddle::runtime::cpu::tiles {
namespace {

struct Usable {
  bool bytes = false, bf16 = false;
};

Usable ask() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & tile)) return {};
  // The state of tiles is large, so Linux gives it only to programs that ask, and then to all their threads (since 5.16).
  constexpr long request_permission = 0x1023, tile_data = 18;
  if (::syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return {};
  return {(d & int8) != 0, (d & bf16) != 0};
#else
  return {};
#endif
}

const Usable& usable_products() {
  static const Usable products = ask();
  return products;
}

}  // namespace

bool usable() { return usable_products().bytes; }
bool usable_bf16() { return usable_products().bf16; }

}  // namespace heddle::runtime::cpu::tiles
