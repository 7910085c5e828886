#!/usr/bin/env bash
# Prompts and decoding of many sequences on the GPU here, for each model file given: tokens per second, medians of 5, and of steps of 512
# and 2048 rows the TFLOP/s and their share of what the matrix units reach in the same run. The time to the first token of a prompt of 1000
# is that of its row. Figures and what they mean: docs/measurements/cuda.md.
#   tools/scripts/bench-prefill.sh HEDDLE MODEL.gguf...
set -uo pipefail
heddle=$1; shift
cache=$(mktemp -d); trap 'rm -rf "$cache"' EXIT
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader
for model in "$@"; do
  echo; echo "== $(basename "$model")"
  run() { "$heddle" bench "$model" --target cuda:auto --cache-dir "$cache" -r 5 "$@" | grep '^| .* ±'; }
  run -p 512,1000,2048 -n 0
  run -p 512 -n 0 -d 8192
  run -p 0 -n 64 -s 16,32,64
  for rows in 512 2048; do
    "$heddle" profile "$model" --target cuda:auto --cache-dir "$cache" --entry prefill_$rows -d 0 |
      sed -n "s/^matrix units/matrix units/p; s/^  step  */prefill_$rows: /p"
  done
done
