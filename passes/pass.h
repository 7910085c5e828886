#pragma once
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "codegen/questions.h"
#include "ir/graph.h"

namespace heddle::passes {

/// What came of looking at one place.
struct Outcome {
  enum Kind : std::uint8_t { no_match, fired, declined } kind = no_match;
  std::string where = {};   // the place: "%7"
  std::string reason = {};  // why declined
};

/// One line of the compile's report: "fuse_norm_matmul: %7 declined: norm has 2 readers".
struct Remark {
  std::string pass, function;
  Outcome outcome;
  std::string str() const;
};

/// Options of one pass in a pipeline string: `name{key=value,key=value}`.
using Options = std::map<std::string, std::string>;

/// What a pass may see beside the function it changes.
struct Context {
  const ir::Target& target;
  const codegen::Questions* questions = nullptr;  // null: everything can be emitted (pass tests without a target)
  Options options = {};
  int* changes_left = nullptr;  // bisecting (--pass-limit): shared by all passes; null: no limit
  std::vector<Remark>* remarks = nullptr;
  std::string pass = {};
  std::string function = {};

  /// Notes the outcome under the running pass.
  void note(Outcome outcome);
  /// Asks for one change. False once the limit is used up; the pass then leaves the place as it is. Passes that code generation cannot do
  /// without (group_rest, schedule, plan_memory) do not ask, so that a limited pipeline still gives a plan that runs.
  bool take_change();
};

/// One pass, one file. `run` says by its outcomes what it did; it verifies, prints and times nothing: the driver does.
struct Pass {
  std::string name;
  std::string summary;
  std::vector<std::string> option_names = {};
  std::function<Result<void>(ir::Function&, Context&)> run = {};
  /// Values change by design and not by rounding alone (8-bit copies). What a value should be, as `heddle verify` sees it, is what the IR
  /// says after these passes and no others.
  bool approximates = false;
  /// Plug-ins: the pass of the default pipeline to run right before; empty: only where a pipeline string names it.
  std::string before = {};
};

/// A pass that looks at every node of the given ops once, in order, at the top level and in groups. `visit` may change the IR around the
/// node; nodes that it erases are not visited any more. Refusals are noted under the name of the node visited.
using Visit = std::function<Outcome(ir::Node&, Context&)>;
Pass at_each(std::string name, std::string summary, std::initializer_list<ir::Op> ops, Visit visit);
Pass at_each(std::string name, std::string summary, ir::Op op, Visit visit);

Outcome no_match();
Outcome fired(const ir::Node& node);
Outcome fired_at(std::string where);
Outcome declined_text(const ir::Node& node, std::string reason);
template <class... Args>
Outcome declined(const ir::Node& node, fmt::format_string<Args...> format, Args&&... args) {
  return declined_text(node, fmt::format(format, std::forward<Args>(args)...));
}

/// Makes one group of `members` (nodes of one block) if they are convex, the target can emit the result, and the cost model does not find
/// it slower than what was there; otherwise declines with the reason ("6.1 us fused, 5.8 us apart"). Nothing is changed when it declines.
Outcome fuse_if_better(llvm::ArrayRef<ir::Node*> members, std::string label, Context& context);

struct PluginInfo;

/// Names known to pipelines: heddle's own and those of plug-ins.
class Registry {
 public:
  static Registry& global();    // holds heddle's own passes from the start
  Result<void> add(Pass pass);  // a second pass of the same name is an error
  const Pass* find(std::string_view name) const;
  std::vector<const Pass*> all() const;  // by name

 private:
  friend Result<PluginInfo> load_pass_plugin(const std::string& path, Registry& registry);
  std::map<std::string, Pass, std::less<>> passes_;
  std::map<std::string, std::vector<std::string>> plugins_;  // names of passes by the file's hash
};
/// Adds heddle's own passes; those that are there already stay.
void register_builtin_passes(Registry& registry);

}  // namespace heddle::passes
