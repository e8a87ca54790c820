#!/usr/bin/env bash
# Sets up, builds and tests GALRec. Works from any directory, as often as you like.
#   scripts/test.sh            release build with the CUDA backend on the executor, all tests on both backends
#   scripts/test.sh --all      also sanitizers, race builds, other lane orders, fuzzers, and nvcc where it is installed (what CI does)
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

# The cases of kernel tests that run on CUDA, the tests of the executor, and those of bf16 above the kernels, where they are built.
cuda_cases='^kernels\..*Cuda|^simt\.|^(autograd|layers)\..*InBf16'

step() { printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }

step "packages"
if [ "$all" = yes ]; then scripts/install_packages.sh sanitizers; else scripts/install_packages.sh; fi

build() {  # build PRESET TARGET…: configure a preset and build targets of it
  local preset=$1
  shift
  step "build: $preset"
  # GCC's flow analysis raises false alarms in instrumented code; the other builds keep warnings errors.
  local strict=$werror
  if [ "$preset" = race ]; then strict=OFF; fi
  cmake --preset "$preset" -DGALREC_WERROR=$strict >build/"$preset".configure.log 2>&1 || { cat build/"$preset".configure.log; exit 1; }
  cmake --build --preset "$preset" --target "$@" -- --quiet
}
mkdir -p build

run_tests() {  # run_tests PRESET CTEST-ARGUMENTS…: the summary of a run, or what failed in it and how
  local preset=$1 log=$PWD/build/$1.tests.log
  shift
  if (cd build/"$preset" && ctest --no-tests=error --output-on-failure --timeout 900 "$@") >"$log" 2>&1; then
    grep -vE ' Start +[0-9]+:| Passed ' "$log" | tail -n 12
    return
  fi
  grep -vE ' Start +[0-9]+:| Passed ' "$log" | tail -n 300
  exit 8
}

if [ "$all" = yes ]; then
  export LSAN_OPTIONS=suppressions="$PWD/scripts/lsan.supp"
  build asan all
  step "tests under AddressSanitizer and UndefinedBehaviorSanitizer, kernels of both backends among them"
  # The sanitized run repeats every unit test; what trains for long or reads the real data runs in the release build.
  # Too large an allocation shall be the program's error, which tests expect, not the sanitizer's.
  ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 run_tests asan -j2 -LE slow

  build tsan thread_tests
  step "tests under ThreadSanitizer"
  archer=$(ls /usr/lib/llvm-*/lib/libarcher.so 2>/dev/null | tail -n 1 || true)
  OMP_NUM_THREADS=3 OMP_TOOL_LIBRARIES=$archer \
    TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$PWD/scripts/tsan.supp" run_tests tsan -L threads

  build fuzz fuzzers
  step "fuzzers"
  scripts/fuzz.sh "${GALREC_FUZZ_SECONDS:-10}"

  build race kernel_tests simt_tests galrec_meter
  step "CUDA tests under the executor's race detector"
  # Left out: offsets that overlap make segments write the same rows, which the test wants reported, not ordered.
  run_tests race -j2 -R "$cuda_cases" -E OffsetsThatCannotBeTrue
  step "traffic, bank conflicts and matrix FLOPs of every kernel against the recorded figures"
  build/race/bin/galrec_meter kernels --meter --check bench/results/meter.json | tail -n 12
fi

build emulated all
if [ "$all" = yes ]; then
  step "CUDA tests, lanes shuffled and blocks in reverse order, device memory closed to the host"
  GALREC_SIMT_LANES=shuffled GALREC_SIMT_BLOCKS=reverse GALREC_SIMT_GUARD_HOST=1 run_tests emulated -j2 -R "$cuda_cases"

  step "the GPU suite, rehearsed on the executor"
  scripts/gpu_suite.sh --rehearse --out build/rehearsal --only conformance,tests,parity,bench,train,memcheck

  if command -v nvcc >/dev/null; then
    step "nvcc: every kernel for sm_80, sm_90a and sm_100a, warnings as errors, no register spilled on the first two"
    scripts/compiled.py --check
  else
    step "nvcc is not installed: the CUDA compiler's stage is left out"
  fi
fi

step "tests"
cd build/emulated
ctest -j2 --no-tests=error --output-on-failure --timeout 900
