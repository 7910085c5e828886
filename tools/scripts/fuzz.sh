#!/usr/bin/env bash
# tools/scripts/fuzz.sh [SECONDS [TARGET...]]: runs the fuzz targets (tests/fuzz; all of them by default) under the address and undefined behaviour
# sanitizers, SECONDS (60) each, one after the other. Wants clang with its runtime (Debian: clang libclang-rt-14-dev). What libFuzzer collects
# stays in build/fuzz/corpus and is where the next run goes on; findings are in build/fuzz/findings. The exit code is 1 if there are any.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift || true
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for folder in tests/fuzz/corpus/*/; do targets+=("$(basename "$folder")"); done
fi
if ! command -v clang++ >/dev/null; then
  echo "fuzz: clang++ is missing (apt-get install clang libclang-rt-14-dev)" >&2
  exit 2
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]/#/fuzz_}" >/dev/null
failed=0
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target findings=build/fuzz/findings/$target log=build/fuzz/$target.log
  mkdir -p "$corpus" "$findings"
  dictionary=()
  [ -e "tests/fuzz/$target.dict" ] && dictionary=("-dict=tests/fuzz/$target.dict")
  if build/fuzz/tests/fuzz/fuzz_"$target" -max_total_time="$seconds" -max_len=32768 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
       "${dictionary[@]}" -artifact_prefix="$findings/" "$corpus" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, no finding"
  else
    failed=1
    echo "$target: a finding, see $log and $findings"
    grep -E -m 3 'ERROR|SUMMARY|check failed|runtime error' "$log" || true
  fi
done
exit $failed
