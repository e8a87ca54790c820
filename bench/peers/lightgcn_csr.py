"""A plain PyTorch LightGCN on torch.sparse CSR: `lightgcn_csr.py DATA_FOLDER [--threads 2] [--epochs 3]`.

The peer of `galrec pretrain lightgcn`: K = 3, d = 64, batch 2048, |train| / 2048 steps an epoch, BPR + 1e-4 L2 on layer 0,
Adam 1e-3. Prints the seconds of each epoch (median of the timed ones). Needs torch, numpy.
"""
import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("data")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--epochs", type=int, default=3)
a = p.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(0)
rng = np.random.default_rng(0)

train = [np.array(line.split()[1:-2], dtype=np.int64) - 1 for line in open(f"{a.data}/sequences.txt")]
users = len(train)
items = 1 + max(int(w) for line in open(f"{a.data}/sequences.txt") for w in line.split()[1:]) - 1
u = np.concatenate([np.full(len(s), k) for k, s in enumerate(train)])
i = np.concatenate(train)
edges = np.unique(np.stack([u, i]), axis=1)
n = users + items
rows = np.concatenate([edges[0], edges[1] + users]); cols = np.concatenate([edges[1] + users, edges[0]])
degree = np.bincount(rows, minlength=n).astype(np.float32)
scale = np.where(degree > 0, np.maximum(degree, 1) ** -0.5, 0)
A = torch.sparse_coo_tensor(np.stack([rows, cols]), scale[rows] * scale[cols], (n, n), dtype=torch.float32).coalesce().to_sparse_csr()

E = torch.nn.Parameter(torch.randn(n, 64) * 0.1)
optimizer = torch.optim.Adam([E], lr=1e-3)
batch, samples = 2048, len(u)
seen = [set(s.tolist()) for s in train]
times = []
for epoch in range(a.epochs + 1):
    start = time.perf_counter()
    users_drawn = rng.integers(0, users, samples)
    positives = np.array([train[k][rng.integers(len(train[k]))] for k in users_drawn])
    negatives = rng.integers(0, items, samples)
    for j in range(samples):
        while negatives[j] in seen[users_drawn[j]]:
            negatives[j] = rng.integers(0, items)
    total = 0.0
    for b in range(0, samples, batch):
        uu, pp, nn = (torch.from_numpy(x[b:b + batch]) for x in (users_drawn, positives, negatives))
        layers = [E]
        for _ in range(3):
            layers.append(A @ layers[-1])
        x = torch.stack(layers).mean(0)
        eu, ep, en = x[uu], x[users + pp], x[users + nn]
        loss = F.softplus((eu * en).sum(1) - (eu * ep).sum(1)).mean()
        reg = sum(E[r].pow(2).sum() for r in (uu, users + pp, users + nn)) / 2 / len(uu)
        loss = loss + 1e-4 * reg
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.item()
    if epoch:  # the first epoch warms up
        times.append(time.perf_counter() - start)
    print(f"epoch {epoch}: loss {total / -(-samples // batch):.4f}, {time.perf_counter() - start:.2f} s", flush=True)
print(f"torch.sparse CSR, {a.threads} threads: median {statistics.median(times):.2f} s an epoch")
