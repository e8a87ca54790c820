"""Goal G12: full ranking, chunked torch.topk(U @ I.T) with seen items masked: 22,363 users, 34,464 items, the best 20.

Variants: chunks of 1,024 and 4,096 users; scores in the type of the product (bf16 for bf16 rows, which ranks by rounded scores)
or in fp32 where torch.mm offers it.
"""
import torch

from peer import Peer, Unavailable, extents

SEEN = 9


def ranker(chunk, k, out_dtype=None):
    def call(o):
        best = []
        for at in range(0, len(o["users"]), chunk):
            u = o["users"][at:at + chunk]
            scores = u @ o["items"].T if out_dtype is None else torch.mm(u, o["items"].T, out_dtype=out_dtype)
            scores.scatter_(1, o["seen"][at:at + chunk], float("-inf"))
            best.append(torch.topk(scores, k).values.float())
        return [torch.cat(best)]
    return call


def main():
    peer = Peer("G12", __doc__)
    for dtype, name, width in ((torch.bfloat16, "bf16", 768), (torch.float32, "fp32", 64)):
        n, v, c, k = (48, 300, 64, 5) if peer.tiny else (22363, 34464, width, 20)

        def make():
            return dict(users=peer.uniform(n, c, dtype=dtype), items=peer.uniform(v, c, dtype=dtype),
                        seen=torch.randint(v, (n, SEEN), device=peer.device))

        def reference(o):
            exact = {"users": o["users"].double(), "items": o["items"].double(), "seen": o["seen"]}
            best = []
            for at in range(0, n, 2048):
                scores = exact["users"][at:at + 2048] @ exact["items"].T
                best.append(torch.topk(scores.scatter_(1, o["seen"][at:at + 2048], float("-inf")), k).values)
            return [torch.cat(best)]

        variants = {"chunks_1024": ranker(1024, k), "chunks_4096": ranker(4096, k)}
        if dtype is torch.bfloat16:
            def fp32_scores():
                try:
                    torch.mm(peer.uniform(8, 8), peer.uniform(8, 8), out_dtype=torch.float32)
                except (RuntimeError, TypeError, NotImplementedError) as e:
                    raise Unavailable(f"torch.mm(out_dtype=float32): {str(e).splitlines()[0]}")
                return ranker(4096, k, torch.float32)
            variants["fp32_scores()"] = fp32_scores
        peer.case(f"top_k/forward/{name}/{extents(N=n, V=v, C=c, K=k)}", make, variants, reference)
    peer.finish()


if __name__ == "__main__":
    main()
