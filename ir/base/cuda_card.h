#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace heddle {

/// A GPU that a target names ("cuda:h200"). Its architecture is a property of it: a plan for one card runs on every card of that
/// architecture. What a card is capable of is codegen/cuda/target.cpp's.
struct CudaCard {
  std::string_view name;    // "h200"
  int architecture = 0;     // 90: sm_90
  std::string_view device;  // as its driver calls it, without the maker in front and the memory's size behind: "H200"
  int multiprocessors = 0;  // of the whole card: what shows fewer is another one (a smaller board, a slice)
};

/// All of them, by architecture; the first of an architecture is what "cuda:sm_90" stands for.
std::span<const CudaCard> cuda_cards();

/// The card of "cuda:h200", the first one of "cuda:sm_90"; null for other names.
const CudaCard* cuda_card_of(std::string_view target);

/// 90 of "cuda:sm_90" and of "cuda:h200"; nothing for other names. Whether there are figures for the architecture is another question.
std::optional<int> cuda_architecture(std::string_view target);

/// The target of a GPU as its driver describes it: by its card ("cuda:h200" for "NVIDIA H200") where that is known, else "cuda:sm_90".
std::string cuda_target_of(std::string_view device, int architecture, int multiprocessors);

}  // namespace heddle
