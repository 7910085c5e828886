#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ir/base/error.h"

namespace heddle::chat {

class Object;
struct Sequence;
struct Mapping;

/// A value as a template sees it: Python's, where nothing can be changed once it is made (as in Jinja's immutable sandbox), so that no list
/// holds itself. Copies share what they hold. Integers have 64 bits.
class Value {
 public:
  enum class Kind { undefined, none, boolean, integer, real, string, sequence, mapping, object };
  using Entries = std::vector<std::pair<Value, Value>>;

  Value() : Value(undefined("the value is undefined")) {}
  Value(bool value) : held_(value) {}
  Value(int value) : held_(std::int64_t(value)) {}
  Value(std::int64_t value) : held_(value) {}
  Value(double value) : held_(value) {}
  Value(std::string value) : held_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(Object* object) : held_(object) {}  // which outlives the value
  static Value none() { return Value(std::monostate()); }
  static Value undefined(std::string message);  // what a name or an attribute that is not there gives; "'x' is undefined"
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value generator(std::vector<Value> items);  // of a filter like `map`: can be looped over, has no length and no JSON
  static Value mapping(Entries entries);             // keys are different from each other

  Kind kind() const;
  bool is(Kind wanted) const { return kind() == wanted; }
  bool is_number() const { return is(Kind::boolean) || is(Kind::integer) || is(Kind::real); }  // True is 1
  bool is_whole() const { return is(Kind::boolean) || is(Kind::integer); }

  // Of a value of that kind.
  const std::string& undefined_message() const;
  std::int64_t integer() const;  // also of a boolean
  double real() const;           // of any number
  const std::string& string() const;
  const Sequence& sequence() const;
  const Mapping& mapping() const;
  Object& object() const;

  /// Bytes and elements of the value written out, and how deep it is nested: what bounds the work that a template can make of it.
  std::size_t weight() const;
  int depth() const;

 private:
  struct Undefined {
    std::shared_ptr<const std::string> message;
  };
  explicit Value(std::monostate none) : held_(none) {}
  explicit Value(Undefined undefined) : held_(std::move(undefined)) {}
  explicit Value(std::shared_ptr<const Sequence> sequence) : held_(std::move(sequence)) {}
  explicit Value(std::shared_ptr<const Mapping> mapping) : held_(std::move(mapping)) {}
  // In the order of Kind.
  std::variant<Undefined, std::monostate, bool, std::int64_t, double, std::shared_ptr<const std::string>, std::shared_ptr<const Sequence>,
               std::shared_ptr<const Mapping>, Object*>
      held_;
};

struct Sequence {
  enum class Form { list, tuple, generator } form;
  std::vector<Value> items;
  std::size_t weight;
  int depth;
};

struct Mapping {
  Value::Entries entries;  // in the order in which they came
  std::size_t weight;
  int depth;
  const Value* find(const Value& key) const;  // null if there is none
  const Value* named(std::string_view key) const;
};

std::string_view type_name(const Value& value);  // Python's: "str", "NoneType"
bool truth(const Value& value);
bool equal(const Value& left, const Value& right);
/// Below, at or above zero; "'<' not supported between instances of 'str' and 'int'".
Result<int> compare(const Value& left, const Value& right);

/// str(): what `{{ value }}` writes; an undefined value writes nothing.
std::string text_of(const Value& value);
std::string repr(const Value& value);

struct JsonForm {
  int indent = -1;  // below 0: all in one line
  bool ensure_ascii = false, sort_keys = false;
  std::string item_separator = ", ", key_separator = ": ";
};
/// As Python's json.dumps: "object of type Undefined is not JSON serializable".
Result<std::string> json_of(const Value& value, const JsonForm& form = {});

}  // namespace heddle::chat
