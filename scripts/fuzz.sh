#!/usr/bin/env bash
# Runs every libFuzzer target for some seconds from its corpus, one on each processor: scripts/fuzz.sh [SECONDS]. Build the `fuzz`
# preset first. New inputs go to build/fuzz/corpus/<name>; a crash leaves its input there and fails the script, once all have run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzz() {  # fuzz TARGET SECONDS
  local name work
  name=$(basename "$1" _fuzz)
  work=build/fuzz/corpus/$name
  mkdir -p "$work"
  if ! "$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 -artifact_prefix="$work/" "$work" \
      "fuzz/corpus/$name" >"$work.log" 2>&1; then
    printf '%s\nfuzzer %s failed\n' "$(tail -n 40 "$work.log")" "$name" >&2
    return 1
  fi
  printf '%-20s%s executions, no failure\n' "$name" "$(awk '/stat::number_of_executed_units/ {print $2}' "$work.log")"
}
export -f fuzz

targets=(build/fuzz/bin/*_fuzz)
if [ ! -x "${targets[0]}" ]; then echo "no fuzzers: cmake --preset fuzz && cmake --build --preset fuzz" >&2; exit 2; fi
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euc 'fuzz "$1" "$2"' fuzz {} "${1:-10}"
