#!/usr/bin/env python3
"""What the compiler says of the CUDA kernels, without a GPU.

    scripts/compiled.py --check                     compile every kernels/**/*.cu; exit 1 on a register spill or local memory
                                                    (sm_80 and sm_90a; those of sm_100a are listed)
    scripts/compiled.py --write bench/results/compiled.md

Compiles with nvcc for sm_80, sm_90a and, where the toolkit knows it, sm_100a, warnings as errors, and reads ptxas' own figures: registers, spills, stack, static shared
memory, threads of __launch_bounds__. Theoretical occupancy follows from registers and threads (shared memory is dynamic:
the executor's meter has it). With cuobjdump and nvdisasm on PATH (in the full toolkit; also the PyPI packages
nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm) the table gains the share of 16-byte accesses among global loads and stores.
Teaching rungs (ladder/) are compiled for sm_80 and sm_90a only, and may spill: they are listed apart.
"""
import argparse
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARCHITECTURES, NEWER = ("80", "90a"), ("100a",)
REGISTERS_PER_SM, WARPS_PER_SM, BLOCKS_PER_SM = 65536, 64, 32


def architectures_of(source):
    listed = subprocess.run(["nvcc", "--list-gpu-arch"], capture_output=True, text=True).stdout.split()
    newer = [] if "ladder" in source.parts else [a for a in NEWER if f"compute_{a.rstrip('a')}" in listed]
    return [*ARCHITECTURES, *newer]


def has_cudnn():
    return any((folder / "include" / "cudnn.h").exists() for folder in (pathlib.Path(shutil.which("nvcc")).resolve().parent.parent, pathlib.Path("/usr")))


def compile_file(source, folder):
    """Object file and ptxas' report of one source; exits with nvcc's message where it does not compile."""
    obj = folder / (str(source.relative_to(ROOT)).replace("/", "_") + ".o")
    command = ["nvcc", "-std=c++20", "-O3", "--expt-relaxed-constexpr", "-DGALREC_WITH_CUDA", f"-I{ROOT}", "-Xptxas", "-v",
               "-Xcompiler=-Wall,-Wextra,-fopenmp", "-diag-suppress=554", "-Werror", "all-warnings", "-c", str(source), "-o", str(obj)]
    if has_cudnn():
        command.append("-DGALREC_WITH_CUDNN")
    for arch in architectures_of(source):
        command += ["-gencode", f"arch=compute_{arch},code=sm_{arch}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return source, obj, done.stderr + done.stdout


def demangle(names):
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [short_name(n) for n in done.stdout.splitlines()]


def short_name(name):
    """Template arguments stay, namespaces, parameters and return types go."""
    name = re.sub(r"\(anonymous namespace\)::", "", name)
    name = re.sub(r"galrec::(\w+::)*?(?=\w)", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for at, char in enumerate(name):
        depth += (char == "<") - (char == ">")
        if char == "(" and depth == 0:
            return name[:at]
    return name


def parse_report(source, report):
    """One row per kernel and architecture."""
    rows = []
    for part in re.split(r"ptxas info\s+: Compiling entry function ", report)[1:]:
        mangled, arch = re.match(r"'(\S+)' for 'sm_(\w+)'", part).groups()
        stack, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups())
        registers = int(re.search(r"Used (\d+) registers", part).group(1))
        shared = re.search(r"(\d+) bytes smem", part)
        rows.append(dict(source=source, mangled=mangled, arch=arch, stack=stack, spills=stores + loads, registers=registers,
                         shared=int(shared.group(1)) if shared else 0))
    return rows


def sass_widths(obj):
    """Per (kernel, arch): global accesses and those of 16 bytes; threads of the launch bound where the file states it."""
    widths = {}
    text = subprocess.run(["cuobjdump", "-sass", str(obj)], capture_output=True, text=True, check=True).stdout
    arch = kernel = None
    for line in text.splitlines():
        if match := re.search(r"arch = sm_(\w+)", line):
            arch = match.group(1)
        elif match := re.search(r"Function : (\S+)", line):
            kernel = match.group(1)
        elif match := re.search(r"\b(LDG|STG|LDGSTS)((?:\.\w+)*)", line):
            seen = widths.setdefault((kernel, arch), [0, 0])
            seen[0] += 1
            seen[1] += ".128" in match.group(2)
    return widths


def occupancy(registers, threads):
    """Resident warps over the most an SM holds, from registers (allocated by 256 a warp) and threads alone."""
    warps = (threads + 31) // 32
    per_warp = (registers * 32 + 255) // 256 * 256
    blocks = min(REGISTERS_PER_SM // (per_warp * warps), WARPS_PER_SM // warps, BLOCKS_PER_SM)
    return blocks * warps / WARPS_PER_SM


def share(registers, threads):
    return f"{occupancy(registers, threads):.0%}" if threads else ""


def launch_bounds():
    """Kernel name to threads, read from the sources: __launch_bounds__(N) with N a number or a constant of the same folder."""
    bounds = {}
    for source in sorted((ROOT / "kernels").rglob("*.cu*")):
        text = source.read_text()
        constants = {}
        for near in list(source.parent.glob("*.cu*")) + list(source.parent.glob("*.h")):
            constants.update({k: int(v) for k, v in re.findall(r"constexpr (?:int|unsigned|std::int\w+) (k\w+) = (\d+);", near.read_text())})
        for bound, name in re.findall(r"__launch_bounds__\((\w+)[^)]*\)\s+(?:void\s+)?(\w+)\(", text):
            bounds[name] = int(bound) if bound.isdigit() else constants.get(bound)
    return bounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail on spills and local memory in production kernels")
    parser.add_argument("--write", metavar="FILE", help="write the table")
    parser.add_argument("files", nargs="*", help="only these sources")
    options = parser.parse_args()
    if not shutil.which("nvcc"):
        sys.exit("scripts/compiled.py: nvcc is missing (CUDA toolkit 12.4 or later)")
    sources = [pathlib.Path(f).resolve() for f in options.files] or sorted((ROOT / "kernels").rglob("*.cu"))
    rows, widths = [], {}
    has_sass = bool(shutil.which("cuobjdump") and shutil.which("nvdisasm"))
    with tempfile.TemporaryDirectory() as temporary, concurrent.futures.ThreadPoolExecutor(2) as pool:
        for source, obj, report in pool.map(lambda s: compile_file(s, pathlib.Path(temporary)), sources):
            rows += parse_report(source.relative_to(ROOT), report)
            if has_sass and options.write:
                widths.update(sass_widths(obj))
    for row, name in zip(rows, demangle([r["mangled"] for r in rows])):
        row["name"] = name
    bounds = launch_bounds()
    bad = [r for r in rows if (r["spills"] or r["stack"]) and "ladder" not in r["source"].parts]
    if options.write:
        lines = ["# What the compiler says of each kernel", "",
                 f"`scripts/compiled.py --write {options.write}`, nvcc " +
                 re.search(r"release (\S+),", subprocess.run(["nvcc", "--version"], capture_output=True, text=True).stdout).group(1) +
                 ". Occupancy: resident warps of 64, from registers and threads alone (dynamic shared memory is not counted).", "",
                 "| source | kernel | sm | registers | spilled bytes | stack | threads | occupancy | 16-byte accesses of global |",
                 "|---|---|---|---|---|---|---|---|---|"]
        for r in rows:
            threads = bounds.get(r["name"].split("<")[0])
            total, wide = widths.get((r["mangled"], r["arch"]), (0, 0))
            lines.append(f"| {r['source']} | `{r['name']}` | {r['arch']} | {r['registers']} | {r['spills']} | {r['stack']} | {threads or ''} | "
                         f"{share(r['registers'], threads)} | {f'{wide} of {total}' if total else ''} |")
        (ROOT / options.write).write_text("\n".join(lines) + "\n")
    print(f"{len(sources)} files, {len(rows)} kernels (each architecture counted), {len(bad)} with spills or local memory")
    for r in bad:
        print(f"  {r['source']}: {r['name']} sm_{r['arch']}: {r['spills']} bytes spilled, {r['stack']} bytes of stack")
    # The newer architecture's compiler gives some kernels other registers: listed, to be tuned on such a device.
    if options.check and any(r["arch"] in ARCHITECTURES for r in bad):
        sys.exit(1)


if __name__ == "__main__":
    main()
