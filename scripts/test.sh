#!/usr/bin/env bash
# Sets up, builds and tests GALRec. Works from any directory, as often as you like.
#   scripts/test.sh            release build, all tests
#   scripts/test.sh --all      also sanitizers, the race build and a short run of every fuzzer (what CI does)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

all=no
for argument in "$@"; do
  case "$argument" in
    --all) all=yes ;;
    *) echo "usage: scripts/test.sh [--all]" >&2; exit 2 ;;
  esac
done
werror=OFF
if [ -n "${CI:-}" ]; then werror=ON; fi

# Two test programs run side by side: threads that spin at barriers would take the other's time.
export OMP_WAIT_POLICY=passive

step() { printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }

step "packages"
if [ "$all" = yes ]; then scripts/install_packages.sh sanitizers; else scripts/install_packages.sh; fi

build() {  # build PRESET TARGET: configure a preset and build a target of it
  step "build: $1"
  # GCC's flow analysis raises false alarms in instrumented code; the other builds keep warnings errors.
  local strict=$werror
  if [ "$1" = asan ]; then strict=OFF; fi
  cmake --preset "$1" -DGALREC_WERROR=$strict ${3:-} ${4:-} >build/"$1".configure.log 2>&1 || { cat build/"$1".configure.log; exit 1; }
  cmake --build --preset "$1" --target "$2" -- --quiet
}
mkdir -p build

if [ "$all" = yes ]; then
  build asan all
  step "tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  # The sanitized run repeats every unit test; what trains for long or reads the real data runs in the release build.
  (cd build/asan && ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=suppressions="$PWD/../../scripts/lsan.supp" \
    ctest -j2 --output-on-failure --timeout 900 -LE slow | tail -n 25)

  build tsan thread_tests
  step "tests under ThreadSanitizer"
  archer=$(ls /usr/lib/llvm-*/lib/libarcher.so 2>/dev/null | tail -n 1 || true)
  (cd build/tsan && OMP_NUM_THREADS=3 OMP_TOOL_LIBRARIES=$archer \
    TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$PWD/../../scripts/tsan.supp" \
    ctest --output-on-failure --timeout 900 -L threads | tail -n 25)

  build fuzz fuzzers
  step "fuzzers"
  scripts/fuzz.sh "${GALREC_FUZZ_SECONDS:-10}"
fi

build release all -DGALREC_TESTS=ON -DGALREC_BENCH=ON
step "tests"
cd build/release
ctest -j2 --no-tests=error --output-on-failure --timeout 900
