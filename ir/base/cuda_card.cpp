#include "ir/base/cuda_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ir/base/target_name.h"

namespace heddle {
namespace {

constexpr CudaCard cards[] = {
    {"a100", 80, "A100", 108},
    {"rtx3090", 86, "GeForce RTX 3090", 82},
    {"rtx4090", 89, "GeForce RTX 4090", 128},
    {"h100", 90, "H100", 132},
    {"h200", 90, "H200", 132},
    {"b200", 100, "B200", 148},
    {"rtx5090", 120, "GeForce RTX 5090", 170},
};
constexpr std::string_view generation = "sm_";

/// "h200" of "cuda:h200"; empty for other backends' names.
std::string_view machine_of(std::string_view target) {
  const std::string_view front = name(BackendKind::cuda);
  const bool ours = target.size() > front.size() && target.starts_with(front) && target[front.size()] == ':';
  return ours ? target.substr(front.size() + 1) : std::string_view();
}

/// Whether the driver's name is this card's, whatever its memory: "NVIDIA H100 80GB HBM3" and "NVIDIA A100-SXM4-40GB" are, "NVIDIA GH200" is
/// no H200.
bool is_called(std::string_view device, std::string_view card) {
  constexpr std::string_view maker = "NVIDIA ";
  if (device.starts_with(maker)) device.remove_prefix(maker.size());
  if (!device.starts_with(card)) return false;
  device.remove_prefix(card.size());
  return device.empty() || device.front() == ' ' || device.front() == '-';
}

}  // namespace

std::span<const CudaCard> cuda_cards() { return cards; }

const CudaCard* cuda_card_of(std::string_view target) {
  const std::string_view machine = machine_of(target);
  const auto named = std::ranges::find(cards, machine, &CudaCard::name);
  if (named != std::end(cards)) return named;
  const auto architecture = cuda_architecture(target);
  const auto first = architecture ? std::ranges::find(cards, *architecture, &CudaCard::architecture) : std::end(cards);
  return first != std::end(cards) ? first : nullptr;
}

std::optional<int> cuda_architecture(std::string_view target) {
  std::string_view machine = machine_of(target);
  const auto named = std::ranges::find(cards, machine, &CudaCard::name);
  if (named != std::end(cards)) return named->architecture;
  if (!machine.starts_with(generation)) return std::nullopt;
  machine.remove_prefix(generation.size());
  int architecture = 0;
  const auto [end, failed] = std::from_chars(machine.data(), machine.data() + machine.size(), architecture);
  if (failed != std::errc() || end != machine.data() + machine.size() || machine.front() == '-') return std::nullopt;
  return architecture;
}

std::string cuda_target_of(std::string_view device, int architecture, int multiprocessors) {
  const auto found = std::ranges::find_if(cards, [&](const CudaCard& card) {
    return card.architecture == architecture && card.multiprocessors == multiprocessors && is_called(device, card.device);
  });
  const std::string_view backend = name(BackendKind::cuda);
  return found != std::end(cards) ? fmt::format("{}:{}", backend, found->name) : fmt::format("{}:{}{}", backend, generation, architecture);
}

}  // namespace heddle
