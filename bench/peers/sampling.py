"""Goal G11: two hops of neighbours (15, then 10) of 8,192 users of a graph of Beauty's size.

Variants: vectorised PyTorch, by a random key for every candidate edge and one sort, or by Floyd's algorithm; and numba on all
cores of the CPU where it is installed, timed by the events of a device that waits for it. Validated by what a sample must be:
neighbours of the node, distinct, min(fanout, degree) many.
"""
import torch

from peer import Peer, Unavailable

FIRST, SECOND = 15, 10


def csr(rows, row, col):
    order = torch.argsort(row * (int(col.max()) + 1) + col)
    row, col = row[order], col[order]
    ptr = torch.zeros(rows + 1, dtype=torch.long, device=row.device)
    ptr[1:] = torch.bincount(row, minlength=rows).cumsum(0)
    return ptr, col


def graphs(tiny, device):
    users, items, edges = (200, 150, 3000) if tiny else (22363, 12101, 131413)
    u, i = torch.rand(edges, device=device), torch.rand(edges, device=device)
    user = (u * u * users).long()
    user[:min(users, edges)] = torch.arange(min(users, edges), device=device)
    item = (i * i * i * items).long()
    pairs = torch.unique(torch.stack([user, item]), dim=1)
    return csr(users, *pairs), csr(items, pairs[1], pairs[0])


def sorted_keys(graph, nodes, fanout):
    """(node index, neighbour) of every drawn edge."""
    ptr, col = graph
    degree = ptr[nodes + 1] - ptr[nodes]
    owner = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), degree)
    first = degree.cumsum(0) - degree
    edge = ptr[nodes][owner] + torch.arange(len(owner), device=nodes.device) - first[owner]
    # One sort orders edges by node and, within a node, at random.
    key, at = torch.sort(owner.double() + torch.rand(len(owner), device=nodes.device, dtype=torch.float64))
    rank = torch.arange(len(owner), device=nodes.device) - first[owner]
    kept = rank < fanout
    return owner[kept], col[edge[at[kept]]]


def floyd(graph, nodes, fanout):
    """All nodes at once; one step for each slot."""
    ptr, col = graph
    degree = ptr[nodes + 1] - ptr[nodes]
    picks = torch.empty(len(nodes), fanout, dtype=torch.long, device=nodes.device)
    for k in range(fanout):
        top = degree - fanout + k
        pick = (torch.rand(len(nodes), device=nodes.device) * (top + 1)).long()
        taken = (picks[:, :k] == pick[:, None]).any(1)
        picks[:, k] = torch.where(degree > fanout, torch.where(taken, top, pick), k)
    owner, slot = (torch.arange(fanout, device=nodes.device) < degree[:, None]).nonzero(as_tuple=True)
    return owner, col[ptr[nodes][owner] + picks[owner, slot]]


def two_hops(draw):
    def call(o):
        owner, items = draw(o["items_of"], o["nodes"], FIRST)
        return (owner, items, *draw(o["users_of"], items, SECOND))
    return call


def numba_sampler():
    try:
        import numba
        import numpy as np
    except ImportError:
        raise Unavailable("numba is not installed")

    @numba.njit(parallel=True, cache=False)
    def draw(ptr, col, nodes, fanout, out, counts):
        for n in numba.prange(len(nodes)):
            begin, degree = ptr[nodes[n]], ptr[nodes[n] + 1] - ptr[nodes[n]]
            if degree <= fanout:
                counts[n] = degree
                for k in range(degree):
                    out[n, k] = col[begin + k]
                continue
            counts[n] = fanout
            picks = np.empty(fanout, np.int64)
            for k in range(fanout):  # Floyd
                top = degree - fanout + k
                pick = np.random.randint(0, top + 1)
                for earlier in range(k):
                    if picks[earlier] == pick:
                        pick = top
                        break
                picks[k] = pick
                out[n, k] = col[begin + pick]

    def one(graph, nodes, fanout):
        ptr, col = (t.cpu().numpy() for t in graph)
        out, counts = np.zeros((len(nodes), fanout), np.int64), np.zeros(len(nodes), np.int64)
        draw(ptr, col, nodes, fanout, out, counts)
        mask = np.arange(fanout)[None] < counts[:, None]
        return torch.from_numpy(np.repeat(np.arange(len(nodes)), counts)), torch.from_numpy(out[mask])

    def call(o):
        owner, items = one(o["host_items_of"], o["host_nodes"], FIRST)
        return (owner, items, *one(o["host_users_of"], items.numpy(), SECOND))
    return call


def main():
    peer = Peer("G11", __doc__)
    n = 24 if peer.tiny else 8192
    items_of, users_of = graphs(peer.tiny, peer.device)

    def make():
        nodes = torch.arange(n, device=peer.device) * 7919 % (len(items_of[0]) - 1)
        host = lambda g: tuple(t.cpu() for t in g)
        return dict(items_of=items_of, users_of=users_of, nodes=nodes, host_items_of=host(items_of), host_users_of=host(users_of),
                    host_nodes=nodes.cpu().numpy())

    def outcome(got):
        """Zeros, one for each thing that must hold of a hop, with the number of violations."""
        faults = []
        nodes = (torch.arange(n, device=peer.device) * 7919 % (len(items_of[0]) - 1)).to(got[0].device)
        for (owner, picked), graph, fanout in ((got[:2], items_of, FIRST), (got[2:], users_of, SECOND)):
            ptr, col = (t.to(owner.device) for t in graph)
            degree = ptr[nodes + 1] - ptr[nodes]
            width = int(col.max()) + 1
            edges = torch.repeat_interleave(torch.arange(len(ptr) - 1, device=owner.device), ptr[1:] - ptr[:-1]) * width + col
            faults.append((~torch.isin(nodes[owner] * width + picked, edges)).sum())
            faults.append(len(owner) - len(torch.unique(owner * width + picked)))
            faults.append((torch.bincount(owner, minlength=len(nodes)) != degree.clamp_max(fanout)).sum())
            nodes = picked
        return [torch.tensor([float(f) for f in faults], device=peer.device)]

    variants = {"sorted_keys": two_hops(sorted_keys), "floyd": two_hops(floyd), "numba()": numba_sampler}
    zeros = lambda o: [torch.zeros(6, dtype=torch.float64, device=peer.device)]
    peer.case(f"sample_two_hops/forward/int32/N:{n},F:15x10", make, variants, zeros, 0.0, outcome)
    peer.finish()


if __name__ == "__main__":
    main()
