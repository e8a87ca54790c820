"""Goal G4: what the bias costs. Attention WITHOUT bias by torch.nn.attention.varlen.varlen_attn, against ours with bias and its
gradient.

Variants: varlen_attn over packed rows, and the flash kernel of SDPA over (B, H, S, D) where varlen_attn is not offered.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from attention_bias import D, SCALE
from peer import Peer, Unavailable, extents, gradients


def reference(o):
    """fp64, a few sequences at a time; rows are (tokens, H, D)."""
    outs, n = [[], [], [], []], o["length"]
    for at in range(0, o["q"].shape[0], 4 * n):
        rows = lambda name: o[name][at:at + 4 * n].double().detach().unflatten(0, (-1, n)).transpose(1, 2)
        q, k, v, d = (rows(name) for name in ("q", "k", "v", "dout"))
        leaves = [x.requires_grad_() for x in (q, k, v)]
        with torch.enable_grad():
            y = (q @ k.transpose(-1, -2) * SCALE).softmax(-1) @ v
            got = torch.autograd.grad(y, leaves, d)
        for out, part in zip(outs, (y, *got)):
            out.append(part.detach().transpose(1, 2).flatten(0, 1))
    return [torch.cat(out) for out in outs]


def varlen():
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        raise Unavailable("torch.nn.attention.varlen is not in this PyTorch")

    def call(o):
        y = varlen_attn(o["q"], o["k"], o["v"], o["cu"], o["cu"], o["length"], o["length"], scale=SCALE)
        return gradients([y], [o["q"], o["k"], o["v"]], [o["dout"]])
    return call


def sdpa(backend):
    def call(o):
        q, k, v = (o[n].unflatten(0, (-1, o["length"])).transpose(1, 2) for n in "qkv")
        with sdpa_kernel(backend):
            y = F.scaled_dot_product_attention(q, k, v, scale=SCALE)
        return gradients([y.transpose(1, 2).flatten(0, 1)], [o["q"], o["k"], o["v"]], [o["dout"]])
    return call


def main():
    peer = Peer("G4", __doc__)
    for name, batch, length in (("attention_bias", 64, 512), ("attention_bias_short", 256, 128)):
        heads = 12
        if peer.tiny:
            batch, length, heads = 2, 32 if name == "attention_bias" else 16, 2

        def make():
            qkv = [peer.uniform(batch * length, heads, D, grad=True) for _ in range(3)]
            return dict(zip("qkv", qkv), dout=peer.uniform(batch * length, heads, D), length=length,
                        cu=torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=peer.device))

        variants = {"varlen_without_bias()": varlen, "flash_without_bias": sdpa(SDPBackend.FLASH_ATTENTION)}
        peer.case(f"{name}/both/bf16/{extents(B=batch, S=length, H=heads)}", make, variants, reference, 4e-2)
    peer.finish()


if __name__ == "__main__":
    main()
