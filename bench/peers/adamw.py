"""Goal G9: clip_grad_norm_, AdamW, the moving average and both bf16 copies, over tensors of a transformer's sizes.

Variants: AdamW(fused=True) and AdamW(foreach=True), each with _foreach_lerp_ and _foreach_copy_. States are new in every set of
operands, so validation sees step 1 with zero moments.
"""
import torch

from peer import Peer, extents

LR, DECAY, BETAS, EPS, MOMENTUM = 1e-3, 0.01, (0.9, 0.999), 1e-8, 0.99


def sizes(total):
    """A matrix, a weight of a norm, and so on: as bench/kernels/adamw_cuda_bench.cc."""
    out = []
    while total > 0:
        out.append(min(total, 589824 if len(out) % 2 == 0 else 768))
        total -= out[-1]
    return out


def main():
    peer = Peer("G9", __doc__)
    total = 6000 if peer.tiny else 248_000_000
    f = dict(dtype=torch.float32)

    def maker(**options):
        def make():
            o = {"p": [torch.nn.Parameter(peer.uniform(n, **f)) for n in sizes(total)]}
            o["ema"] = [peer.uniform(n, **f) for n in sizes(total)]
            o["shadow"], o["ema_shadow"] = ([torch.empty_like(p, dtype=torch.bfloat16) for p in o["p"]] for _ in range(2))
            for p in o["p"]:
                p.grad = peer.uniform(p.numel(), **f)
            groups = [{"params": o["p"][0::2], "weight_decay": DECAY}, {"params": o["p"][1::2], "weight_decay": 0.0}]
            o["optimizer"] = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, **options)
            return o
        return make

    def step(o):
        with torch.no_grad():
            torch.nn.utils.clip_grad_norm_(o["p"], 1.0)
            o["optimizer"].step()
            data = [p.data for p in o["p"]]
            torch._foreach_lerp_(o["ema"], data, 1 - MOMENTUM)
            torch._foreach_copy_(o["shadow"], data)
            torch._foreach_copy_(o["ema_shadow"], o["ema"])
        return o

    def outcome(o):
        return [torch.cat([p.detach() for p in o["p"]]), torch.cat(o["ema"])]

    def reference(o):
        flat = lambda tensors: torch.cat([t.detach().reshape(-1) for t in tensors]).double()
        p, g, ema = flat(o["p"]), flat([q.grad for q in o["p"]]), flat(o["ema"])
        decay = flat([torch.full((n,), DECAY if i % 2 == 0 else 0.0, device=peer.device) for i, n in enumerate(sizes(total))])
        g = g * torch.clamp(1 / (g.norm() + 1e-6), max=1.0)
        p = p * (1 - LR * decay) - LR * g / (g.abs() + EPS)  # step 1: m / (1 - b1) = g, sqrt(v / (1 - b2)) = |g|
        return [p, MOMENTUM * ema + (1 - MOMENTUM) * p]

    case = f"adamw_clip_ema/step/fp32/{extents(P=total)}"
    for variant, options in (("fused", {"fused": True}), ("foreach", {"foreach": True})):
        peer.case(case, maker(**options), {variant: step}, reference, 1e-5, outcome)
    peer.finish()


if __name__ == "__main__":
    main()
