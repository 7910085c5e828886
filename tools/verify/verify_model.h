#pragma once
#include "tools/compiler/compile_model.h"
#include "tools/verify/open_session.h"
#include "tools/verify/verify_nodes.h"

/// Verification of a model as it is compiled, and of what it is without one pass or another.
namespace heddle::tools {

struct VerifyRequest {
  std::string model;  // or a plan, whose passes then cannot be judged
  CompileOptions compile;
  std::vector<std::int32_t> ids;
  std::vector<std::string> entries;                                                      // empty: all
  std::function<Result<std::unique_ptr<runtime::NodeDevice>>(const plan::Plan&)> make;  // the device, nothing loaded yet
};

struct Verified {
  std::string device;
  std::vector<EntryCheck> checks;
  std::string passes_not_judged;  // why; empty: they were
};

/// Runs verify_nodes on a new device.
Result<Verified> verify_model(const VerifyRequest& request, const Compiled& compiled);

/// The module that says what values should be: lowered, and changed only by the passes that change values by design.
Result<std::unique_ptr<ir::Module>> reference_module(const std::string& model, const CompileOptions& options);

/// What leaving one pass out did to a fault.
struct Suspect {
  enum Outcome { mends, no_help, cannot_be_left_out } outcome = no_help;
  std::string pass;
  std::string detail;  // the fault that is left, or why the pass cannot be left out
};

/// Compiles and verifies without each pass of the pipeline in turn. `report` is told each as it is known.
Result<std::vector<Suspect>> bisect(const VerifyRequest& request, const Compiled& compiled,
                                    const std::function<void(const Suspect&)>& report);

/// "decode_1, step 2, node 7 (gemv_q4_K_256x256): kernel: %y[0, 17] is ..."
std::string text_of(const EntryCheck& check, const Fault& fault);

}  // namespace heddle::tools
