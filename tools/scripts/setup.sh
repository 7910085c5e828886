#!/usr/bin/env bash
# tools/scripts/setup.sh [--ci]: installs what heddle builds with, from Debian 12 and (only where no CUDA toolkit is installed) PyPI; with
# --ci also what tools/scripts/ci.py wants besides.
# Safe to run again: packages that are there are not touched, so a second run needs no network.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(
  g++ cmake ninja-build ccache git ca-certificates python3 python3-venv xz-utils
  llvm-19-dev            # ADT containers
  libboost-graph-dev     # graph algorithms over the IR
  libfmt-dev nlohmann-json3-dev libcli11-dev
  libflatbuffers-dev flatbuffers-compiler
  libpcre2-dev           # pre-tokenizer patterns
  libutf8proc-dev        # Unicode normal forms, which some tokenizers want
  libxxhash-dev libhwy-dev
  libedit-dev            # the line editor of heddle chat
  libgtest-dev libgmock-dev libbenchmark-dev
)
if [ "${1:-}" = --ci ]; then
  packages+=(clang-tidy-19)  # 14, the default, cannot read the ranges of GCC 12's library
fi
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
  sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing: ${missing[*]}"
  $sudo apt-get update -qq
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# NVRTC compiles kernels for CUDA targets; no GPU is needed for that. An installed toolkit's is taken where there is one, else the wheel's.
# CUDA 13.0's, because a driver reads the PTX of its own version and of older ones only. Without it everything but --target cuda works.
if ! ldconfig -p | grep -q 'libnvrtc\.so' && [ ! -e /usr/local/cuda/lib64/libnvrtc.so ] && [ ! -e build/cuda/nvidia/cu13/lib/libnvrtc.so.13 ]; then
  mkdir -p build
  python3 -m venv build/pip
  build/pip/bin/pip install -q --no-deps --target build/cuda 'nvidia-cuda-nvrtc==13.0.*' ||
    echo "setup: NVRTC could not be fetched; CUDA targets cannot be compiled for"
fi
