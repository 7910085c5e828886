#!/usr/bin/env bash
# The CPU target on 64-bit ARM: compiles its sources and tests for NEON and runs the tests in an emulator. For Debian 12 on x86, as root;
# heddle must be built (tools/test.sh) for its generated headers. Nothing is installed for arm64: its libraries are unpacked in a folder.
#   tools/scripts/arm-check.sh [BUILD]      BUILD: a folder with a build of heddle, build/release
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
libraries=(libfmt-dev libgtest-dev libhwy-dev libhwy1 libxxhash-dev libflatbuffers-dev)

if ! { command -v aarch64-linux-gnu-g++ && command -v qemu-aarch64-static; } >/dev/null; then
  apt-get install -y -q --no-install-recommends g++-aarch64-linux-gnu qemu-user-static
fi
dpkg --print-foreign-architectures | grep -qx arm64 || { dpkg --add-architecture arm64; apt-get update -q; }
mkdir -m 755 "$work"/{packages,root,objects}
(cd "$work/packages" && apt-get -o APT::Sandbox::User=root download -q "${libraries[@]/%/:arm64}" && for p in *.deb; do dpkg-deb -x "$p" ../root; done)

includes=(-I. -Itests/runtime/cpu -isystem "$build/include/runtime_plan_generated" -isystem "$work/root/usr/include")
for room in ir_base runtime runtime_plan runtime_text runtime_jinja runtime_chat testing; do includes+=(-I "$build/include/$room"); done
flags=(-std=c++20 -O2 -Wall -Wextra -Werror -ffp-contract=off -DFMT_HEADER_ONLY "-DHEDDLE_SOURCE_DIR=\"$PWD\"")
sources=(ir/base/*.cpp runtime/plan/*.cpp runtime/cpu/{,*/}*.cpp runtime/device/device.cpp runtime/sampling/sampling.cpp
         tests/support/{paths,tiny_plan,weight_formats}.cpp tests/runtime/cpu/{*_test,kernel_case,reference}.cpp)
compile() { aarch64-linux-gnu-g++ "${@:2}" -c "$1" -o "$work/objects/${1//\//_}.o"; }
export -f compile; export work
printf '%s\0' "${sources[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'compile "$@"' _ {} "${flags[@]}" "${includes[@]}"
lib=$work/root/usr/lib/aarch64-linux-gnu
aarch64-linux-gnu-g++ "$work"/objects/*.o -o "$work/test_cpu" -L "$lib" -lgtest_main -lgtest -lxxhash -lhwy -lpthread -ldl
qemu-aarch64-static -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$lib:/usr/aarch64-linux-gnu/lib" "$work/test_cpu" --gtest_brief=1
