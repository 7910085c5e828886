#include "ir/base/build_id.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>

namespace heddle {
namespace {

/// The description of the GNU build-id note in a PT_NOTE segment, in hex; empty if it is not there.
std::string build_id_in(const char* notes, std::size_t size, std::size_t alignment) {
  const auto padded = [&](std::size_t n) { return (n + alignment - 1) / alignment * alignment; };
  for (std::size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes + at, sizeof(header));
    const std::size_t name = at + sizeof(header), description = at + padded(sizeof(header) + header.n_namesz);
    if (description + header.n_descsz > size) break;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(notes + name, "GNU", 4) == 0) {
      std::string hex;
      for (std::size_t i = 0; i < header.n_descsz; ++i) hex += fmt::format("{:02x}", static_cast<unsigned char>(notes[description + i]));
      return hex;
    }
    at = description + padded(header.n_descsz);
  }
  return {};
}

int visit(dl_phdr_info* object, std::size_t, void* result) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const char* notes = reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);
    std::string id = build_id_in(notes, segment.p_memsz, segment.p_align == 8 ? 8 : 4);
    if (id.empty()) continue;
    *static_cast<std::string*>(result) = std::move(id);
    break;
  }
  return 1;  // the first object is the program itself: stop there
}

}  // namespace

const std::string& build_id() {
  static const std::string id = [] {
    std::string found;
    dl_iterate_phdr(visit, &found);
    return found.empty() ? std::string("unknown") : found;
  }();
  return id;
}

}  // namespace heddle
