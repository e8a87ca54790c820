"""Goal G8: three MoCo losses (einsum, cat, cross-entropy) against a queue, rows of an anchor's own id masked; forward and
backward.
"""
import torch
import torch.nn.functional as F

from peer import Peer, extents, gradients

TAU, LOSSES = 0.07, 3


def moco(anchor, positive, queue, queue_ids, own_ids):
    plus = torch.einsum("nc,nc->n", anchor, positive)[:, None]
    minus = torch.einsum("nc,qc->nq", anchor, queue)
    minus = minus.masked_fill(queue_ids[None] == own_ids[:, None], float("-inf"))
    logits = torch.cat([plus, minus], 1).float() / TAU
    return F.cross_entropy(logits, torch.zeros(len(anchor), dtype=torch.long, device=anchor.device))


def three(anchors, positives, queues, queue_ids, own_ids):
    return [moco(*row) for row in zip(anchors, positives, queues, queue_ids, own_ids)]


def main():
    peer = Peer("G8", __doc__)
    for n, c, q in ((16, 64, 96),) if peer.tiny else ((256, 768, 65536), (256, 768, 512)):
        unit = (3 / c) ** 0.5
        rows = lambda count, grad=False: peer.uniform(LOSSES, count, c, scale=unit, grad=grad)

        def make():
            ids = lambda count: torch.randint(22363, (LOSSES, count), device=peer.device)
            one = torch.ones((), device=peer.device)
            return dict(a=rows(n, True), p=rows(n, True), q=rows(q), queue_ids=ids(q), own_ids=ids(n), one=one)

        def both(run):
            names = ("a", "p", "q", "queue_ids", "own_ids")
            return lambda o: gradients(run(*(o[name] for name in names)), [o["a"], o["p"]], [o["one"]] * LOSSES)

        def reference(o):
            a, p = (o[k].detach().double().requires_grad_() for k in "ap")
            with torch.enable_grad():
                return gradients(three(a, p, o["q"].double(), o["queue_ids"], o["own_ids"]), [a, p], [o["one"].double()] * LOSSES)

        variants = {"compiled()": lambda: both(peer.compiled(three)), "eager": both(three)}
        # bf16 logits over tau are coarse: a peer's gradient of the positive is off by several per cent.
        peer.case(f"info_nce_3/both/bf16/{extents(N=n, C=c, Q=q)}", make, variants, reference, 0.15)
    peer.finish()


if __name__ == "__main__":
    main()
