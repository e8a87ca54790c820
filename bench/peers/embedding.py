"""Goal G10: the gradient of F.embedding into a dense fp32 table, from bf16 rows; half of the positions repeat 40 words.

Variants: eager (whose sums depend on the order of atomics or on a sort, by size), the same under use_deterministic_algorithms,
compiled.
"""
import torch
import torch.nn.functional as F

from peer import Peer, extents


def main():
    peer = Peer("G10", __doc__)
    n, v, c = (96, 64, 64) if peer.tiny else (16384, 32128, 768)

    def make():
        few, all_rows = torch.randint(40, (n,), device=peer.device), torch.randint(v, (n,), device=peer.device)
        ids = torch.where(torch.rand(n, device=peer.device) < 0.5, few, all_rows)
        table = peer.uniform(v, c, dtype=torch.float32, grad=True)
        # The forward pass is not timed: its result is kept, and its graph with it.
        return dict(ids=ids, table=table, y=F.embedding(ids, table).to(torch.bfloat16), dy=peer.uniform(n, c))

    def backward(o):
        return list(torch.autograd.grad(o["y"], o["table"], o["dy"], retain_graph=True))

    def deterministic(o):
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            return backward(o)
        finally:
            torch.use_deterministic_algorithms(False)

    def compiled():
        run = peer.compiled(lambda ids, dy: torch.ops.aten.embedding_dense_backward(dy.float(), ids, v, -1, False))
        return lambda o: [run(o["ids"], o["dy"])]

    def reference(o):
        return [torch.zeros(v, c, dtype=torch.float64, device=peer.device).index_add_(0, o["ids"], o["dy"].double())]

    variants = {"eager": backward, "deterministic": deterministic, "compiled()": compiled}
    peer.case(f"embedding/backward/bf16/{extents(N=n, V=v, C=c)}", make, variants, reference, 1e-3)
    peer.finish()


if __name__ == "__main__":
    main()
