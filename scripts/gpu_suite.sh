#!/usr/bin/env bash
# Everything that wants a real GPU, in one call of under ten minutes: tests, conformance, compute-sanitizer, benchmarks beside their
# PyTorch peers, a training run. Results in one folder. docs/gpu.md says what each stage shows.
#
#   scripts/gpu_suite.sh                         builds preset cuda here (needs the development packages), then runs
#   scripts/gpu_suite.sh --carry ARCHIVE         runs the programs of an archive made by scripts/gpu_carry.sh; builds nothing
#   scripts/gpu_suite.sh --rehearse              the same stages on the executor, in tiny sizes: shows that the suite works
#   further: --out DIR (results), --build DIR (a finished build), --seconds N (of all stages), --only STAGE,STAGE, --data DIR
#
# A stage that fails or runs out of its time does not stop the others. Exit status: 0 all passed, 1 a stage did not, 2 usage.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stages=(conformance tests parity bench peers table train step memcheck racecheck profile)
if [ "${1:-}" = --stage ]; then
  . scripts/gpu_stages.sh
  "stage_$2"
  exit
fi

mode=gpu carry="" build="" out="" seconds=570 only="" data=""
usage() { sed -n '2,12p' "$0" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case "$1" in
    --rehearse) mode=rehearse ;;
    --carry | --out | --build | --seconds | --only | --data) [ $# -ge 2 ] || usage; declare "${1#--}=$2"; shift ;;
    *) usage ;;
  esac
  shift
done
for name in ${only//,/ }; do
  [[ " ${stages[*]} " == *" $name "* ]] || { echo "no stage $name; stages: ${stages[*]}" >&2; exit 2; }
done

SECONDS=0
out=${out:-runs/gpu_suite/$(date +%Y%m%d-%H%M%S)-$mode}
mkdir -p "$out" && out=$(cd "$out" && pwd)
if [ -n "$carry" ]; then
  mkdir -p "$out/programs" && tar -xf "$carry" -C "$out/programs" || exit 2
  build=$out/programs
elif [ -z "$build" ]; then
  build=build/$([ $mode = rehearse ] && echo emulated || echo cuda)
  if [ $mode = gpu ]; then
    mkdir -p build
    arch=native
    if nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | grep -q '^9\.0'; then arch=90a-real; fi
    if ! { cmake --preset cuda -DGALREC_CUDA_ARCHITECTURES=$arch && cmake --build --preset cuda; } >"$out/build.log" 2>&1; then
      tail -n 5 "$out/build.log" >&2
      echo "the build failed (log: $out/build.log); where packages are missing bring an archive of scripts/gpu_carry.sh" >&2
      exit 1
    fi
    SECONDS=0  # the build is not one of the stages
  fi
fi
[ -x "$build/bin/conformance" ] || { echo "$build/bin/conformance is missing: build the whole preset first" >&2; exit 2; }
build=$(cd "$build" && pwd)

export GALREC_SUITE_MODE=$mode GALREC_SUITE_OUT=$out GALREC_SUITE_BIN=$build/bin GALREC_SUITE_DATA=$data
export GALREC_SUITE_PYTHON_LIBRARIES=${LD_LIBRARY_PATH:-} GALREC_SOURCE_DIR=$PWD PYTHON=${PYTHON:-python3} OMP_WAIT_POLICY=passive
# Libraries that came along; then CUDA's: the toolkit's, or those inside PyTorch's packages.
libraries=$build/lib
packages=$("$PYTHON" -c 'import site; print(*site.getsitepackages())' 2>/dev/null)
found=$(for p in $packages; do ls -d "$p"/nvidia/*/lib 2>/dev/null; done)
for folder in /usr/local/cuda/lib64 $found; do libraries+=:$folder; done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ -n "$carry" ] && ldd "$build/bin/galrec" 2>&1 | grep -q 'not found'; then
  export LD_LIBRARY_PATH=$build/lib/base:$LD_LIBRARY_PATH
fi
if ldd "$build/bin/galrec" 2>&1 | grep 'not found' >&2; then
  echo "libraries are missing; CUDA's are looked for in /usr/local/cuda/lib64 and in $PYTHON's nvidia packages" >&2
  exit 2
fi

. scripts/gpu_stages.sh
describe >"$out/info.txt"
cat "$out/info.txt"
# Peers compile while the tests run, into a cache that the timed call reads.
export TORCHINDUCTOR_CACHE_DIR=$out/inductor TORCHINDUCTOR_FX_GRAPH_CACHE=1
warm=""
if [ $mode = gpu ] && [[ -z "$only" || ",$only," == *,peers,* ]]; then
  setsid bash "$0" --stage warm >"$out/warm.log" 2>&1 &
  warm=$!
fi

failed=0
printf '| stage | result | seconds | |\n|---|---|---|---|\n' >"$out/summary.md"
for name in "${stages[@]}"; do
  [[ -z "$only" || ",$only," == *",$name,"* ]] || continue
  if [ "$name" = bench ] && [ -n "$warm" ]; then  # nothing else may run while times are taken
    timeout 90 tail --pid="$warm" -f /dev/null
    kill -- "-$warm" 2>/dev/null
  fi
  box=$(box_of "$name") left=$((seconds - SECONDS)) began=$SECONDS
  rm -f "$out/$name.note"
  if [ "$left" -lt 5 ]; then
    result="left out" note="no time left"
  else
    timeout -k 5 $((box < left ? box : left)) bash "$0" --stage "$name" >"$out/$name.log" 2>&1
    case $? in
      0) result=passed ;;
      77) result=skipped ;;
      124 | 137) result="out of time" ;;
      *) result=FAILED ;;
    esac
    note=$(cat "$out/$name.note" 2>/dev/null)
  fi
  # What cannot run here fails the suite, but in a rehearsal, and but for counters that the machine keeps to itself.
  case "$result/$mode/$name" in passed/* | skipped/rehearse/* | skipped/gpu/profile) ;; *) failed=1 ;; esac
  printf '| %s | %s | %d | %s |\n' "$name" "$result" $((SECONDS - began)) "$note" | tee -a "$out/summary.md"
done
rm -rf "$out/inductor" "$out/programs"
{ echo; echo "in all: $SECONDS s, exit $failed"; } | tee -a "$out/summary.md"
echo "results: $out"
exit $failed
