#pragma once
#include <memory>
#include <string>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::tools {

/// A plan file by its magic.
bool is_plan_file(const std::string& path);
/// Reads a plan and checks that its model files are there and are the ones it was made from.
Result<std::shared_ptr<const plan::Plan>> load_plan(const std::string& path);

/// Whether CompileOptions::context decides on a part of the plan.
bool depends_on_context(const plan::Plan& plan);

}  // namespace heddle::tools
