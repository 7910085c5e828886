#pragma once
#include <string_view>

#include "runtime/jinja/object.h"

/// Jinja's filters, tests and functions, Python's methods, and what transformers adds, as far as chat templates use them. Each does what
/// Python does, unless it says so.
namespace heddle::chat {

using Filter = Result<Value> (*)(Renderer& renderer, const Value& value, const Arguments& arguments);
using Test = Result<bool> (*)(const Value& value, const Arguments& arguments);
Filter filter_named(std::string_view name);  // null if there is none
Test test_named(std::string_view name);

/// `value.name(arguments)` of a string, list or dict; nothing if values of its type have no such method. One that would change the value is
/// refused by name.
std::optional<Result<Value>> call_method(Renderer& renderer, const Value& value, std::string_view name, const Arguments& arguments);
bool has_method(const Value& value, std::string_view name);

/// The functions that every template knows, by name: range, namespace, dict, raise_exception, strftime_now.
void add_functions(Renderer& renderer);

}  // namespace heddle::chat
