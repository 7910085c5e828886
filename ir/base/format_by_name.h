#pragma once
#include <fmt/format.h>

/// Outside of all namespaces: values of an enum (or of any type with a function `name` beside it) are formatted by their names.
#define HEDDLE_FORMAT_BY_NAME(Type)                                             \
  template <>                                                                   \
  struct fmt::formatter<Type> : fmt::formatter<fmt::string_view> {              \
    template <class Context>                                                    \
    auto format(const Type& value, Context& context) const {                    \
      const std::string_view text = name(value);                                \
      return fmt::formatter<fmt::string_view>::format({text.data(), text.size()}, context); \
    }                                                                           \
  };
