"""Goal G2: the attention of attention_bias.py over packed sequences of 33 to 512 tokens, as a GAL batch has them.

Variants: FlexAttention over one row of tokens with a document mask (the mask is made beforehand and not timed), and padded SDPA
with a bias that also masks the padding.
"""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attention_bias import D, FAR, SCALE, bucket_index, dense_bias
from peer import Partial, Peer, extents, gradients

# bench/kernels/attention_cuda_bench.cc has the same.
LENGTHS = (33, 41, 45, 58, 64, 77, 96, 118, 137, 171, 186, 233, 288, 352, 420, 512)


def reference(o):
    """fp64, one sequence after the other; tokens come as (1, H, T, D)."""
    table = o["table"].double().detach().requires_grad_()
    outs, dtable, at = [[], [], [], []], torch.zeros_like(table), 0
    for n in o["lengths"]:
        q, k, v = (o[name][:, :, at:at + n].double().detach().requires_grad_() for name in "qkv")
        with torch.enable_grad():
            y = (q @ k.transpose(-1, -2) * SCALE + dense_bias(table, o["index"], n, n)).softmax(-1) @ v
            got = torch.autograd.grad(y, (q, k, v, table), o["dout"][:, :, at:at + n].double())
        for out, part in zip(outs, (y, *got[:3])):
            out.append(part.detach())
        dtable += got[3]
        at += n
    return [*(torch.cat(out, 2) for out in outs), dtable]


def flex(peer):
    def attend(q, k, v, table, index, mask):
        # Inside one document the difference of packed positions is the difference of its own positions.
        mod = lambda score, b, h, i, j: score + table[index[(j - i).clamp(-FAR, FAR) + FAR], h]
        return flex_attention(q, k, v, score_mod=mod, block_mask=mask, scale=SCALE)
    run = peer.compiled(attend)
    if peer.tiny:  # FlexAttention has no backward on the CPU
        return lambda o: Partial([run(*(o[n].detach() for n in ("q", "k", "v", "table", "index")), o["mask"])])
    return lambda o: gradients([run(o["q"], o["k"], o["v"], o["table"], o["index"], o["mask"])],
                               [o["q"], o["k"], o["v"], o["table"]], [o["dout"]])


def padded(backend):
    def call(o):
        # Rows are gathered into (B, H, longest, D) and back: what a padded model keeps, so the gather is its price here.
        q, k, v = (o[n][0].transpose(0, 1)[o["gather"]].transpose(1, 2) for n in "qkv")
        longest = q.shape[2]
        bias = dense_bias(o["table"], o["index"], longest, longest) + o["padding"][:, None, None]
        with sdpa_kernel(backend):
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype), scale=SCALE)
        y = y.transpose(1, 2)[o["real"]].transpose(0, 1)[None]
        return gradients([y], [o["q"], o["k"], o["v"], o["table"]], [o["dout"]])
    return call


def main():
    peer = Peer("G2", __doc__)
    repeats, heads, divisor = (1, 2, 16) if peer.tiny else (12, 12, 1)
    lengths = [n // divisor for n in LENGTHS] * repeats
    total, longest = sum(lengths), max(lengths)
    sizes = torch.tensor(lengths, device=peer.device)
    starts = sizes.cumsum(0) - sizes
    position = torch.arange(longest, device=peer.device)
    real = position[None] < sizes[:, None]
    gather = torch.where(real, starts[:, None] + position[None], 0)
    padding = torch.where(real, 0.0, -1e4)
    document = torch.repeat_interleave(torch.arange(len(lengths), device=peer.device), sizes)
    mask = create_block_mask(lambda b, h, i, j: document[i] == document[j], None, None, total, total, device=peer.device)

    def make():
        qkv = [peer.uniform(1, heads, total, D, grad=True) for _ in range(3)]
        table = peer.uniform(32, heads, dtype=torch.float32, grad=True)
        return dict(zip("qkv", qkv), table=table, dout=peer.uniform(1, heads, total, D), index=bucket_index(peer.device),
                    lengths=lengths, mask=mask, gather=gather, real=real, padding=padding)

    variants = {"flex_document_mask()": lambda: flex(peer), "sdpa_efficient_padded": padded(SDPBackend.EFFICIENT_ATTENTION),
                "sdpa_math_padded": padded(SDPBackend.MATH)}
    peer.case(f"attention_packed/both/bf16/{extents(repeats=repeats, H=heads)}", make, variants, reference, 4e-2)
    peer.finish()


if __name__ == "__main__":
    main()
