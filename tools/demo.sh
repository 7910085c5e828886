#!/usr/bin/env bash
# From nothing to generated text on Debian 12: sets up, builds, compiles the bundled model to a plan, shows which fusions fired, runs it.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tools/scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target heddle
heddle=build/release/tools/heddle
model=tests/models/tiny-llama-Q4_K_M.gguf

echo; echo "\$ heddle compile $model --force"
$heddle compile $model --force
echo; echo "\$ heddle inspect $model --kernels"
$heddle inspect $model --kernels
echo; echo "\$ heddle run $model -p 'Once upon a time there was a' -n 48 --temp 0"
$heddle run $model -p 'Once upon a time there was a' -n 48 --temp 0
