#pragma once
#include <string>
#include <string_view>

namespace heddle::frontends {

/// A name out of a file, for an error message: in single quotes, bytes that are not printable ASCII as \xNN, long ones cut.
std::string quoted(std::string_view name);

}  // namespace heddle::frontends
