#include "runtime/cpu/tiles.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace heddle::runtime::cpu::tiles {
namespace {

bool ask() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned tile = 1u << 24, int8 = 1u << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & tile) || !(d & int8)) return false;
  // The state of tiles is large, so Linux gives it only to programs that ask, and then to all their threads (since 5.16).
  constexpr long request_permission = 0x1023, tile_data = 18;
  return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace

bool usable() {
  static const bool yes = ask();
  return yes;
}

}  // namespace heddle::runtime::cpu::tiles
