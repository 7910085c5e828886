#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: the GPU tests, the reference models, every value of every fixture model against the interpreter,
# compute-sanitizer's four tools on a small model, a benchmark and a profile.
#   tools/scripts/gpu-check.sh BUILD MODELS      BUILD: a folder with the built programs; MODELS: the reference models (may be missing)
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release} models=${2:-../shared/models}
heddle=$build/tools/heddle; [ -x "$heddle" ] || heddle=$build/heddle
bundled=tests/models/tiny-llama-Q4_K_M.gguf
cache=$(mktemp -d); trap 'rm -rf "$cache"' EXIT
failed=0
step() { echo; echo "== $1"; shift; "$@" || { failed=1; echo "FAILED: $*"; }; }

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || exit 1
for t in "$build"/tests/runtime/cuda/test_cuda_gpu "$build"/test_cuda_gpu; do [ -x "$t" ] && step "GPU tests" "$t" --gtest_brief=1; done
[ -d "$models" ] && step "reference models" python3 tools/scripts/acceptance.py "$heddle" "$models" --target cuda:auto
for model in "$bundled" "$models"/*/*.gguf; do
  [ -e "$model" ] || continue
  for options in "--activations q8 --kv f32" "--activations q8 --kv f16" "--activations f32 --kv f32"; do
    step "verify $(basename "$model") $options" $heddle verify "$model" --target cuda:auto --cache-dir "$cache" --quiet $options
  done
done
if command -v compute-sanitizer >/dev/null; then
  $heddle compile $bundled --target cuda:auto --cache-dir "$cache" >/dev/null
  for tool in memcheck racecheck initcheck synccheck; do
    step "compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 3 \
      "$heddle" run $bundled --target cuda:auto --cache-dir "$cache" -p "Once upon a time there was a" -n 8 --temp 0 --json
  done
fi
step "benchmark" $heddle bench $bundled --target cuda:auto --cache-dir "$cache" -p 128 -n 128
step "profile" $heddle profile $bundled --target cuda:auto --cache-dir "$cache"
exit $failed
