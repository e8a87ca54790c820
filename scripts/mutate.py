#!/usr/bin/env python3
"""Does the test suite notice bugs in the CUDA kernels? Plants one small bug after the other and runs the operation's tests.

    scripts/mutate.py [--ops rms_norm,gemm] [--write bench/results/mutation.md] [--require 0.95]

tests/mutation/<op>.json lists the bugs: {"file", "find" (must occur once), "replace", "bug" (in words)}; an entry with "equivalent"
(the reason) is known not to change what the kernel computes and is not counted. The bugs are planted in a copy of the tree
(build/mutation/source), built for the executor, and count as caught when the tests of the operation fail, crash or hang; those
that the plain executor does not notice are run again under the race detector. Exit 1 when a smaller share is caught than required.
"""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutation"
SOURCE = WORK / "source"
BUILDS = {"executor": [], "race detector": ["-DGALREC_SIMT_INSTRUMENT=ON"]}


def run(command, timeout, **kwargs):
    """Return code and output; a command that runs past its time counts as failed."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, **kwargs)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return -1, f"ran past {timeout} s\n{late.stdout or ''}"


def copy_tree():
    """The tracked files, changed ones only, so that the builds stay incremental."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        source, target = ROOT / name, SOURCE / name
        if not source.exists():
            continue
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def build_folder(kind):
    return WORK / kind.replace(" ", "_")


def configure():
    for kind, flags in BUILDS.items():
        code, output = run(["cmake", "-S", str(SOURCE), "-B", str(build_folder(kind)), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                            "-DGALREC_CUDA=EMULATED", "-DGALREC_BENCH=OFF", *flags], 300)
        if code:
            sys.exit(output)


def build_and_test(kind, op):
    """(built, caught, how) for the tree as it is now."""
    folder = build_folder(kind)
    code, output = run(["cmake", "--build", str(folder), "--target", f"test_{op}", "-j2"], 900)
    if code:
        return False, False, output
    environment = dict(os.environ, OMP_WAIT_POLICY="passive", GALREC_SIMT_LANES="shuffled", GALREC_SIMT_BLOCKS="reverse")
    code, output = run([str(folder / "bin" / f"test_{op}"), "--gtest_brief=1"], 600, env=environment)
    failed = [line for line in output.splitlines() if "FAILED" in line or "Error" in line or "rror:" in line]
    return True, code != 0, (failed[0].strip() if failed else output.strip()[-120:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", default="", help="comma-separated; all that have a list")
    parser.add_argument("--write", metavar="FILE", help="write the table")
    parser.add_argument("--require", type=float, default=0.95, help="share that must be caught")
    options = parser.parse_args()
    lists = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "tests" / "mutation").glob("*.json"))}
    ops = options.ops.split(",") if options.ops else list(lists)
    copy_tree()
    configure()
    rows, survivors = [], []
    for op in ops:
        for kind in BUILDS:
            built, failed, how = build_and_test(kind, op)
            if not built or failed:
                sys.exit(f"{op}: the tests do not pass without a bug ({kind}):\n{how}")
        for number, bug in enumerate(lists[op]):
            target = SOURCE / bug["file"]
            original = target.read_text()
            if original.count(bug["find"]) != 1:
                sys.exit(f"tests/mutation/{op}.json, entry {number}: {bug['find']!r} occurs {original.count(bug['find'])} times in {bug['file']}")
            if "equivalent" in bug:
                continue
            start = time.time()
            target.write_text(original.replace(bug["find"], bug["replace"]))
            try:
                caught_by = ""
                for kind in BUILDS:
                    built, failed, how = build_and_test(kind, op)
                    if not built:
                        sys.exit(f"tests/mutation/{op}.json, entry {number} does not compile:\n{how[-2000:]}")
                    if failed:
                        caught_by = kind
                        break
            finally:
                target.write_text(original)
            rows.append((op, bug, caught_by))
            if not caught_by:
                survivors.append((op, number, bug))
            print(f"{op} {number}: {'caught by ' + caught_by if caught_by else 'SURVIVED'}: {bug['bug']} ({time.time() - start:.0f} s)", flush=True)
    caught = len(rows) - len(survivors)
    share = caught / max(1, len(rows))
    print(f"{len(rows)} bugs, {caught} caught ({share:.1%})")
    if options.write:
        lines = ["# Planted bugs", "", f"`scripts/mutate.py --write {options.write}`: {len(rows)} bugs in the CUDA kernels, {caught} caught ({share:.1%}).", "",
                 "| operation | bug | file | caught by |", "|---|---|---|---|"]
        lines += [f"| {op} | {bug['bug']} | {bug['file']} | {by or '**nobody**'} |" for op, bug, by in rows]
        (ROOT / options.write).write_text("\n".join(lines) + "\n")
    sys.exit(share < options.require)


if __name__ == "__main__":
    main()
