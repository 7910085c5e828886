#include "runtime/chat/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ir/base/mapped_file.h"
#include "tests/support/paths.h"

namespace heddle::chat {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

ordered_json json_file(const fs::path& path) { return ordered_json::parse(*read_text_file(path.string())); }
fs::path folder() { return testing::source_path("tests/runtime/chat"); }

Value value_of(const ordered_json& json) {
  if (json.is_null()) return Value::none();
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto& item : json) items.push_back(value_of(item));
    return Value::list(std::move(items));
  }
  Value::Entries entries;
  for (const auto& [key, item] : json.items()) entries.emplace_back(key, value_of(item));
  return Value::mapping(std::move(entries));
}

/// The time of make_goldens.py.
std::tm golden_time() {
  std::tm now = {};
  now.tm_year = 2024 - 1900, now.tm_mon = 6, now.tm_mday = 26, now.tm_hour = 9, now.tm_min = 5, now.tm_sec = 3, now.tm_wday = 5,
  now.tm_yday = 207;
  return now;
}

Result<std::string> rendered(const std::string& source, const Value& context = Value::mapping({})) {
  HEDDLE_ASSIGN(const auto parsed, Template::parse(source));
  return parsed.render(context, golden_time());
}
std::string message(const std::string& source, const Value& context = Value::mapping({})) {
  auto text = rendered(source, context);
  return text.ok() ? "rendered: " + *text : text.error().message();
}

class Templates : public ::testing::TestWithParam<std::string> {};

TEST_P(Templates, RenderAsJinja2DoesOverTheConversations) {
  auto parsed = Template::parse(*read_text_file((folder() / "templates" / (GetParam() + ".jinja")).string()));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  const ordered_json golden = json_file(folder() / "golden" / (GetParam() + ".json"));
  for (const auto& conversation : json_file(folder() / "conversations.json")) {
    const std::string name = conversation["name"];
    SCOPED_TRACE(name);
    const ordered_json given = {{"messages", conversation["messages"]},
                                {"tools", conversation.value("tools", ordered_json())},
                                {"add_generation_prompt", conversation.value("add_generation_prompt", true)},
                                {"bos_token", "<s>"},
                                {"eos_token", "</s>"}};
    const auto text = parsed->render(value_of(given), golden_time());
    const auto& wanted = golden.at(name);
    if (wanted.contains("text")) {
      ASSERT_TRUE(text.ok()) << text.error().message();
      EXPECT_EQ(*text, wanted["text"].get<std::string>());
    } else {
      ASSERT_FALSE(text.ok()) << *text;
      if (wanted.contains("raised")) {
        EXPECT_THAT(text.error().message(), ::testing::EndsWith(": " + wanted["raised"].get<std::string>()));
      }
    }
  }
}

std::vector<std::string> template_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder() / "templates"))
    if (entry.path().extension() == ".jinja") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}
INSTANTIATE_TEST_SUITE_P(Chat, Templates, ::testing::ValuesIn(template_names()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !std::isalnum(std::uint8_t(c)); }, '_');
  return name;
});

TEST(Template, ExpressionsAndTagsAreWhatJinja2MakesOfThem) {
  const ordered_json golden = json_file(folder() / "golden" / "expressions.json");
  for (const auto& [source, wanted] : golden.items()) {
    SCOPED_TRACE(source);
    const auto text = rendered(source);
    EXPECT_EQ(text.ok(), wanted.contains("text")) << (text.ok() ? *text : text.error().message());
    if (text.ok()) {
      EXPECT_EQ(*text, wanted.value("text", ""));
    }
  }
}

TEST(Template, TagsAndCommentsLeaveNothingOfTheirLines) {
  EXPECT_EQ(*rendered("a\n  {% if true %}\nb\n  {% endif %}\nc\n"), "a\nb\nc");
  EXPECT_EQ(*rendered("a\n  {# no #}\nb"), "a\nb");
  EXPECT_EQ(*rendered("a {% if true %} b {% endif %}\nc"), "a  b c");
  EXPECT_EQ(*rendered("a\n  {%+ if true %}b{% endif +%}\nc"), "a\n  b\nc");
  EXPECT_EQ(*rendered("a\n  {{ 1 }}\nb"), "a\n  1\nb");
  EXPECT_EQ(*rendered("a \n {{- 1 -}} \n b"), "a1b");
  EXPECT_EQ(*rendered("{% if true %}  {% if true %}x{% endif %}{% endif %}"), "  x");
  EXPECT_EQ(*rendered("a\r\nb\rc\r\n"), "a\nb\nc");
  EXPECT_EQ(*rendered(""), "");
}

TEST(Template, WhatItDoesNotKnowIsAnErrorWithItsLine) {
  EXPECT_EQ(message("a\n{{ 'x' | foo }}"), "chat template: line 2: unknown filter 'foo'");
  EXPECT_EQ(message("\n\n{{ 'x' is foo }}"), "chat template: line 3: unknown test 'foo'");
  EXPECT_EQ(message("{% include 'x' %}"), "chat template: line 1: tag 'include' is not supported");
  EXPECT_EQ(message("\n{% foo %}"), "chat template: line 2: unknown tag 'foo'");
  EXPECT_EQ(message("{{ 'x'.foo() }}"), "chat template: line 1: 'str object' has no attribute 'foo'");
  EXPECT_EQ(message("{{ foo(1) }}"), "chat template: line 1: 'foo' is undefined");
  EXPECT_EQ(message("{{ [1].append(2) }}"), "chat template: line 1: 'append' would change the list, which a template may not");
  EXPECT_EQ(message("{{ '%s' % 1 }}"), "chat template: line 1: formatting a string with '%' is not supported");
  EXPECT_EQ(message("{{ '{:>3}'.format(1) }}"), "chat template: line 1: format(): field '{:>3}' is not supported");
  EXPECT_EQ(message("a\n\n{% if x %}\n{% for y in x %}"),
            "chat template: line 4: expected 'endfor' for the tag of line 4, found the end of the template");
  EXPECT_EQ(message("{{ 1 +\n }}"), "chat template: line 2: expected a value, found '}}'");
  EXPECT_EQ(message("{{ 9223372036854775807 + 1 }}"), "chat template: line 1: the result of '+' does not fit 64 bits");
  EXPECT_EQ(message("{{\n'a'\n+ 1 }}"), "chat template: line 3: can only concatenate str (not \"int\") to str");
  EXPECT_EQ(message("\n{{ raise_exception('roles must alternate') }}"), "chat template: line 2: roles must alternate");
}

TEST(Template, CannotHangOrExhaustTheProgram) {
  EXPECT_EQ(message("{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"),
            "chat template: line 1: the template takes more than 2000400 steps");
  EXPECT_EQ(message("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
            "chat template: line 1: calls and expressions nested deeper than 400 levels");
  EXPECT_EQ(message("{{ " + std::string(100000, '(') + "1" + std::string(100000, ')') + " }}"),
            "chat template: line 1: nested deeper than 100 levels");
  std::string chain = "{{ 1";
  for (int i = 0; i < 100000; ++i) chain += "+1";
  EXPECT_EQ(message(chain + " }}"), "chat template: line 1: an expression of more than 300 steps");
  EXPECT_EQ(message("{{ 'abcdefgh' * 1000000000 }}"), "chat template: line 1: the template takes more than 2000400 steps");
  EXPECT_EQ(message("{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
            "chat template: line 1: the template takes more than 2000400 steps");
  EXPECT_EQ(message("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}"),
            "chat template: line 1: a value nested deeper than 60 levels");
  EXPECT_EQ(message("{% set ns = namespace(x=[1]) %}{% for i in range(1000) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"),
            "chat template: line 1: a value of more than 4194308 bytes");
  EXPECT_EQ(message("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns.x.x }}"), "rendered: <Namespace>");
  EXPECT_EQ(message("{{ range(1000000000) }}"), "chat template: line 1: range too big: the sandbox blocks ranges larger than 100000");
  EXPECT_EQ(message("{# " + std::string(1000000, 'a') + " #}x"), "rendered: x");
}

TEST(Template, APromptOfMessages) {
  auto chatml = Template::parse(*read_text_file((folder() / "templates" / "chatml.jinja").string()));
  ASSERT_TRUE(chatml.ok());
  const std::vector<Message> messages = {{"system", "Be short."}, {"user", "Hi"}};
  EXPECT_EQ(*chatml->render(Prompt{.messages = messages, .bos_token = "", .eos_token = ""}),
            "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(*rendered("{{ tools is none }}{{ tools is defined }}", Value::mapping({{"tools", Value::none()}})), "TrueTrue");
}

}  // namespace
}  // namespace heddle::chat
