#include "tools/compiler/kernel_files.h"

#include <map>
#include <span>

#include "codegen/spec_text.h"
#include "ir/base/mapped_file.h"

namespace heddle::tools {
namespace {

constexpr std::size_t longest_name = 200;  // file systems take 255 bytes, suffixes among them

}  // namespace

std::vector<KernelInfo> kernels_of(const plan::Plan& plan, const std::string& filter) {
  std::vector<int> nodes(plan.kernels.size());
  for (const auto& entry : plan.entries)
    for (const auto* list : {&entry.nodes, &entry.sampling})
      for (const auto& node : *list) ++nodes[node.kernel];
  std::vector<KernelInfo> out;
  std::map<std::string, int> taken;
  for (std::size_t i = 0; i < plan.kernels.size(); ++i) {
    const plan::Kernel& kernel = plan.kernels[i];
    KernelInfo info{i, kernel.spec.name, kernel.spec.name.substr(0, longest_name), nodes[i], kernel.min_bytes, kernel.cuda ? &*kernel.cuda : nullptr};
    if (const int earlier = taken[info.file_name]++; earlier > 0) info.file_name += fmt::format(".{}", earlier + 1);
    if (info.name.find(filter) != info.name.npos) out.push_back(std::move(info));
  }
  return out;
}

std::string spec_text(const plan::Plan& plan, const KernelInfo& kernel) {
  return codegen::spec_text(plan.kernels[kernel.index].spec);
}

Result<void> write_kernels(const plan::Plan& plan, const std::vector<KernelInfo>& kernels, const std::string& folder) {
  for (const KernelInfo& kernel : kernels) {
    const auto write = [&](std::string_view suffix, std::span<const std::byte> bytes) {
      return write_file_atomically(fmt::format("{}/{}{}", folder, kernel.file_name, suffix), bytes);
    };
    const std::string spec = spec_text(plan, kernel);
    HEDDLE_TRY(write(".spec", std::as_bytes(std::span(spec))));
    if (!kernel.cuda) continue;
    HEDDLE_TRY(write(".cu", std::as_bytes(std::span(kernel.cuda->text))));
    HEDDLE_TRY(write(".ptx", std::as_bytes(std::span(kernel.cuda->ptx))));
    HEDDLE_TRY(write(".cubin", std::as_bytes(std::span(kernel.cuda->cubin))));
  }
  return {};
}

}  // namespace heddle::tools
