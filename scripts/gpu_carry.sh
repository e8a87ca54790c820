#!/usr/bin/env bash
# Packs what scripts/gpu_suite.sh runs into one archive, for a machine with a GPU and a CUDA 13 (or the same major) runtime but
# without the development packages and without a network: the programs, built here with GALREC_CUDA=ON, and the shared libraries
# that they need, CUDA's own left out.
#
#   scripts/gpu_carry.sh [--arch 90a-real] [--build build/carry] [--out build/gpu_carry.tar.xz] [--no-build]
#
# On the other machine, in a checkout of the same commit:  scripts/gpu_suite.sh --carry gpu_carry.tar.xz
# An interrupted build goes on where it stopped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arch=90a-real build=build/carry out=build/gpu_carry.tar.xz compile=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --arch | --build | --out) [ $# -ge 2 ] || exit 2; declare "${1#--}=$2"; shift ;;
    --no-build) compile=no ;;
    *) sed -n '2,10p' "$0" >&2; exit 2 ;;
  esac
  shift
done

programs="conformance galrec"
for op in $(sed -n 's/^galrec_op(\([a-z_]*\).*/\1/p' kernels/CMakeLists.txt); do programs+=" test_$op bench_$op"; done

if [ $compile = yes ]; then
  # The other machine has another processor: AVX2 and FMA, which every server of the last ten years has.
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGALREC_CUDA=ON -DGALREC_CUDA_ARCHITECTURES="$arch" \
    -DGALREC_NATIVE=OFF -DCMAKE_CXX_FLAGS=-march=x86-64-v3 >/dev/null
  cmake --build "$build" --target $programs -- --quiet
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/lib/base"
missing=()
for program in $programs; do
  if [ ! -x "$build/bin/$program" ]; then missing+=("$program"); continue; fi
  strip -o "$folder/bin/$program" "$build/bin/$program"
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "not built, not packed: ${missing[*]}" >&2
  [ $compile = no ] || exit 1
fi
# Shared libraries but the C library's own and CUDA's, which must fit the driver. The compiler's base libraries lie apart: the
# suite takes them only where the system's are older.
for program in "$folder"/bin/*; do ldd "$program"; done | awk '$3 ~ /^\// {print $3}' | sort -u |
  grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libcu[a-zA-Z]*|libnv[a-zA-Z]*)\.so' |
  xargs -I{} cp -L {} "$folder/lib/"
mv "$folder"/lib/lib{stdc++,gcc_s}.so* "$folder/lib/base/"
git rev-parse HEAD >"$folder/commit"
ldd --version | head -n 1 >"$folder/built_with"
tar -C "$folder" -cJf "$out" .
echo "$out: $(du -h "$out" | cut -f1), $(ls "$folder/bin" | wc -l) programs, $(find "$folder/lib" -type f | wc -l) libraries"
echo "needs at least $(cat "$folder/built_with")"
