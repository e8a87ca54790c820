#!/usr/bin/env python3
"""Does the test suite notice bugs in the CUDA kernels? Plants one small bug after the other and runs the tests of its operation.

    scripts/mutate.py [--ops rms_norm,gemm] [--seconds 200] [--fresh] [--survivors] [--as-built] [--write FILE] [--require 0.95]

tests/mutation/<op>.json lists the bugs: {"file", "find" (must occur once), "replace", "bug" (in words)} and, where the defaults do
not fit, "unit" (the .cu file that sees a header; otherwise all of the operation that include it) and "test" (the test program;
otherwise test_<op>). "equivalent": the reason why nothing that a test could see changes; such a bug is not planted and not counted.
"survives": the reason why no test notices it; it counts as not caught. "survived_until": the test that was written for it.

The tree is built once for the executor (build/mutation/executor). A bug is a copy of its file in a folder that the compiler
searches first: one translation unit is compiled (-O1) and linked before the library, which then gives all but that unit. A bug
counts as caught when the CUDA cases of the test fail, crash or hang; those that the plain executor does not notice run again under
the race detector. Each unit also runs without a bug, and must pass. Results are kept in build/mutation/results.json: a call that
ends early goes on where it stopped; what was caught once counts although the file has changed elsewhere, until --fresh.

--write also puts the outcomes into bench/results/mutation.json, under a hash of what is planted and where it is tested. The next
call, on whatever machine, begins from it, and the table shows every operation although --ops names a few; a bug whose entry has
changed has another hash, and counts as not run.

Exit 1 when a smaller share is caught than required, 2 when something does not fit any more or is not done yet.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutation"
RESULTS = WORK / "results.json"
RECORD = ROOT / "bench" / "results" / "mutation.json"
NOT_RUN = {"by": "", "last": ""}
KINDS = {"executor": [], "race detector": ["-DGALREC_SIMT_INSTRUMENT=ON"]}
COMPILE_SECONDS, TEST_SECONDS = 120, 60
children = set()
as_built = False
# Left out under the race detector: offsets that overlap make segments write the same rows, which the test wants reported.
LEFT_OUT = {"executor": "", "race detector": "-*OffsetsThatCannotBeTrue*"}


def run(command, seconds, **kwargs):
    """Exit code and output. What runs past its time is killed with its children, and counts as failed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True, **kwargs)
    children.add(process)
    try:
        output = process.communicate(timeout=seconds)[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return -1, f"ran past {seconds} s"
    finally:
        children.discard(process)


def stop(*_):
    """Somebody ends this program: what it started ends as well."""
    for process in list(children):
        os.killpg(process.pid, signal.SIGKILL)
    os._exit(2)


class Build:
    """The tree without bugs, as the executor or the race detector runs it."""

    def __init__(self, kind):
        self.folder = WORK / kind.replace(" ", "_")
        self.kind, self.ready, self.lock = kind, set(), threading.Lock()
        self.must(["cmake", "-S", str(ROOT), "-B", str(self.folder), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                   "-DGALREC_CUDA=EMULATED", "-DGALREC_BENCH=OFF", *KINDS[kind]])
        entries = json.loads((self.folder / "compile_commands.json").read_text())
        self.compile = {os.path.relpath(e["file"], ROOT): shlex.split(e["command"]) for e in entries if e["file"].endswith(".cu")}
        self.optimise = "-O1" if kind == "executor" else "-O2"

    def must(self, command):
        code, output = run(command, 1800, cwd=ROOT)
        if code:
            sys.exit(f"{' '.join(command)}:\n{output[-3000:]}")
        return output

    def prepare(self, test, op):
        """Builds a test, which must pass without a bug; on the executor Control sees to that."""
        with self.lock:
            if test in self.ready:
                return
            program = self.folder / "bin" / test
            sources = [*(ROOT / "tests" / "kernels").glob(f"{op}_*")]
            sources += (ROOT / "tests" / "common").glob(f"{test[len('test_common_'):]}_test.cc")
            fresh = program.exists() and all(p.stat().st_mtime < program.stat().st_mtime for p in sources)
            if not (as_built and fresh):
                print(f"building {test} ({self.kind})", flush=True)
                self.must(["cmake", "--build", str(self.folder), "--target", test, "-j2"])
            code, output = (0, "") if self.kind == "executor" else self.cases(program, test == f"test_{op}")
            if code:
                sys.exit(f"{test} does not pass without a bug ({self.kind}):\n{output[-2000:]}")
            self.ready.add(test)

    def cases(self, program, own):
        """Runs the CUDA cases of a kernel test, all cases of another one."""
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", GALREC_SIMT_LANES="shuffled", GALREC_SIMT_BLOCKS="reverse")
        cases = ("*Cuda*" if own else "*") + LEFT_OUT[self.kind]
        return run([str(program), f"--gtest_filter={cases}", "--gtest_fail_fast", "--gtest_brief=1"], TEST_SECONDS, env=environment)

    def units_of(self, header, op):
        """The operation's .cu files that include a header."""
        units, unit = [], ""
        for line in self.must(["ninja", "-C", str(self.folder), "-t", "deps"]).splitlines():
            if line and not line.startswith(" "):
                unit = line.split(":")[0]
            elif line.strip() == str(ROOT / header) and f"/op_{op}.dir/" in unit and unit.endswith(".cu.o"):
                units.append(f"kernels/{op}/{pathlib.Path(unit).name[:-2]}")
        return sorted(units)

    def compiled(self, unit, overlay):
        """Compiles a unit with the overlay before the tree; its object."""
        command = list(self.compile[unit])
        changed = overlay / unit
        target = overlay / (unit.replace("/", "_") + f".{self.folder.name}.o")
        command[command.index("-o") + 1] = str(target)
        command[command.index("-c") + 1] = str(changed if changed.exists() else ROOT / unit)
        command.insert(command.index(f"-I{ROOT}"), f"-I{overlay}")
        command = [self.optimise if c == "-O3" else c for c in command]
        code, output = run(command, COMPILE_SECONDS, cwd=self.folder)
        if code:
            raise RuntimeError(f"does not compile:\n{output[-1500:]}")
        return target

    def caught(self, test, op, units, overlay):
        """Whether the test fails with these units, and how."""
        objects = [str(self.compiled(unit, overlay)) for unit in units]
        command = shlex.split(self.must(["ninja", "-C", str(self.folder), "-t", "commands", test]).splitlines()[-1])
        command = command[command.index("&&") + 1:]
        command = command[:command.index("&&")]
        program = overlay / f"{test}.{self.folder.name}"
        at = command.index("-o")
        command[at + 1] = str(program)
        code, output = run([*command[:at], *objects, *command[at:]], COMPILE_SECONDS, cwd=self.folder)
        if code:
            raise RuntimeError(f"does not link:\n{output[-1500:]}")
        code, output = self.cases(program, test == f"test_{op}")
        program.unlink()
        for o in objects:
            pathlib.Path(o).unlink()
        failed = [line for line in output.splitlines() if "[  FAILED  ]" in line]
        return code != 0, (failed[0] if failed else output.strip()[-200:])


builds, configuring = {}, threading.Lock()


def build(kind, test, op):
    with configuring:
        if kind not in builds:
            builds[kind] = Build(kind)
    builds[kind].prepare(test, op)
    return builds[kind]


class Bug:
    def __init__(self, op, number, entry):
        self.op, self.number, self.entry, self.file = op, number, entry, entry["file"]
        self.test = entry.get("test", f"test_{op}")
        text = (ROOT / self.file).read_text()
        self.matches = text.count(entry["find"])
        self.text = text.replace(entry["find"], entry["replace"])
        parts = (self.test, self.file, entry.get("unit", ""), entry["find"], entry["replace"])
        self.key = hashlib.sha1("\0".join(parts).encode()).hexdigest()

    def done(self, results):
        """Caught, or missed by the race detector as well; not if the bug cannot be planted as the file is now."""
        if "equivalent" in self.entry or self.matches != 1:
            return False
        return bool(results[self.key]["by"]) or results[self.key]["last"] == "race detector"

    def units(self):
        if self.file.endswith(".cu"):
            return [self.file]
        return [self.entry["unit"]] if "unit" in self.entry else build("executor", self.test, self.op).units_of(self.file, self.op)

    def run(self, kind):
        overlay = WORK / "overlay" / self.key
        (overlay / self.file).parent.mkdir(parents=True, exist_ok=True)
        (overlay / self.file).write_text(self.text)
        start, units = time.time(), self.units()
        if not units:
            raise RuntimeError(f"{self.file} is in no unit of {self.op}: name one (\"unit\")")
        failed, how = build(kind, self.test, self.op).caught(self.test, self.op, units, overlay)
        shutil.rmtree(overlay)
        print(f"{self.op} {self.number}: {'caught' if failed else 'NOT caught'} by the {kind}: {self.entry['bug']} "
              f"({time.time() - start:.0f} s)", flush=True)
        return {"by": kind if failed else "", "last": kind, "how": how}


class Control:
    """The units of a test as they are, compiled as those with bugs: what fails here would count every bug as caught."""

    def __init__(self, bugs):
        self.op, self.test = bugs[0].op, bugs[0].test
        self.units = sorted({bug.entry.get("unit", bug.file) for bug in bugs if bug.file.endswith(".cu") or "unit" in bug.entry})
        texts = [(ROOT / unit).read_text() for unit in self.units]
        self.key = "control " + hashlib.sha1("\0".join((self.test, *self.units, *texts)).encode()).hexdigest()

    def run(self, kind):
        overlay = WORK / "overlay" / self.key.replace(" ", "_")
        overlay.mkdir(parents=True, exist_ok=True)
        failed, how = build(kind, self.test, self.op).caught(self.test, self.op, self.units, overlay)
        shutil.rmtree(overlay)
        if failed:
            raise RuntimeError(f"does not pass with its units as they are: {how}")
        return {"by": "control"}


def with_controls(bugs, results):
    """A test's control comes before the first of its bugs."""
    by_test = collections.defaultdict(list)
    for bug in bugs:
        by_test[(bug.test, bug.op)].append(bug)
    out = []
    for bug in bugs:
        own = by_test.pop((bug.test, bug.op), None)
        if own and (control := Control(own)).key not in results:
            out.append(control)
        out.append(bug)
    return out


def write_record(bugs, results):
    """What is known of the bugs as they are listed now, one a line."""
    lines = []
    for b in bugs:
        if results[b.key]["last"] and "equivalent" not in b.entry:
            known = {"op": b.op, "file": b.file, "bug": b.entry["bug"], "by": results[b.key]["by"], "last": results[b.key]["last"]}
            lines.append(f" {json.dumps(b.key)}: {json.dumps(known, ensure_ascii=False)}")
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def table(bugs, results, command):
    by_op = collections.defaultdict(list)
    for bug in bugs:
        by_op[bug.op].append(bug)
    planted = [b for b in bugs if b.done(results)]
    waiting = [b for b in bugs if "equivalent" not in b.entry and b not in planted]
    by = {kind: sum(results[b.key]["by"] == kind for b in planted) for kind in KINDS}
    caught = sum(by.values())
    lines = ["# Bugs planted in the CUDA kernels", "",
             f"`{command}`: {len(planted)} bugs in {len({b.file for b in planted})} files, {caught} caught by the tests "
             f"({caught / len(planted):.1%}): {by['executor']} on the executor as it is, {by['race detector']} more under its race "
             "detector.", "",
             "Outcomes are kept in [mutation.json](mutation.json): what was caught once counts although kernels or tests have "
             "changed since, until it runs again with `--fresh`.", "",
             "| operation | planted | caught | not caught | no difference | listed, not run yet |", "|---|---|---|---|---|---|"]
    for op, own in by_op.items():
        there = [b for b in own if b in planted]
        found = sum(bool(results[b.key]["by"]) for b in there)
        later = sum(b in waiting for b in own)
        lines.append(f"| {op} | {len(there)} | {found} | {len(there) - found} | {len(own) - len(there) - later} | {later} |")
    survivors = [b for b in planted if not results[b.key]["by"]]
    halfway = [b for b in waiting if results[b.key]["last"] and not results[b.key]["by"]]
    lines += ["", "## Not caught", ""]
    lines += [f"- {b.op}, {b.file}: {b.entry['bug']}. {b.entry.get('survives', 'No reason yet.')}" for b in survivors]
    lines += [] if survivors else ["None."]
    if halfway:
        lines += ["", "Not noticed by the executor as it is; the race detector has not looked yet:", ""]
        lines += [f"- {b.op}, {b.file}: {b.entry['bug']}" for b in halfway]
    lines += ["", "## Survived at first, and became tests", ""]
    lines += [f"- {b.op}, {b.file}: {b.entry['bug']}: {b.entry['survived_until']}" for b in bugs if "survived_until" in b.entry]
    lines += ["", "## Changes that no test can see", "", "Planted at first, and understood when nothing failed; not counted.", ""]
    lines += [f"- {b.op}, {b.file}: {b.entry['bug']}. {b.entry['equivalent']}" for b in bugs if "equivalent" in b.entry]
    lines += ["", "## All", "", "| operation | file | bug | caught by |", "|---|---|---|---|"]
    lines += [f"| {b.op} | {b.file} | {b.entry['bug']} | {results[b.key]['by'] or '**nobody**'} |" for b in planted]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", default="", help="comma-separated; all that have a list")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no further bug after that time")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results of these operations")
    parser.add_argument("--survivors", action="store_true", help="run those again that were not caught")
    parser.add_argument("--as-built", action="store_true",
                        help="rebuild a test only where its own sources changed: for a tree whose kernels are being edited")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", metavar="FILE", help="write the table and bench/results/mutation.json")
    parser.add_argument("--require", type=float, default=0.95, help="share that must be caught")
    options = parser.parse_args()
    global as_built
    as_built = options.as_built
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    end = time.time() + options.seconds
    lists = {p.stem: json.loads(p.read_text()) for p in sorted((ROOT / "tests" / "mutation").glob("*.json"))}
    listed = [Bug(op, i, entry) for op in lists for i, entry in enumerate(lists[op])]
    ops = options.ops.split(",") if options.ops else list(lists)
    if unknown := set(ops) - set(lists):
        parser.error(f"no list of bugs: {', '.join(sorted(unknown))}")
    bugs = [b for b in listed if b.op in ops]
    stale = [b for b in bugs if b.matches != 1]
    for b in stale:
        print(f"tests/mutation/{b.op}.json: {b.entry['find']!r} occurs {b.matches} times in {b.file} ({b.entry['bug']})")
    bugs = [b for b in bugs if b.matches == 1]
    WORK.mkdir(parents=True, exist_ok=True)
    planted = [b for b in bugs if "equivalent" not in b.entry]
    results = {b.key: NOT_RUN for b in listed}
    for kept in (RECORD, RESULTS):
        results |= json.loads(kept.read_text()) if kept.exists() else {}
    if options.fresh:
        results = {k: r for k, r in results.items() if not k.startswith("control")}
    for b in planted:
        if options.fresh or (options.survivors and not results[b.key]["by"]):
            results[b.key] = NOT_RUN
    broken = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for kind in KINDS:  # the second looks at what the first did not notice
            before = "" if kind == "executor" else "executor"
            todo = [b for b in planted if not results[b.key]["by"] and results[b.key]["last"] == before]
            todo.sort(key=lambda b: b.number // 6)  # something of every operation, should time run out
            if time.time() >= end:
                break
            if kind == "executor":
                todo = with_controls(todo, results)
            running = {pool.submit(lambda b: b.run(kind) if time.time() < end else None, bug): bug for bug in todo}
            for done in concurrent.futures.as_completed(running):
                bug = running[done]
                try:
                    result = done.result()
                except RuntimeError as error:
                    broken.append(f"{bug.op}: {bug.entry['bug'] + ': ' if isinstance(bug, Bug) else ''}{error}")
                    continue
                if result:
                    results[bug.key] = result
                    RESULTS.write_text(json.dumps(results, indent=1))
    for line in broken:
        print(line)
    known = [b for b in planted if b.done(results)]
    caught = sum(bool(results[b.key]["by"]) for b in known)
    print(f"{len(known)} of {len(planted)} bugs done, {caught} caught ({caught / max(1, len(known)):.1%})")
    for b in known:
        if not results[b.key]["by"]:
            print(f"  not caught: {b.op}, {b.file}: {b.entry['bug']}{'' if 'survives' in b.entry else ' (no reason yet)'}")
    if options.write:
        write_record(listed, results)
        (ROOT / options.write).write_text(table(listed, results, f"scripts/mutate.py --write {options.write}"))
    if stale or broken or len(known) < len(planted):
        sys.exit(2)
    sys.exit(caught < options.require * len(known))


if __name__ == "__main__":
    main()
