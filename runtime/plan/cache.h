#pragma once
#include <string>
#include <vector>

#include "runtime/plan/plan_file.h"

/// The cache of plans: one file per model path, target and options, disposable. Nothing to manage: what does not fit is rebuilt.
namespace heddle::plan {

using Key = std::vector<std::pair<std::string, std::string>>;  // field, value; in a fixed order

struct Lookup {
  std::string path;             // where the plan is or will be
  std::unique_ptr<Plan> plan;  // null: it must be built
  std::string why;              // why it must be built: "no plan yet", "model header changed: ... -> ...", "a.plan: checksum ..."
};

class PlanCache {
 public:
  explicit PlanCache(std::string dir) : dir_(std::move(dir)) {}
  const std::string& dir() const { return dir_; }

  /// File name for a model (its absolute path) with this key: "<stem>-<target>-<hash of path and of the fields that tell variants
  /// apart>.plan". A field whose change means "stale" rather than "another variant" (fingerprint, build-id, versions) is not in the hash.
  std::string path_for(const std::string& model, const Key& key) const;
  /// File name for the weights of a model (its absolute path) quantised to a format: "<stem>-<format>-<hash of path>.weights".
  std::string weights_path(const std::string& model, const std::string& format) const;
  /// Reads the plan for this key, or says why it cannot be used, naming the first differing field and both values.
  Lookup find(const std::string& model, const Key& key) const;

  struct Item {
    std::string path, state;  // state: "ok", or why it cannot be read (without the path)
    std::uint64_t bytes = 0;
    std::string model, target;
  };
  std::vector<Item> list() const;  // of files with quantised weights: state "ok", target "weights"
  /// Removes every plan, file with quantised weights and left-over temporary file, and returns how many; other files stay.
  Result<int> clear() const;

 private:
  std::string dir_;
};

/// Whether a field is part of a plan's file name. Fields that end in "fingerprint", "version", "build" or "build-id" are not: a plan that
/// differs in one of them is stale and is replaced. A plan that differs in any other lies beside it.
bool tells_variants_apart(std::string_view field);

/// The first difference between two keys: "model fingerprint: 1a2b is not 3c4d"; empty if equal. A field that only one has: "(none)".
std::string explain_difference(const Key& have, const Key& want);
Key key_of(const Plan& plan);

}  // namespace heddle::plan
