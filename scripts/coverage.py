#!/usr/bin/env python3
"""Which lines and branches of the CUDA kernels do the tests execute? Builds the emulated backend with gcov, runs the CUDA tests.

    scripts/coverage.py [--build build/coverage] [--counted] [--write bench/results/coverage.md] [--require 0.95]

Counts the lines of kernels/**/*.cu and *.cuh that hold code, over all instantiations of a template together; lists those that no
test reached, and the lines of which a branch always went one way, in every instantiation. tests/kernels/coverage_gaps.json gives
reasons: {"file" or "*", "line" (part of its text), "why"}. Exit 1 when a smaller share of lines than required is covered.
"""
import argparse
import collections
import concurrent.futures
import gzip
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Tests of what kernels/common/*.cu holds; the operations' own are the target kernel_tests.
COMMON_TESTS = ["test_common_elementwise", "test_common_host_view", "test_common_cuda_context", "test_common_step_graphs"]
GAPS = ROOT / "tests" / "kernels" / "coverage_gaps.json"


def run(command, **kwargs):
    done = subprocess.run(command, **kwargs)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}")


def build(folder):
    run(["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGALREC_CUDA=EMULATED",
         "-DGALREC_CUDA_COVERAGE=ON", "-DGALREC_BENCH=OFF"], stdout=subprocess.DEVNULL)
    run(["cmake", "--build", str(folder), "--target", "kernel_tests", *COMMON_TESTS, "-j2", "--", "--quiet"])


def run_tests(folder):
    for old in folder.rglob("*.gcda"):
        old.unlink()
    for test in sorted((folder / "bin").glob("test_*")):
        own = not test.name.startswith("test_common_")
        if own or test.name in COMMON_TESTS:
            run([str(test), "--gtest_brief=1", f"--gtest_filter={'*Cuda*' if own else '*'}"], stdout=subprocess.DEVNULL,
                env=dict(os.environ, OMP_WAIT_POLICY="passive"))


def gcov(folder, data):
    command = ["gcov", "--json-format", "--branch-probabilities", "--stdout", str(data)]
    done = subprocess.run(command, capture_output=True, cwd=folder)
    text = gzip.decompress(done.stdout) if done.stdout[:2] == b"\x1f\x8b" else done.stdout
    lines = []
    for document in text.splitlines():
        for entry in json.loads(document)["files"]:
            path = (folder / entry["file"]).resolve()
            if path.is_relative_to(ROOT / "kernels") and path.suffix in (".cu", ".cuh"):
                name = str(path.relative_to(ROOT))
                lines += [(name, line["line_number"], line["count"], [b["count"] for b in line["branches"] if not b["throw"]])
                          for line in entry["lines"]]
    return lines


def collect(folder):
    """file -> line -> executions, and file -> lines of which some branch was never taken, in no instantiation."""
    counts, branches = collections.defaultdict(collections.Counter), collections.defaultdict(lambda: collections.defaultdict(dict))
    data = sorted((folder / "kernels").rglob("*.cu.gcda"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda d: gcov(folder, d), data):
            for name, line, count, taken in found:
                counts[name][line] += count
                if taken and count:  # instantiations differ in what the compiler left of their branches
                    of_shape = branches[name][line].setdefault(len(taken), [0] * len(taken))
                    for i, n in enumerate(taken):
                        of_shape[i] += n
    one_way = {name: [line for line, shapes in lines.items() if all(0 in shape for shape in shapes.values())]
               for name, lines in branches.items()}
    return counts, one_way


def spans(numbers):
    """1, 2, 3, 7 as "1-3, 7"."""
    out = []
    for n in sorted(numbers):
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in out)


def line_of(name, number):
    return (ROOT / name).read_text().splitlines()[number - 1].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/coverage", help="build folder")
    parser.add_argument("--counted", action="store_true", help="the tests have run: only count")
    parser.add_argument("--write", metavar="FILE")
    parser.add_argument("--require", type=float, default=0.95)
    options = parser.parse_args()
    folder = (ROOT / options.build).resolve()
    if not options.counted:
        build(folder)
        run_tests(folder)
    counts, one_way = collect(folder)
    total = sum(len(lines) for lines in counts.values())
    missed = {name: [n for n, c in lines.items() if c == 0] for name, lines in counts.items()}
    covered = total - sum(map(len, missed.values()))
    reasons = json.loads(GAPS.read_text()) if GAPS.exists() else []

    def reason(name, number):
        text = line_of(name, number)
        return next((r["why"] for r in reasons if r["file"] in (name, "*") and r["line"] in text), "")  # the first that fits

    print(f"{covered} of {total} lines of {len(counts)} files ({covered / max(1, total):.2%})")
    for name, lines in sorted(missed.items()):
        for n in sorted(lines):
            print(f"  not reached  {name}:{n}: {line_of(name, n)}  {reason(name, n)}")
    for name, lines in sorted(one_way.items()):
        for n in sorted(lines):
            print(f"  one way only {name}:{n}: {line_of(name, n)}  {reason(name, n)}")
    if options.write:
        figures = f"{covered} of {total} lines ({covered / max(1, total):.2%})"
        rows = ["# Lines of the CUDA kernels that tests execute", "",
                f"`scripts/coverage.py --write {options.write}`: {figures}, counted by "
                "gcov on the executor's build (-O1), over all instantiations of a template together.", "",
                "| file | lines | covered | not reached | branches that always went one way, at lines |", "|---|---|---|---|---|"]
        for name, lines in sorted(counts.items()):
            share = 1 - len(missed[name]) / max(1, len(lines))
            rows.append(f"| {name} | {len(lines)} | {share:.1%} | {spans(missed[name])} | {spans(one_way.get(name, []))} |")
        rows += ["", "## Why", "", "The first that fits a line counts.", "", "| file | line with | why |", "|---|---|---|"]
        rows += [f"| {r['file'].replace('*', 'any')} | `{r['line'] or 'anything else'}` | {r['why']} |" for r in reasons]
        (ROOT / options.write).write_text("\n".join(rows) + "\n")
    sys.exit(covered < options.require * total)


if __name__ == "__main__":
    main()
