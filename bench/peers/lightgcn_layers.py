"""Goal G13: LightGCN's three layers, forward and backward, by torch.sparse.mm on a CSR matrix; PyG's edge-list layers where
installed.

Variants: autograd's own backward (which multiplies by the transposed matrix), and a backward that uses the matrix's symmetry.
"""
import warnings

import torch

from peer import Peer, Unavailable, extents, gradients


class Symmetric(torch.autograd.Function):
    """A x for a symmetric A: the gradient is A dy."""

    @staticmethod
    def forward(ctx, a, x):
        ctx.a = a
        return torch.sparse.mm(a, x)

    @staticmethod
    def backward(ctx, dy):
        return None, torch.sparse.mm(ctx.a, dy)


def edges(tiny, device):
    if tiny:
        users, items, i = 40, 30, torch.arange(200, device=device)
        return users, items, i * 7 % users, i * i % items
    users, items, count = 22363, 12101, 131413
    u, i = torch.rand(count, device=device), torch.rand(count, device=device)
    user = (u * u * users).long()
    user[:users] = torch.arange(users, device=device)
    return users, items, user, (i * i * i * items).long()


def main():
    warnings.filterwarnings("ignore", message=".*[Ss]parse.*")  # that CSR tensors are beta, and that their indices are trusted
    peer = Peer("G13", __doc__)
    users, items, user, item = edges(peer.tiny, peer.device)
    nodes, c = users + items, 64
    rows, cols = torch.cat([user, users + item]), torch.cat([users + item, user])
    degree = torch.bincount(rows, minlength=nodes).clamp_min(1).float()
    weight = (degree[rows] * degree[cols]).rsqrt()
    coo = torch.sparse_coo_tensor(torch.stack([rows, cols]), weight, (nodes, nodes)).coalesce()
    a = coo.to_sparse_csr()

    def make():
        return dict(a=a, x=peer.uniform(nodes, c, dtype=torch.float32, grad=True), dy=peer.uniform(nodes, c, dtype=torch.float32))

    def layers(multiply):
        def call(o):
            x = o["x"]
            total = x
            for _ in range(3):
                x = multiply(o["a"], x)
                total = total + x
            return gradients([total], [o["x"]], [o["dy"]])
        return call

    def reference(o):
        dense = coo.double()
        def run(x):
            total = x
            for _ in range(3):
                x = torch.sparse.mm(dense, x)
                total = total + x
            return total
        return [run(o["x"].detach().double()), run(o["dy"].double())]

    def pyg():
        try:
            from torch_geometric.nn.models.lightgcn import LGConv
        except ImportError:
            raise Unavailable("torch_geometric is not installed")
        conv, index = LGConv().to(peer.device), torch.stack([rows, cols])
        return layers(lambda _, x: conv(x, index))

    variants = {"csr_autograd": layers(torch.sparse.mm), "csr_symmetric": layers(Symmetric.apply), "pyg_edge_index()": pyg}
    peer.case(f"lightgcn_3/both/fp32/{extents(edges=len(user), C=c)}", make, variants, reference, 1e-4)
    peer.finish()


if __name__ == "__main__":
    main()
