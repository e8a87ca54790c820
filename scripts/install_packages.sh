#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that GALRec builds with. Asks for sudo only when something is missing.
# (ocl-icd-opencl-dev: the CMake package of libdnnl-dev wants OpenCL, which libdnnl-dev does not depend on.)
#   scripts/install_packages.sh            what the program and its tests need
#   scripts/install_packages.sh sanitizers also clang, libomp and the sanitizers' runtimes
#   scripts/install_packages.sh quickstart also pip, where Python has none, to fetch MovieLens-100K
set -euo pipefail

packages=(g++ cmake ninja-build ccache pkg-config libdnnl-dev ocl-icd-opencl-dev libsentencepiece-dev libthrust-dev libcli11-dev
  libtomlplusplus-dev nlohmann-json3-dev libspdlog-dev libfmt-dev zlib1g-dev libgtest-dev libbenchmark-dev)
if [ "${1:-}" = sanitizers ]; then
  packages+=(clang libclang-rt-dev libomp-dev)
elif [ "${1:-}" = quickstart ] && ! python3 -m pip --version >/dev/null 2>&1; then
  packages+=(python3-pip)
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "== packages: all ${#packages[@]} are installed"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "scripts/install_packages.sh: apt-get is missing; install these by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
echo "== packages: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
