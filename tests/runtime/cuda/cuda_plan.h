#pragma once
#include <memory>
#include <vector>

#include "runtime/device/device.h"
#include "tests/support/paths.h"

namespace heddle::testing {

/// The small plan of tests/support/tiny_plan.h for target cuda:sm_90, with images that FakeDriver understands and a model file of random
/// bytes that exists. Kernel i's entry is "<spec's name>_<i>"; its grid is {i + 1, 1, 1}, its block {128, 1, 1}.
struct CudaPlan {
  /// `prompt`: tiny_plan_with_prompt, else tiny_plan.
  explicit CudaPlan(bool prompt = false);
  /// A kernel of loop kind `sample` behind the nodes of a decode entry point; its entry is "sample_<rows>".
  void add_sampling(std::size_t entry, std::int32_t max_top_k = -1);
  /// Writes the images anew: to be called after a change of a kernel's arguments, scratch or target.
  void make_images(int architecture = 90);

  TempDir dir;
  std::shared_ptr<plan::Plan> plan;
  std::vector<std::byte> file;  // what the model file holds
};

}  // namespace heddle::testing
