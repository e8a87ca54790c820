#!/usr/bin/env python3
"""Pairs our benchmarks with their peers: a Markdown table with the factor of each goal.

    bench/peers/table.py --ours bench_*.json … --peers peers.jsonl --info info.txt --write goals.md [--rehearse]

--ours are Google Benchmark's JSON files of bench_<op>, --peers the lines of the peer scripts. A goal is met when ours beats the
best variant that validated by its factor. Exit status 1 when a case of one side has no counterpart on the other. --rehearse:
pairs everything, and says of every figure that it means nothing.
"""
import argparse
import json
import sys

# Goal: what it measures, required factor, wished factor, least share of the floor (reference for the goals: docs/gpu.md).
GOALS = {
    "G1": ("attention forward and backward with the gradient of the bias", {"attention_bias/both": (1.5, 2.5)}, 0),
    "G2": ("the same over packed sequences of 33 to 512", {"attention_packed/both": (2.0, 3.0)}, 0),
    "G4": ("attention with bias, against none", {"attention_bias/both": (0.9, 1.1), "attention_bias_short/both": (1.2, 1.6)}, 0),
    "G5": ("residual and RMSNorm", {"rms_norm_residual/both": (1.0, 1.0)}, 0.8),
    "G6": ("feed-forward", {"feed_forward/both": (1.0, 1.15)}, 0),
    "G7": ("linear and cross-entropy", {"linear_cross_entropy/both": (1.2, 1.6)}, 0),
    "G8": ("three InfoNCE losses", {"info_nce_3/both": (2.0, 3.0)}, 0),
    "G9": ("clip, AdamW, average, bf16 copies", {"adamw_clip_ema/step": (1.3, 1.45)}, 0.8),
    "G10": ("gradient of the embedding", {"embedding/backward": (1.5, 3.0)}, 0),
    "G11": ("two hops of neighbours", {"sample_two_hops/forward": (3.0, 6.0)}, 0),
    "G12": ("full ranking", {"top_k/forward": (2.0, 4.0)}, 0),
    "G13": ("LightGCN's three layers", {"lightgcn_3/both": (1.5, 3.0)}, 0),
}
# Shares of the floor that are goals by themselves: G3, at 128 tokens.
SHARES = {"attention_bias_short/forward": 0.65, "attention_bias_short/backward": 0.5}
ALSO_EAGER = {"G5": 3.0, "G8": 4.0}


def read_ours(files):
    """case -> counters; a benchmark that reported an error keeps its words."""
    out, remarks = {}, set()
    for name in files:
        data = json.load(open(name))
        context = data["context"]
        remarks |= {context[k] for k in ("cuda_times",) if k in context}
        for b in data["benchmarks"]:
            case = b["name"].removeprefix("cuda/").removesuffix("/manual_time").removesuffix("/iterations:1")
            out[case] = b
    return out, remarks


def read_peers(name):
    out = {}
    for line in open(name):
        p = json.loads(line)
        out.setdefault((p["goal"], p["case"]), []).append(p)
    return out


def head(*names):
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def row(goal, case, ours, variants, factors, share, rehearse):
    timed = sorted((v for v in variants if v["status"] == "timed"), key=lambda v: v["median_us"])
    must, wish = factors
    if ours is None or ours.get("error_occurred") or not timed:
        why = "ours: no such benchmark" if ours is None else ours.get("error_message") or "no variant of the peer could be timed"
        return f"| {goal} | `{case}` | | | | {must}x | {wish}x | | not measured: {why} |"
    us = ours["real_time"]
    best, ratio = timed[0], timed[0]["median_us"] / us
    verdicts = ["met" if ratio >= must else "not met"]
    if ratio >= wish > must:
        verdicts = ["wish met"]
    if share:
        verdicts.append(f"floor {'met' if ours['of_floor'] >= share else 'not met'} ({share:.0%})")
    if goal in ALSO_EAGER:
        eager = [v["median_us"] / us for v in timed if v["variant"] == "eager"]
        if eager:
            verdicts.append(f"{eager[0]:.2f}x eager ({'met' if eager[0] >= ALSO_EAGER[goal] else 'not met'}: {ALSO_EAGER[goal]})")
    if rehearse:
        verdicts = ["paired"]
    peak = f", {best['peak_MB']:.0f} MB" if "peak_MB" in best else ""
    return (f"| {goal} | `{case}` | {us:.1f}, {ours['scratch_MB']:.0f} MB | {best['variant']} {best['median_us']:.1f}{peak} "
            f"| {ratio:.2f}x | {must}x | {wish}x | {ours['of_floor']:.0%} | {', '.join(verdicts)} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ours", nargs="+", required=True)
    p.add_argument("--peers", required=True)
    p.add_argument("--info")
    p.add_argument("--write")
    p.add_argument("--rehearse", action="store_true")
    a = p.parse_args()
    ours, remarks = read_ours(a.ours)
    peers = read_peers(a.peers)
    lines = ["# Goals: ours beside PyTorch", ""]
    if a.info:
        lines += ["    " + line.rstrip() for line in open(a.info)] + [""]
    if a.rehearse or remarks:
        lines += ["**A rehearsal: tiny shapes on the executor and on PyTorch's CPU. No time, factor or verdict below means "
                  "anything.**", ""]
    lines += ["Times are medians in microseconds; MB are scratch memory (ours) and peak memory beyond the operands (theirs). The "
              "factor is their best validated variant over ours.", ""]
    lines += head("goal", "case", "ours", "best peer", "factor", "required", "wished", "of the floor", "")
    faults = []
    for goal, (_, cases, share) in GOALS.items():
        found = False
        for (peer_goal, case), variants in peers.items():
            base = "/".join(case.split("/")[:2])
            if peer_goal != goal or base not in cases:
                continue
            found = True
            if case not in ours:
                faults.append(f"{case}: a peer of {goal} without a benchmark of ours")
            lines.append(row(goal, case, ours.get(case), variants, cases[base], share, a.rehearse))
        if not found:
            faults.append(f"{goal}: no peer's line")
    for case, b in sorted(ours.items()):
        base = "/".join(case.split("/")[:2])
        if base in SHARES and not a.rehearse and not b.get("error_occurred"):
            met = "met" if b["of_floor"] >= SHARES[base] else "not met"
            lines.append(f"| G3 | `{case}` | {b['real_time']:.1f} | | | | | {b['of_floor']:.0%} "
                         f"| {met} ({SHARES[base]:.0%} of the floor) |")
    lines += ["", "Not in this table: G14 (whole steps: step.txt), G15 (needs a build with unordered sums, which does not exist), "
              "G16 (CPU: `bench_gemm`).", "", "## Every benchmark of ours", ""]
    lines += head("case", "us", "least us", "of the floor", "GB/s", "TFLOP/s", "scratch MB")
    for case, b in sorted(ours.items()):
        if b.get("error_occurred"):
            lines.append(f"| `{case}` | {b['error_message']} | | | | | |")
            continue
        rate = lambda key, unit: f"{b[key] / unit:.1f}" if key in b else ""
        lines.append(f"| `{case}` | {b['real_time']:.1f} | {b['least_us']:.1f} | {b['of_floor']:.1%} | {rate('B/s', 1e9)} "
                     f"| {rate('FLOP/s', 1e12)} | {b['scratch_MB']:.1f} |")
    lines += ["", "## Every variant of the peers", ""]
    lines += head("goal", "case", "variant", "status", "us", "error of at most", "peak MB", "")
    for (goal, case), variants in peers.items():
        for v in variants:
            figure = lambda key, form: format(v[key], form) if key in v else ""
            lines.append(f"| {goal} | `{case}` | {v['variant']} | {v['status']} | {figure('median_us', '.1f')} "
                         f"| {figure('error', '.2g')} of {figure('tolerance', '.2g')} | {figure('peak_MB', '.0f')} "
                         f"| {v.get('reason', '')} |")
    lines += ["", f"PyTorch {next(iter(peers.values()))[0]['torch']}." if peers else ""]
    text = "\n".join(lines) + "\n"
    if a.write:
        open(a.write, "w").write(text)
    else:
        sys.stdout.write(text)
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
