#!/usr/bin/env bash
# Sets everything up on Debian 12, builds, and runs all tests.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tools/scripts/setup.sh
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)"
ctest --preset release -j "$(nproc)" "$@"
