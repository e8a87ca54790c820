#!/usr/bin/env bash
# From nothing to recommendations: installs packages, builds, fetches MovieLens-100K (or makes a synthetic data set where
# there is no network), trains LightGCN and then a small T5 without and with graph-aware learning, prints the table and
# recommends. Works from any directory, as often as you like: what is finished is not done again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
step() { printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }
# prepare DATA ARGUMENTS…: makes the data folder, or shows the statistics of the one that is there
prepare() {
  local data=$1
  shift
  if [ -f "$data"/dataset.json ]; then $galrec prepare folder "$data"; else $galrec prepare "$@" --out "$data"; fi
}

step "1/5 packages"
scripts/install_packages.sh quickstart

step "2/5 build (release)"
mkdir -p build
cmake --preset release -DGALREC_TESTS=OFF -DGALREC_BENCH=OFF >build/quickstart.configure.log 2>&1 || { cat build/quickstart.configure.log; exit 1; }
cmake --build --preset release --target galrec -- --quiet
galrec=build/release/bin/galrec

step "3/5 data"
if scripts/fetch_ml100k.sh datasets/source/ml-100k; then
  data=datasets/ml-100k
  prepare $data recbole datasets/source/ml-100k --name ml-100k
else
  echo "MovieLens-100K could not be fetched: using a synthetic data set with planted communities instead."
  echo "Its figures say nothing about real users."
  data=datasets/synthetic
  prepare $data synthetic --name synthetic
fi

step "4/5 train: LightGCN, then T5 nano without and with graph-aware learning"
$galrec reproduce --dataset $data --rows lightgcn,gal_lightgcn_without,gal_lightgcn --preset nano --out runs/quickstart

step "5/5 recommend"
$galrec recommend runs/quickstart/gal_lightgcn --user 1 --top-k 5
$galrec recommend runs/quickstart/gal_lightgcn --history "1,2,3" --top-k 5
echo
echo "The table is in runs/quickstart/table.md; every run folder beside it holds its configuration, log and checkpoints."
