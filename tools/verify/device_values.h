#pragma once
#include <cstddef>
#include <vector>

#include "ir/interp/interpreter.h"
#include "runtime/plan/plan.h"

/// The interpreter's values and the bytes in which a device holds them (runtime/device/inspectable_device.h).
namespace heddle::tools {

using Bytes = std::vector<std::byte>;

/// Where the plan puts a value of `function`, which is one of the plan's IR. Not for weights.
Result<plan::Ref> place_of(const ir::Value& value, const ir::Function& function, const plan::Plan& plan);

/// "%x: 12 bytes for f32[1, 4]".
Result<ir::interp::Tensor> tensor_of(const ir::Value& value, const Bytes& bytes);
Result<ir::interp::Cache> cache_of(const ir::Value& state, std::int64_t slots, std::int64_t positions, const Bytes& bytes);

/// The inverse. Values are rounded to their type, which changes nothing for what `tensor_of` or the interpreter gave.
Bytes bytes_of(const ir::interp::Tensor& tensor);
Bytes bytes_of(const ir::interp::Cache& cache);

}  // namespace heddle::tools
