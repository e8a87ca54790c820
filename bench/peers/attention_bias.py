"""Goals G1 and G3: attention with T5's relative bias, forward and backward including the gradient of the bias table.

Variants: FlexAttention with a look-up in the table, or with a bias of every (head, query, key) read; SDPA with the
memory-efficient and the cuDNN kernel and a bias that needs a gradient; the eager products of Hugging Face T5. Masks are bf16 like
the queries, and every gradient is compared with fp64 first: PyTorch has returned NaN here, and has misread fp32 masks.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from peer import Partial, Peer, extents, gradients

D, SCALE, FAR = 64, 0.125, 128
EDGES = (12, 16, 23, 32, 46, 64, 91)


def bucket_index(device):
    """(2 * 128 + 1): T5's bidirectional bucket of each clamped distance, 32 buckets."""
    d = torch.arange(-FAR, FAR + 1, device=device)
    far = d.abs()
    bucket = far.clamp_max(8) + sum((far >= e).long() for e in EDGES)
    return bucket + (d > 0).long() * 16


def dense_bias(table, index, queries, keys):
    """(1, H, queries, keys) from (32, H)."""
    i, j = torch.arange(queries, device=table.device), torch.arange(keys, device=table.device)
    at = index[(j[None] - i[:, None]).clamp(-FAR, FAR) + FAR]
    return F.embedding(at, table).permute(2, 0, 1)[None]


def reference(o):
    """fp64, a few sequences at a time: o, dq, dk, dv, dtable."""
    table = o["table"].double().detach().requires_grad_()
    outs = [[], [], [], []]
    dtable = torch.zeros_like(table)
    for b in range(0, o["q"].shape[0], 4):
        q, k, v = (o[n][b:b + 4].double().detach().requires_grad_() for n in "qkv")
        with torch.enable_grad():
            s = q @ k.transpose(-1, -2) * SCALE + dense_bias(table, o["index"], q.shape[2], k.shape[2])
            y = s.softmax(-1) @ v
            got = torch.autograd.grad(y, (q, k, v, table), o["dout"][b:b + 4].double())
        for out, part in zip(outs, (y, *got[:3])):
            out.append(part.detach())
        dtable += got[3]
    return [*(torch.cat(out) for out in outs), dtable]


def step(attend):
    """Forward and backward of attend(operands)."""
    return lambda o: gradients([attend(o)], [o["q"], o["k"], o["v"], o["table"]], [o["dout"]])


def eager(o):
    s = (o["q"] @ o["k"].transpose(-1, -2)).float() * SCALE + dense_bias(o["table"], o["index"], *[o["q"].shape[2]] * 2)
    return s.softmax(-1).to(o["v"].dtype) @ o["v"]


def sdpa(backend):
    def attend(o):
        bias = dense_bias(o["table"], o["index"], *[o["q"].shape[2]] * 2).to(o["q"].dtype).expand(o["q"].shape[0], -1, -1, -1)
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(o["q"], o["k"], o["v"], attn_mask=bias, scale=SCALE)
    return step(attend)


def flex(peer, read_bias):
    def attend(q, k, v, table, index):
        if read_bias:
            bias = dense_bias(table, index, q.shape[2], k.shape[2])[0]
            mod = lambda score, b, h, i, j: score + bias[h, i, j]
        else:
            mod = lambda score, b, h, i, j: score + table[index[(j - i).clamp(-FAR, FAR) + FAR], h]
        return flex_attention(q, k, v, score_mod=mod, scale=SCALE)
    run = peer.compiled(attend)
    if peer.tiny:  # FlexAttention has no backward on the CPU
        return lambda o: Partial([run(*(o[n].detach() for n in ("q", "k", "v", "table", "index")))])
    return step(lambda o: run(o["q"], o["k"], o["v"], o["table"], o["index"]))


def main():
    peer = Peer("G1", __doc__)
    for name, batch, length in (("attention_bias", 64, 512), ("attention_bias_short", 256, 128)):
        heads = 12
        if peer.tiny:
            batch, length, heads = 2, 32 if name == "attention_bias" else 16, 2

        def make():
            qkv = [peer.uniform(batch, heads, length, D, grad=True) for _ in range(3)]
            return dict(zip("qkv", qkv), table=peer.uniform(32, heads, dtype=torch.float32, grad=True),
                        dout=peer.uniform(batch, heads, length, D), index=bucket_index(peer.device))

        variants = {"flex_lookup()": lambda: flex(peer, False), "flex_bias()": lambda: flex(peer, True),
                    "sdpa_efficient": sdpa(SDPBackend.EFFICIENT_ATTENTION), "sdpa_cudnn": sdpa(SDPBackend.CUDNN_ATTENTION),
                    "eager": step(eager)}
        peer.case(f"{name}/both/bf16/{extents(B=batch, S=length, H=heads)}", make, variants, reference, 4e-2)
    peer.finish()


if __name__ == "__main__":
    main()
