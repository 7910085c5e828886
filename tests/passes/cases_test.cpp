// Every tests/passes/<pass>.ir: the pass on the text before gives the text after, with the refusals that the case names; and both give the
// same numbers on the interpreter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "case_file.h"
#include "ir/interp/check_numerics.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "tests/support/paths.h"

namespace heddle {
namespace {

using testing::PassCase;

std::vector<PassCase> all_cases() {
  std::vector<std::string> files;
  for (auto& entry : std::filesystem::directory_iterator(testing::source_path("tests/passes")))
    if (entry.path().extension() == ".ir") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<PassCase> cases;
  for (const std::string& file : files) {
    auto read = testing::read_cases(file);
    HEDDLE_CHECK(read.ok(), "{}", read.error().message());
    cases.insert(cases.end(), read->begin(), read->end());
  }
  return cases;
}

/// The module's text with every result renamed by its place, so that names and spacing do not matter.
std::string canonical(ir::Module& module) {
  for (auto& function : module.functions())
    for (ir::Node* node : function->all_nodes())
      for (ir::Value* value : node->results()) value->name.clear();
  return ir::print(module);
}

/// Emits everything.
struct Answers : codegen::Questions {
  Layout layout = Layout::rows;
  std::optional<codegen::Refusal> cannot_emit(const ir::Node&) const override { return std::nullopt; }
  Layout layout_of(DType) const override { return layout; }
  Layout table_layout_of(DType) const override { return Layout::rows; }
};

class PassCases : public ::testing::TestWithParam<PassCase> {};

TEST_P(PassCases, TextAndNumbers) {
  const PassCase& wanted = GetParam();
  const passes::Pass* pass = passes::Registry::global().find(wanted.file);
  ASSERT_TRUE(pass) << "no pass has the name of the file " << wanted.file;
  auto before = ir::parse(wanted.before, "before");
  ASSERT_TRUE(before.ok()) << before.error().message();
  auto module = ir::parse(wanted.before, "before");
  ASSERT_TRUE(module.ok());
  if (auto valid = ir::verify(**module); !valid.ok() && wanted.error.empty()) FAIL() << valid.error().message();

  Answers answers;
  const auto layout = layout_named(wanted.layout);
  ASSERT_TRUE(layout) << wanted.layout;
  answers.layout = *layout;
  std::vector<passes::Remark> remarks;
  for (auto& function : (*module)->functions()) {
    passes::Context context{.target = (*module)->target,
                            .questions = &answers,
                            .options = wanted.options,
                            .remarks = &remarks,
                            .pass = pass->name,
                            .function = function->name};
    auto done = pass->run(*function, context);
    if (!wanted.error.empty()) {
      ASSERT_FALSE(done.ok());
      EXPECT_EQ(done.error().message(), wanted.error);
      return;
    }
    ASSERT_TRUE(done.ok()) << done.error().message();
  }
  std::vector<std::string> declined;
  bool fired = false;
  for (const passes::Remark& remark : remarks) {
    if (remark.outcome.kind == passes::Outcome::declined) declined.push_back(remark.outcome.reason);
    fired |= remark.outcome.kind == passes::Outcome::fired;
  }
  EXPECT_THAT(declined, ::testing::ElementsAreArray(wanted.declined));

  auto after = ir::parse(wanted.after, "after");
  ASSERT_TRUE(after.ok()) << after.error().message() << "\nThe pass gives:\n" << ir::print(**module);
  EXPECT_EQ(canonical(**module), canonical(**after));
  EXPECT_EQ(fired, canonical(**module) != canonical(**before)) << "the pass says that it fired exactly when it changed something";
  auto valid = ir::verify(**module);
  ASSERT_TRUE(valid.ok()) << valid.error().message();

  for (std::uint64_t seed : {1, 2, 3}) {
    auto difference = ir::interp::check_numerics(**before, **module, seed);
    ASSERT_TRUE(difference.ok()) << difference.error().message();
    EXPECT_LE(difference->largest, wanted.tolerance) << difference->where;
    EXPECT_TRUE(difference->identical() || wanted.tolerance > 0) << difference->where;
  }
}

std::string test_name(const ::testing::TestParamInfo<PassCase>& info) {
  std::string out = info.param.file + "__" + info.param.name;
  for (char& c : out)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return out;
}

INSTANTIATE_TEST_SUITE_P(Text, PassCases, ::testing::ValuesIn(all_cases()), test_name);

TEST(PassCaseFiles, EveryPassHasCasesAndOneThatMustStay) {
  const auto cases = all_cases();
  passes::Registry builtin;
  passes::register_builtin_passes(builtin);
  for (const passes::Pass* pass : builtin.all()) {
    int changed = 0, unchanged = 0;
    for (const PassCase& one : cases)
      if (one.file == pass->name) ++(one.before == one.after ? unchanged : changed);
    EXPECT_GT(changed, 0) << pass->name;
    EXPECT_GT(unchanged, 0) << pass->name;
  }
}

}  // namespace
}  // namespace heddle
