#include "tests/support/cases/case_parts.h"

namespace heddle::testing {

std::vector<KernelCase> kernel_cases() {
  std::vector<KernelCase> out;
  for (std::vector<KernelCase> some : {cases::product_cases(), cases::layer_cases(), cases::attention_cases()})
    for (KernelCase& test : some) out.push_back(std::move(test));
  return out;
}

}  // namespace heddle::testing
