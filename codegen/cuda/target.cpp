#include "codegen/cuda/target.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "ir/base/cuda_card.h"
#include "ir/base/target_name.h"

namespace heddle::codegen::cuda {
namespace {

/// What all cards of an architecture have (NVIDIA's tuning guides).
struct Architecture {
  int number;  // 90: sm_90
  bool programmatic_launch, warpgroups;
  int shared_kib;  // a block's most
};
constexpr Architecture architectures[] = {
    {80, false, false, 163}, {86, false, false, 99}, {89, false, false, 99}, {90, true, true, 227}, {100, true, false, 227}, {120, true, false, 99},
};

/// Figures of a card (ir/base/cuda_card.cpp has its architecture). The memory rate is what a plain read reaches there: measured on the H200,
/// else about nine tenths of the data sheet's.
struct Figures {
  std::string_view card;
  int workers;          // multiprocessors
  double memory_gbps;
  double launch_us;     // one more dependent kernel: its start, and the activation's way through the second-level cache to every multiprocessor
  double worker_gflops;  // of one multiprocessor, in the short programs around a loop
};
constexpr Figures figures[] = {
    {"a100", 108, 1400, 3.2, 125},  // 40 GB
    {"rtx3090", 82, 850, 3.2, 125},
    {"rtx4090", 128, 920, 3.2, 125},
    {"h100", 132, 3000, 2.5, 125},
    {"h200", 132, 4300, 2.5, 125},
    {"b200", 148, 7000, 2.5, 125},
    {"rtx5090", 170, 1600, 2.5, 125},
};

std::string target_of(std::string_view machine) { return fmt::format("{}:{}", heddle::name(BackendKind::cuda), machine); }

int generation_of(int architecture) { return architecture / 10; }

/// The architecture itself, else the nearest one below it of the same generation, else the first of that; null if heddle knows none.
const Architecture* nearest(int number) {
  const Architecture* best = nullptr;
  for (const Architecture& row : architectures)
    if (generation_of(row.number) == generation_of(number) && (!best || row.number <= number)) best = &row;
  return best;
}

/// What a target's name stands for.
struct Machine {
  int architecture;            // that kernels are compiled for
  const Architecture* limits;  // of it, or of the nearest
  const Figures* figures;
};
std::optional<Machine> machine_of(std::string_view target) {
  const auto number = cuda_architecture(target);
  const Architecture* row = number ? nearest(*number) : nullptr;
  if (!row) return std::nullopt;
  const CudaCard* card = cuda_card_of(target);
  if (!card) card = cuda_card_of(target_of(fmt::format("sm_{}", row->number)));
  HEDDLE_CHECK(card, "sm_{} has no card", row->number);
  const auto* found = std::ranges::find(figures, card->name, &Figures::card);
  HEDDLE_CHECK(found != std::end(figures), "{} has no figures", card->name);
  return Machine{*number, row, found};
}

Machine known_machine(const ir::Target& target) {
  const auto machine = machine_of(target.name);
  HEDDLE_CHECK(machine, "{} is no CUDA target", target.name);
  return *machine;
}

}  // namespace

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const Architecture& row : architectures) names.push_back(target_of(fmt::format("sm_{}", row.number)));
  return names;
}

std::vector<std::string> card_names() {
  std::vector<std::string> names;
  for (const Figures& row : figures) names.push_back(target_of(row.card));
  return names;
}

Result<ir::Target> target_named(std::string_view name, DType activations) {
  const auto machine = machine_of(name);
  if (!machine) return error("target '{}' is not known (known: {}, {})", name, fmt::join(card_names(), ", "), fmt::join(target_names(), ", "));
  if (activations != DType::q8_16 && activations != DType::f32)
    return error("target '{}': activations are {}, wanted q8_16 or f32", name, activations);
  ir::Target target;
  target.name = std::string(name);
  target.activations = activations;
  target.features = {"async_copy"};
  if (machine->limits->programmatic_launch) target.features.push_back("programmatic_launch");
  if (machine->limits->warpgroups && machine->limits->number == machine->architecture) target.features.push_back("warpgroups");
  target.workers = machine->figures->workers;
  target.launch_us = machine->figures->launch_us;
  target.memory_gbps = machine->figures->memory_gbps;
  target.worker_gflops = machine->figures->worker_gflops;
  return target;
}

std::string card_of(std::string_view target) {
  const auto machine = machine_of(target);
  return machine ? target_of(machine->figures->card) : std::string(target);
}

std::string figures_remark(const ir::Target& target) {
  const std::string card = card_of(target.name);
  if (card == target.name) return "";
  const Machine machine = known_machine(target);
  return machine.limits->number == machine.architecture
             ? fmt::format("the figures of {} are those of {}, the first card of that architecture", target.name, card)
             : fmt::format("{} has no figures: those of {} are taken, the nearest of its generation", target.name, card);
}

std::string architecture_of(const ir::Target& target) { return fmt::format("sm_{}", known_machine(target).architecture); }

Limits limits_of(const ir::Target& target) { return {known_machine(target).limits->shared_kib * 1024}; }

}  // namespace heddle::codegen::cuda
