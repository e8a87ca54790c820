"""What the peers of the CUDA benchmarks share: validate against fp64 first, then time.

A peer file lists cases, named as in bench/kernels/*_cuda_bench.cc so that bench/peers/table.py can pair them, and for each a few
variants of the same work in PyTorch. On a GPU a variant is timed as our benchmarks are: CUDA events around one turn, operands
that rotate past the cache, a spin before each turn so that the host is ahead, the median. One JSON line a variant goes to
standard output.

    FILE.py            on a GPU, full size
    FILE.py --tiny     small shapes on the CPU: shows that everything runs; its times mean nothing
    FILE.py --warm     validates and compiles only, so that a later call finds compiled code in PyTorch's cache
    FILE.py --only A,B only these variants

Exit status 1 when a case has no variant that validated.
"""
import argparse
import json
import statistics
import sys
import time
import traceback

import torch


class Unavailable(Exception):
    """This PyTorch, or this device, does not offer the variant."""


def arguments(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tiny", action="store_true")
    p.add_argument("--warm", action="store_true")
    p.add_argument("--only", default="")
    return p.parse_args()


class Partial(list):
    """The first outputs only, from a variant whose other half this device does not offer: validated, never timed."""


class Peer:
    """One goal: `case()` for each shape."""

    def __init__(self, goal, description):
        self.goal, self.args = goal, arguments(description)
        self.tiny = self.args.tiny
        if not self.tiny and not torch.cuda.is_available():
            sys.exit(f"{sys.argv[0]}: no CUDA device; --tiny runs small shapes on the CPU")
        self.device = torch.device("cpu" if self.tiny else "cuda")
        self.failed = False
        torch.manual_seed(1)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def compiled(self, function, **options):
        """torch.compile; in tiny runs without its code generator, which would take longer than everything else."""
        if self.tiny:
            options["backend"] = "aot_eager"
        return torch.compile(function, dynamic=False, **options)

    def uniform(self, *shape, dtype=torch.bfloat16, scale=1.0, grad=False):
        """Numbers in [-scale, scale] that bf16 represents, in `dtype`."""
        x = (torch.rand(*shape, device=self.device) * 2 - 1).mul_(scale).to(torch.bfloat16).to(dtype)
        return x.requires_grad_(grad)

    def case(self, name, make, variants, reference, tolerance=2e-2, outcome=None):
        """`make()` gives one set of operands (a dict); a variant is called with it and returns a list of tensors (`outcome` makes
        one of what it returns, outside of what is timed); `reference` does the same in fp64. `variants` maps names to functions
        or, where the name ends in `()`, to a function that makes the function."""
        wanted = [v for v in self.args.only.split(",") if v]
        alive = 0
        torch._dynamo.reset()  # another case is another program, not a dynamic shape of the last
        for variant, function in variants.items():
            variant, is_factory = variant.removesuffix("()"), variant.endswith("()")
            if wanted and variant not in wanted:
                continue
            line = {"goal": self.goal, "case": name, "variant": variant, "tiny": self.tiny, "torch": torch.__version__,
                    "device": "cpu" if self.tiny else torch.cuda.get_device_name()}
            try:
                call = function() if is_factory else function
                operands = make()
                with torch.no_grad():
                    expected = reference(operands)
                got = call(operands)
                partial = isinstance(got, Partial)
                error = largest_error(outcome(got) if outcome else got, expected[:len(got)] if partial else expected)
                del got
                line.update(error=error, tolerance=tolerance)
                if not error <= tolerance:
                    line.update(status="wrong", reason=f"error {error:.3g} of at most {tolerance:g}")
                else:
                    alive += 1
                    line.update(status="forward only" if partial else "validated")
                    del expected
                    if not partial and not self.args.warm:
                        line.update(status="timed", **self.time(call, make, operands))
            except Unavailable as e:
                line.update(status="unavailable", reason=str(e))
            except Exception as e:  # a peer's own failure is a finding, not ours
                last = traceback.extract_tb(e.__traceback__)[-1]
                words = (str(e).strip().splitlines() or [""])[0][:200]
                line.update(status="unavailable", reason=f"{type(e).__name__} in {last.name}: {words}")
            print(json.dumps(line), flush=True)
            if not self.tiny:
                torch.cuda.empty_cache()
        if alive == 0:
            print(f"{name}: no variant validated", file=sys.stderr)
            self.failed = True

    def time(self, call, make, operands):
        size, graphs = sum(bytes_of(t) for t in operands.values()), compiled_graphs()
        if self.tiny:
            start = time.perf_counter()
            call(operands)
            return {"median_us": (time.perf_counter() - start) * 1e6, "samples": 1, "operands_MB": size / 1e6,
                    "recompiles": compiled_graphs() - graphs, "meaningless": True}
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        copies = max(1, min(3 * cache // max(size, 1) + 2, 64, (16 << 30) // max(size, 1)))
        sets = [operands] + [make() for _ in range(copies - 1)]
        for i in range(4):
            call(sets[i % copies])
        torch.cuda.synchronize()
        held = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        once = self.sample(call, sets, 1)[0]
        peak = torch.cuda.max_memory_allocated() - held
        times = sorted(self.sample(call, sets, int(min(max(0.3 / max(once, 1e-6), 10), 100))))
        return {"median_us": statistics.median(times) * 1e6, "least_us": times[0] * 1e6, "samples": len(times), "copies": copies,
                "peak_MB": peak / 1e6, "operands_MB": size / 1e6, "recompiles": compiled_graphs() - graphs}

    @staticmethod
    def sample(call, sets, count):
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
        for i, (start, stop) in enumerate(events):
            torch.cuda._sleep(1_000_000)  # the host gets ahead of the device
            start.record()
            call(sets[i % len(sets)])
            stop.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(stop) * 1e-3 for start, stop in events]

    def finish(self):
        sys.exit(1 if self.failed else 0)


def bytes_of(operand):
    """Of a tensor, a module's parameters, or a list of such; anything else counts as nothing."""
    if isinstance(operand, torch.Tensor):
        return (operand if operand.layout == torch.strided else operand.values()).untyped_storage().nbytes()
    if isinstance(operand, torch.nn.Module):
        operand = list(operand.parameters())
    return sum(map(bytes_of, operand)) if isinstance(operand, (list, tuple)) else 0


def compiled_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def largest_error(actual, expected):
    """Largest error of any output over the largest magnitude of that output; infinite for NaN or another shape."""
    worst = 0.0
    if len(actual) != len(expected):
        return float("inf")
    for a, e in zip(actual, expected):
        if a.shape != e.shape or not bool(torch.isfinite(a).all()):
            return float("inf")
        worst = max(worst, ((a.detach().double() - e).abs().max() / e.abs().max().clamp_min(1e-3)).item())
    return worst


def gradients(outputs, inputs, upstream):
    """[*outputs, *gradients of inputs]: one forward and backward pass."""
    return [*outputs, *torch.autograd.grad(outputs, inputs, upstream)]


def extents(**named):
    return ",".join(f"{k}:{v}" for k, v in named.items())
