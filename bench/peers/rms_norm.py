"""Goal G5: residual addition and T5LayerNorm, forward and backward; the stream fp32, the sublayer's rows and the result bf16, as
ours.
"""
import torch
from transformers.models.t5.modeling_t5 import T5LayerNorm

from peer import Peer, extents, gradients


def forward(norm, x, residual):
    s = residual + x
    return norm(s).to(x.dtype), s


def main():
    peer = Peer("G5", __doc__)
    n, c = (48, 128) if peer.tiny else (32768, 768)

    def make():
        norm = T5LayerNorm(c).to(peer.device)
        with torch.no_grad():
            norm.weight.copy_(0.5 + torch.rand(c, device=peer.device))
        f = dict(dtype=torch.float32)
        return dict(norm=norm, x=peer.uniform(n, c, grad=True), residual=peer.uniform(n, c, grad=True, **f), dy=peer.uniform(n, c),
                    dsum=peer.uniform(n, c, **f))

    def both(run):
        leaves = lambda o: [o["x"], o["residual"], o["norm"].weight]
        return lambda o: gradients(list(run(o["norm"], o["x"], o["residual"])), leaves(o), [o["dy"], o["dsum"]])

    def reference(o):
        x, r, w = (t.detach().double().requires_grad_() for t in (o["x"], o["residual"], o["norm"].weight))
        with torch.enable_grad():
            s = r + x
            y = s * torch.rsqrt(s.square().mean(-1, keepdim=True) + 1e-6) * w
            return gradients([y, s], [x, r, w], [o["dy"].double(), o["dsum"].double()])

    variants = {"compiled()": lambda: both(peer.compiled(forward)), "eager": both(forward)}
    peer.case(f"rms_norm_residual/both/bf16/{extents(N=n, C=c)}", make, variants, reference)
    peer.finish()


if __name__ == "__main__":
    main()
