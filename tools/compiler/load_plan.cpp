#include "tools/compiler/load_plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "frontends/model.h"
#include "runtime/plan/plan_file.h"

namespace heddle::tools {

bool is_plan_file(const std::string& path) {
  char magic[12] = {};
  std::ifstream(path, std::ios::binary).read(magic, 11);
  return std::string_view(magic) == "heddle-plan";
}

Result<std::shared_ptr<const plan::Plan>> load_plan(const std::string& path) {
  HEDDLE_ASSIGN(auto plan, plan::read_plan(path));
  const auto is_quantized = [](const auto& field) { return field.name == "quantize" && !field.value.empty(); };
  const bool quantized = std::ranges::any_of(plan->key, is_quantized);
  for (const auto& file : plan->files) {
    if (quantized && &file == &plan->files.back()) continue;  // prepare_weights sees to it
    struct stat info = {};
    if (stat(file.path.c_str(), &info) != 0) return error("{}: its model file {} is not there", path, file.path);
    if (std::uint64_t(info.st_size) != file.bytes)
      return error("{}: its model file {} has {} bytes, the plan was made for {}", path, file.path, info.st_size, file.bytes);
  }
  if (!plan->files.empty()) {
    HEDDLE_ASSIGN(auto model, frontends::open_model(plan->files.front().path));
    for (const auto& field : plan->key)
      if (field.name == "model fingerprint" && field.value != model.fingerprint)
        return error("{}: the header of its model file {} has changed: fingerprint {}, the plan was made for {}", path, plan->files.front().path,
                     model.fingerprint, field.value);
  }
  return std::shared_ptr<const plan::Plan>(std::move(plan));
}

bool depends_on_context(const plan::Plan& plan) {
  return std::ranges::any_of(plan.key, [](const auto& field) { return field.name == "rope" && !field.value.empty(); });
}

}  // namespace heddle::tools
