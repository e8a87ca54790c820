"""Goal G7: the last linear layer and its cross-entropy over Beauty's 66,564 columns, forward and backward; rows and weights bf16.

Variants: F.cross_entropy(F.linear(x, W).float(), y), eager and compiled; Liger's fused kernel where it is installed.
"""
import torch
import torch.nn.functional as F

from peer import Peer, Unavailable, extents, gradients


def loss(x, w, y):
    return F.cross_entropy(F.linear(x, w).float(), y)


def reference(o):
    """fp64, 512 rows at a time."""
    w = o["w"].detach().double()
    total, n, dx, dw = 0, o["x"].shape[0], [], torch.zeros_like(w)
    for at in range(0, n, 512):
        x, y = o["x"][at:at + 512].detach().double(), o["y"][at:at + 512]
        z = x @ w.T
        total = total + F.cross_entropy(z, y, reduction="sum") / n
        g = z.softmax(-1)
        g[torch.arange(len(y), device=g.device), y] -= 1
        g /= n
        dx.append(g @ w)
        dw += g.T @ x
    return [total, torch.cat(dx), dw]


def liger():
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        raise Unavailable("liger_kernel is not installed")
    fused = LigerFusedLinearCrossEntropyLoss()
    return lambda o: gradients([fused(o["w"], o["x"], o["y"])], [o["x"], o["w"]], [o["one"]])


def main():
    peer = Peer("G7", __doc__)
    for n, c, v in ((24, 64, 200),) if peer.tiny else ((4096, 768, 66564), (16384, 768, 66564)):
        def make():
            return dict(x=peer.uniform(n, c, grad=True), w=peer.uniform(v, c, scale=0.125, grad=True),
                        y=torch.randint(v, (n,), device=peer.device), one=torch.ones((), device=peer.device))

        def both(run):
            return lambda o: gradients([run(o["x"], o["w"], o["y"])], [o["x"], o["w"]], [o["one"]])

        variants = {"compiled()": lambda: both(peer.compiled(loss)), "eager": both(loss), "liger()": liger}
        peer.case(f"linear_cross_entropy/both/bf16/{extents(N=n, C=c, V=v)}", make, variants, reference, 4e-2)
    peer.finish()


if __name__ == "__main__":
    main()
