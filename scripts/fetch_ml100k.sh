#!/usr/bin/env bash
# Fetches MovieLens-100K in RecBole's atomic format: scripts/fetch_ml100k.sh FOLDER. It lies in the PyPI wheel
# recbole==1.2.1, which is downloaded (not installed), checked and unpacked. Its licence forbids passing it on, so it is
# never part of this repository. Exit 1 where it cannot be had.
set -euo pipefail
folder=${1:?usage: scripts/fetch_ml100k.sh FOLDER}
sums="4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff  ml-100k.inter
51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532  ml-100k.item"
if [ -d "$folder" ] && (cd "$folder" && echo "$sums" | sha256sum --check --status 2>/dev/null); then exit 0; fi
for tool in python3 sha256sum; do
  command -v $tool >/dev/null || { echo "scripts/fetch_ml100k.sh: $tool is missing" >&2; exit 1; }
done
python3 -m pip --version >/dev/null 2>&1 || { echo "scripts/fetch_ml100k.sh: pip is missing (Debian: python3-pip)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --disable-pip-version-check --timeout 20 --retries 1 -d "$work" recbole==1.2.1 >"$work"/pip.log 2>&1 ||
  { echo "scripts/fetch_ml100k.sh: recbole==1.2.1 could not be downloaded; pip says: $(grep . "$work"/pip.log | head -n 1)" >&2; exit 1; }
mkdir -p "$folder"
python3 - "$work" "$folder" <<'PY'
import glob, os, sys, zipfile
work, folder = sys.argv[1:3]
with zipfile.ZipFile(glob.glob(f"{work}/*.whl")[0]) as wheel:
    for name in ("ml-100k.inter", "ml-100k.item"):
        with open(os.path.join(folder, name), "wb") as out:
            out.write(wheel.read(f"recbole/dataset_example/ml-100k/{name}"))
PY
(cd "$folder" && echo "$sums" | sha256sum --check --quiet) || { echo "scripts/fetch_ml100k.sh: the checksum differs" >&2; rm -f "$folder"/ml-100k.*; exit 1; }
cat <<'TEXT'
MovieLens-100K, GroupLens Research, University of Minnesota. Please cite: F. Maxwell Harper and Joseph A. Konstan. 2015.
The MovieLens Datasets: History and Context. ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19.
TEXT
