#include "codegen/cuda/kernel_cache.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "codegen/cuda/target.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "runtime/plan/plan_file.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view magic = "heddle-kernel 1\n";  // then the hash of the rest, then the rest: a CudaCode
constexpr std::size_t header_bytes = magic.size() + sizeof(Hash128);

}  // namespace

std::string KernelCache::path_for(const std::string& text, const std::string& architecture, const std::string& version) const {
  const std::string key = fmt::format("{}\n{}\n{}", architecture, version, text);
  return fmt::format("{}/kernels/{}.kernel", dir_, hash128(key).hex());
}

std::optional<Compiled> KernelCache::find(const std::string& text, const std::string& architecture, const std::string& version) const {
  if (dir_.empty()) return std::nullopt;
  const auto file = MappedFile::open(path_for(text, architecture, version));
  if (!file.ok() || file->bytes().size() < header_bytes) return std::nullopt;
  const auto* begin = reinterpret_cast<const std::uint8_t*>(file->bytes().data());
  const std::uint8_t* body = begin + header_bytes;
  const std::size_t size = file->bytes().size() - header_bytes;
  if (std::memcmp(begin, magic.data(), magic.size()) != 0) return std::nullopt;
  const auto hash = hash128(std::as_bytes(std::span(body, size))).bytes();
  if (!std::equal(hash.begin(), hash.end(), begin + magic.size())) return std::nullopt;
  auto read = plan::parse_code({reinterpret_cast<const std::byte*>(body), size});
  if (!read || read->text != text) return std::nullopt;
  plan::CudaCode& code = *read;
  return Compiled{.cubin = std::move(code.cubin),
                  .ptx = std::move(code.ptx),
                  .registers = code.registers,
                  .shared_bytes = code.shared_bytes,
                  .spill_bytes = code.spill_bytes,
                  .log = {}};
}

Result<void> KernelCache::add(const std::string& text, const std::string& architecture, const std::string& version,
                              const Compiled& compiled) const {
  if (dir_.empty()) return {};
  plan::CudaCode code;
  code.text = text, code.ptx = compiled.ptx, code.cubin = compiled.cubin;
  code.registers = compiled.registers, code.shared_bytes = compiled.shared_bytes, code.spill_bytes = compiled.spill_bytes;
  const std::string body = plan::serialize(code);
  const auto hash = hash128(body).bytes();
  std::string file(magic);
  file.append(hash.begin(), hash.end());
  file += body;
  return write_file_atomically(path_for(text, architecture, version), std::as_bytes(std::span(file)));
}

Result<Compiled> compile_cached(const std::string& name, const std::string& text, const std::string& architecture,
                                const std::string& cache_dir) {
  HEDDLE_ASSIGN(const auto nvrtc, Nvrtc::open());
  const KernelCache cache(cache_dir);
  const std::string version = nvrtc->version();
  if (auto found = cache.find(text, architecture, version)) return std::move(*found);
  HEDDLE_ASSIGN(Compiled compiled, nvrtc->compile(name, text, architecture));
  (void)cache.add(text, architecture, version, compiled);  // a cache that cannot be written costs time only
  return compiled;
}

Result<CompileReport> compile_kernels(plan::Plan& plan, const ir::Target& target, const std::string& cache_dir, int threads) {
  const auto start = std::chrono::steady_clock::now();
  HEDDLE_ASSIGN(const auto nvrtc, Nvrtc::open());
  const std::string architecture = architecture_of(target), version = nvrtc->version();
  if (!nvrtc->supports(architecture)) return error("NVRTC {} cannot compile for {}", version, architecture);

  // Kernels of several entry points may have one text, which is compiled once.
  const KernelCache cache(cache_dir);
  const std::size_t count = plan.kernels.size();
  std::vector<CudaText> texts;
  std::vector<std::size_t> first(count);  // kernel with the same text
  std::map<std::string_view, std::size_t> by_text;
  texts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    HEDDLE_ASSIGN(auto text, emit(plan.kernels[i].spec, target));
    texts.push_back(std::move(text));
    first[i] = by_text.try_emplace(texts.back().text, i).first->second;
  }
  struct Outcome {
    std::optional<Error> error;
    std::string remark;
    bool compiled = false;
    std::optional<Compiled> code;
  };
  std::vector<Outcome> outcomes(count);
  const auto compile_one = [&](std::size_t i) -> Result<void> {
    const CudaText& text = texts[i];
    const std::string own = architecture + (text.architecture_only ? "a" : "");
    auto found = cache.find(text.text, own, version);
    if (!found) {
      HEDDLE_ASSIGN(found, nvrtc->compile(plan.kernels[i].spec.name, text.text, own));
      if (text.architecture_only) found->ptx.clear();  // no newer GPU takes it
      outcomes[i].compiled = true;
      if (auto added = cache.add(text.text, own, version, *found); !added.ok()) outcomes[i].remark = added.error().message();
    }
    outcomes[i].code = std::move(found);
    return {};
  };
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i; (i = next++) < count;)
      if (first[i] == i)
        if (auto done = compile_one(i); !done.ok()) outcomes[i].error = done.take_error();
  };
  std::vector<std::thread> team;
  for (int i = 1; i < threads && std::size_t(i) < count; ++i) team.emplace_back(work);
  work();
  for (std::thread& member : team) member.join();

  CompileReport report;
  report.kernels = int(count);
  for (Outcome& outcome : outcomes) {
    if (outcome.error) return std::move(*outcome.error);
    report.compiled += outcome.compiled;
    if (!outcome.remark.empty()) report.remarks.push_back(std::move(outcome.remark));
  }
  for (std::size_t i = 0; i < count; ++i) {
    const CudaText& text = texts[i];
    const Compiled& compiled = *outcomes[first[i]].code;
    plan::CudaCode& code = plan.kernels[i].cuda.emplace();
    code.entry = text.entry, code.text = text.text;
    code.ptx = compiled.ptx, code.cubin = compiled.cubin;
    code.registers = compiled.registers, code.shared_bytes = compiled.shared_bytes, code.spill_bytes = compiled.spill_bytes;
    code.grid.assign(text.grid.begin(), text.grid.end());
    code.block.assign(text.block.begin(), text.block.end());
    code.grid_per_sm = text.grid_per_sm;
    code.dynamic_shared_bytes = text.dynamic_shared_bytes;
    code.scratch_bytes = text.scratch_bytes;
    code.programmatic = text.programmatic;
    code.even_start = text.even_start;
  }
  report.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace heddle::codegen::cuda
