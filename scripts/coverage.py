#!/usr/bin/env python3
"""Which lines of the CUDA kernels do the tests execute? Builds the emulated backend with gcov, runs the kernels' tests, counts.

    scripts/coverage.py [--write bench/results/coverage.md] [--require 0.95]

Counts the lines of kernels/**/*.cu and *.cuh (teaching rungs too) that hold code; lists those that no test reached. Exit 1 when a
smaller share than required is covered.
"""
import argparse
import gzip
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"


def run(command, **kwargs):
    done = subprocess.run(command, **kwargs)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")


def collect():
    """file -> line -> executions, over all objects."""
    counts = {}
    for notes in sorted((BUILD / "kernels").rglob("*.cu.gcno")):
        if not notes.with_suffix(".gcda").exists():
            continue
        done = subprocess.run(["gcov", "--json-format", "--stdout", str(notes.with_suffix(".gcda"))], capture_output=True, cwd=BUILD)
        text = gzip.decompress(done.stdout) if done.stdout[:2] == b"\x1f\x8b" else done.stdout
        for document in text.splitlines():
            for entry in json.loads(document)["files"]:
                path = pathlib.Path(entry["file"])
                path = path if path.is_absolute() else BUILD / path
                try:
                    name = str(path.resolve().relative_to(ROOT))
                except ValueError:
                    continue
                if name.startswith("kernels/") and path.suffix in (".cu", ".cuh"):
                    lines = counts.setdefault(name, {})
                    for line in entry["lines"]:
                        lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--require", type=float, default=0.95)
    options = parser.parse_args()
    run(["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGALREC_CUDA=EMULATED",
         "-DGALREC_CUDA_COVERAGE=ON", "-DGALREC_BENCH=OFF"], stdout=subprocess.DEVNULL)
    run(["cmake", "--build", str(BUILD), "--target", "kernel_tests", "-j2", "--", "--quiet"])
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    run(["ctest", "-j2", "--output-on-failure", "-R", "^kernels\\."], cwd=BUILD, env=dict(os.environ, OMP_WAIT_POLICY="passive"),
        stdout=subprocess.DEVNULL)
    counts = collect()
    total = sum(len(lines) for lines in counts.values())
    missed = {name: [n for n, c in sorted(lines.items()) if c == 0] for name, lines in counts.items()}
    covered = total - sum(map(len, missed.values()))
    print(f"{covered} of {total} lines of {len(counts)} files ({covered / max(1, total):.1%})")
    for name, lines in sorted(missed.items()):
        if lines:
            print(f"  {name}: {', '.join(map(str, lines))}")
    if options.write:
        rows = ["# Lines of the CUDA kernels that tests execute", "",
                f"`scripts/coverage.py --write {options.write}`: {covered} of {total} lines ({covered / max(1, total):.1%}).", "",
                "| file | lines | covered | not reached |", "|---|---|---|---|"]
        for name, lines in sorted(counts.items()):
            rows.append(f"| {name} | {len(lines)} | {1 - len(missed[name]) / max(1, len(lines)):.1%} | {', '.join(map(str, missed[name]))} |")
        (ROOT / options.write).write_text("\n".join(rows) + "\n")
    sys.exit(covered < options.require * total)


if __name__ == "__main__":
    main()
