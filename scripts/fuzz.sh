#!/usr/bin/env bash
# Runs every libFuzzer target for some seconds from its corpus: scripts/fuzz.sh [SECONDS]. Build the `fuzz` preset first.
# New inputs go to build/fuzz/corpus/<name>; a crash leaves its input there and fails the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-10}
for target in build/fuzz/bin/*_fuzz; do
  name=$(basename "$target" _fuzz)
  work=build/fuzz/corpus/$name
  mkdir -p "$work"
  printf '%-20s' "$name"
  if ! "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
      -artifact_prefix="$work/" "$work" "fuzz/corpus/$name" >"$work.log" 2>&1; then
    tail -n 40 "$work.log"
    echo "fuzzer $name failed" >&2
    exit 1
  fi
  awk '/stat::number_of_executed_units/ {printf "%s executions, no failure\n", $2}' "$work.log"
done
