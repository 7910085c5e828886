#pragma once
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "ir/base/check.h"

namespace heddle {

/// Bad input, told in one line: place, found, wanted; lower case, no full stop.
///   llama.gguf: tensor 'blk.3.ffn_up.weight': shape is [4096, 11008], the config needs [4096, 14336]
class [[nodiscard]] Error {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const std::string& message() const { return message_; }
  /// The same error with its place in front: `place: message`.
  Error at(std::string_view place) && { return Error(fmt::format("{}: {}", place, message_)); }

 private:
  std::string message_;
};

template <class... Args>
Error error(fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...));
}

/// A `T` or the `Error` that stood in its way.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  template <class U>
    requires(!std::is_same_v<std::remove_cvref_t<U>, T> && !std::is_same_v<std::remove_cvref_t<U>, Error> &&
             !std::is_same_v<std::remove_cvref_t<U>, Result> && std::is_convertible_v<U&&, T>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& value() {
    HEDDLE_CHECK(ok(), "{}", std::get<1>(state_).message());
    return std::get<0>(state_);
  }
  const T& value() const { return const_cast<Result*>(this)->value(); }
  const Error& error() const { return std::get<1>(state_); }
  Error take_error() { return std::move(std::get<1>(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }
  Error take_error() { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace heddle

#define HEDDLE_CONCAT_(a, b) a##b
#define HEDDLE_CONCAT(a, b) HEDDLE_CONCAT_(a, b)

/// `HEDDLE_TRY(expression)` returns the error of a `Result<void>` from the enclosing function.
#define HEDDLE_TRY(...) \
  if (auto heddle_try = (__VA_ARGS__); !heddle_try.ok()) return heddle_try.take_error()

/// `HEDDLE_ASSIGN(auto x, expression)` takes the value of a `Result<T>` or returns its error.
#define HEDDLE_ASSIGN(declaration, ...) HEDDLE_ASSIGN_(HEDDLE_CONCAT(heddle_result_, __LINE__), declaration, __VA_ARGS__)
#define HEDDLE_ASSIGN_(name, declaration, ...) \
  auto name = (__VA_ARGS__);                   \
  if (!name.ok()) return name.take_error();    \
  declaration = std::move(*name)
