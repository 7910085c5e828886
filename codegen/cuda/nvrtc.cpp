#include "codegen/cuda/nvrtc.h"

#include <dlfcn.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <string_view>

namespace heddle::codegen::cuda {
namespace {

using Program = void*;

/// `text` without the ends of lines and blanks at its end.
std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\0' || text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

/// The number in front of `what` in the assembler's report: 40 of "Used 40 registers".
int number_before(std::string_view log, std::string_view what) {
  const std::size_t at = log.find(what);
  if (at == log.npos) return 0;
  std::size_t begin = at;
  while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') --begin;
  int number = 0;
  std::from_chars(log.data() + begin, log.data() + at, number);
  return number;
}

std::vector<std::string> usual_places() {
  std::vector<std::string> places;
  const std::array names{"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
  for (const std::string folder :
       {"", "/usr/local/cuda/lib64/", HEDDLE_CUDA_DIR "/nvidia/cu13/lib/", HEDDLE_CUDA_DIR "/nvidia/cuda_nvrtc/lib/"})
    for (const char* name : names) places.push_back(folder + name);
  return places;
}

/// NVRTC opens its own second library by bare name when it first compiles. Outside the loader's search path (a wheel's folder) that finds
/// it only if it is open already; it then stays open.
void open_builtins_beside(const std::string& library) {
  const std::filesystem::path folder = std::filesystem::path(library).parent_path();
  if (folder.empty()) return;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored))
    if (entry.path().filename().string().starts_with("libnvrtc-builtins.so.")) dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL);
}

}  // namespace

/// The functions of the library that are used (source: NVRTC's documentation; every result but 0 is an error).
struct Nvrtc::Library {
  void* handle = nullptr;
  int (*version)(int*, int*) = nullptr;
  int (*architectures_count)(int*) = nullptr;
  int (*architectures)(int*) = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*create)(Program*, const char* text, const char* name, int headers, const char* const*, const char* const*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  int (*compile)(Program, int options, const char* const*) = nullptr;
  int (*cubin_size)(Program, std::size_t*) = nullptr;
  int (*cubin)(Program, char*) = nullptr;
  int (*ptx_size)(Program, std::size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  int (*log_size)(Program, std::size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;

  ~Library() {
    if (handle) dlclose(handle);
  }
  bool load() {
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
      return function != nullptr;
    };
    return find(version, "nvrtcVersion") && find(architectures_count, "nvrtcGetNumSupportedArchs") &&
           find(architectures, "nvrtcGetSupportedArchs") && find(error_string, "nvrtcGetErrorString") &&
           find(create, "nvrtcCreateProgram") && find(destroy, "nvrtcDestroyProgram") && find(compile, "nvrtcCompileProgram") &&
           find(cubin_size, "nvrtcGetCUBINSize") && find(cubin, "nvrtcGetCUBIN") && find(ptx_size, "nvrtcGetPTXSize") &&
           find(ptx, "nvrtcGetPTX") && find(log_size, "nvrtcGetProgramLogSize") && find(log, "nvrtcGetProgramLog");
  }
};

Nvrtc::Nvrtc(std::unique_ptr<Library> library) : library_(std::move(library)) {}
Nvrtc::~Nvrtc() = default;

Result<std::shared_ptr<const Nvrtc>> Nvrtc::open() { return open(usual_places()); }

Result<std::shared_ptr<const Nvrtc>> Nvrtc::open(const std::vector<std::string>& candidates) {
  std::string first;
  for (const std::string& candidate : candidates) {
    auto library = std::make_unique<Library>();
    library->handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library->handle && library->load()) {
      open_builtins_beside(candidate);
      return std::shared_ptr<const Nvrtc>(new Nvrtc(std::move(library)));
    }
    if (first.empty()) first = library->handle ? candidate + ": it is too old" : std::string(dlerror());
  }
  return error("libnvrtc.so cannot be opened ({}): it is needed for --target cuda", first);
}

std::string Nvrtc::version() const {
  int major = 0, minor = 0;
  library_->version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

bool Nvrtc::supports(const std::string& architecture) const {
  int count = 0;
  if (library_->architectures_count(&count) != 0 || count <= 0) return false;
  std::vector<int> all(static_cast<std::size_t>(count));
  if (library_->architectures(all.data()) != 0) return false;
  for (int number : all)
    if (fmt::format("sm_{}", number) == architecture) return true;
  return false;
}

Result<Compiled> Nvrtc::compile(const std::string& name, const std::string& text, const std::string& architecture) const {
  const Library& nvrtc = *library_;
  struct Holder {
    const Library& nvrtc;
    Program program = nullptr;
    ~Holder() {
      if (program) nvrtc.destroy(&program);
    }
  } holder{nvrtc};
  const auto failed = [&](std::string_view what, int code) {
    return error("{}: {}: {} (NVRTC {})", name, what, nvrtc.error_string(code), version());
  };
  if (const int code = nvrtc.create(&holder.program, text.c_str(), (name + ".cu").c_str(), 0, nullptr, nullptr))
    return failed("cannot begin", code);

  const std::string arch = "-arch=" + architecture;
  const std::array options{"--std=c++17", arch.c_str(), "--ptxas-options=-v"};
  const int code = nvrtc.compile(holder.program, int(options.size()), options.data());

  Compiled out;
  std::size_t bytes = 0;
  if (nvrtc.log_size(holder.program, &bytes) == 0 && bytes > 1) {
    out.log.resize(bytes);
    nvrtc.log(holder.program, out.log.data());
    out.log = trimmed(std::move(out.log));
  }
  if (code != 0)
    return error("{}: does not compile for {} with NVRTC {}: {}\n{}", name, architecture, version(), nvrtc.error_string(code), out.log);

  if (const int c = nvrtc.cubin_size(holder.program, &bytes)) return failed("no cubin", c);
  out.cubin.resize(bytes);
  if (const int c = nvrtc.cubin(holder.program, reinterpret_cast<char*>(out.cubin.data()))) return failed("no cubin", c);
  if (const int c = nvrtc.ptx_size(holder.program, &bytes)) return failed("no PTX", c);
  out.ptx.resize(bytes);
  if (const int c = nvrtc.ptx(holder.program, out.ptx.data())) return failed("no PTX", c);
  out.ptx = trimmed(std::move(out.ptx));
  out.registers = number_before(out.log, " registers");
  out.shared_bytes = number_before(out.log, " bytes smem");
  out.spill_bytes = number_before(out.log, " bytes spill stores");
  return out;
}

}  // namespace heddle::codegen::cuda
