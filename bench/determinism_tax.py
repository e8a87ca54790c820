#!/usr/bin/env python3
"""Goal G15: what the fixed order of sums costs. Runs benchmarks of two builds on one GPU, in turns, and prints their times.

    cmake --preset cuda -DGALREC_TESTS=OFF && cmake --build --preset cuda --target benches
    cmake --preset cuda -B build/cuda-unordered -DGALREC_TESTS=OFF -DGALREC_UNORDERED=ON
    cmake --build build/cuda-unordered --target bench_embedding bench_rms_norm bench_layer_norm
    bench/determinism_tax.py build/cuda build/cuda-unordered

The second build adds by float atomics what the first adds in order: rows of the embedding's gradient (instead of sort and
segments), the slabs of the norms' weight gradients and of column sums (instead of a second kernel). Attention's dBias, the
cross-entropy's and GEMM's slices have no such variant. Each benchmark runs --turns times, builds alternating; the median counts.
Exit 1 where a benchmark fails in either build, or nothing ran.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

BENCHES = {"embedding": "backward", "rms_norm": "backward|both", "layer_norm": "backward|both"}


def times(program, pattern):
    """Name to microseconds, of the CUDA benchmarks that match."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([program, f"--benchmark_filter=^cuda/.*({pattern})", f"--benchmark_out={out.name}", "--benchmark_out_format=json"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        text = pathlib.Path(out.name).read_text()
    runs = json.loads(text)["benchmarks"] if text else []
    for run in runs:
        if run.get("error_occurred"):
            sys.exit(f"{program}: {run['name']}: {run['error_message']}")
    return {run["name"].split("/iterations")[0]: run["real_time"] for run in runs}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ordered", type=pathlib.Path, help="build folder of the default")
    parser.add_argument("unordered", type=pathlib.Path, help="build folder with GALREC_UNORDERED=ON")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    seen = {}
    for name, pattern in BENCHES.items():
        for _ in range(options.turns):
            for column, build in enumerate((options.ordered, options.unordered)):
                for case, time in times(build / "bin" / f"bench_{name}", pattern).items():
                    seen.setdefault(case, ([], []))[column].append(time)
    if not seen:
        sys.exit("no CUDA benchmark ran: are these builds with GALREC_CUDA=ON?")
    print("| benchmark | in order us | unordered us | order costs |\n|---|---|---|---|")
    for case, columns in seen.items():
        ordered, unordered = map(statistics.median, columns)
        print(f"| {case} | {ordered:.1f} | {unordered:.1f} | {ordered / unordered - 1:+.1%} |")


if __name__ == "__main__":
    main()
