"""Goal G14: the same GAL step on Hugging Face T5: `hf_gal_step.py FILE [--device cuda] [--threads 2] [--steps 5] [--only fp32-eager,...]`.

FILE comes from `galrec bench step --dump-batch FILE`: the packed prompts, the weights, the external vectors, the queues
and the losses that GALRec computed from them without dropout. The script first validates (dropout off, fp32: the seven
losses must agree to 1e-3), then times whole steps with dropout on: six padded encoder passes, one decoder pass,
cross-entropy over all columns, six InfoNCE terms, backward, the momentum encoder's four passes, gradient clipping, AdamW
and the momentum update. Variants: fp32 and bf16 autocast, eager and sdpa attention, `-compile` for compiled encoders (`bf16-sdpa-compile`).
Needs torch, transformers, safetensors.
"""
import argparse
import contextlib
import json
import statistics
import time

import torch
import torch.nn.functional as F
from safetensors import safe_open
from transformers import T5Config, T5ForConditionalGeneration

QUEUES = ("u0", "u2", "i0", "i2")
TERMS = ("L1u", "L1i", "L2u", "L2i", "L3u", "L3i")


class Step(torch.nn.Module):
    """Parameters and one step, on the batch of the file."""

    def __init__(self, path, attention):
        super().__init__()
        with safe_open(path, "pt", device=str(torch.get_default_device())) as f:
            meta = f.metadata()
            t = {k: f.get_tensor(k) for k in f.keys()}
        self.info = json.loads(meta["step"])
        config = T5Config(**{**json.loads(meta["config"]), "vocab_size": 32, "tie_word_embeddings": False})
        config._attn_implementation = attention
        self.t5, self.m5 = (T5ForConditionalGeneration._from_config(config, attn_implementation=attention) for _ in range(2))
        # The embedding table and the head are ours: text rows, g(h) rows, one column per token.
        for m in (self.t5, self.m5):
            m.shared = m.lm_head = m.encoder.embed_tokens = m.decoder.embed_tokens = None
        self.m5.decoder = None
        own = {k: v for k, v in t.items() if k.split(".")[0] in ("encoder", "decoder")}
        missing, unexpected = self.t5.load_state_dict(own, strict=False)
        assert not unexpected and not [m for m in missing if "embed_tokens" not in m], (missing, unexpected)
        self.m5.load_state_dict({k[9:]: v for k, v in t.items() if k.startswith("momentum.encoder")}, strict=False)
        P = lambda name: torch.nn.Parameter(t[name].clone())
        self.shared, self.head = P("shared.weight"), P("lm_head.weight")
        self.g = torch.nn.ParameterList([P(f"g_{k}.{p}") for k in ("user", "item") for p in ("weight", "bias")])
        self.m_shared = t["momentum.shared.weight"].clone()
        self.m_g = [t[f"momentum.g_{k}.{p}"].clone() for k in ("user", "item") for p in ("weight", "bias")]
        self.h_user, self.h_item = t["h_user"], t["h_item"]
        self.queues = {q: t["queue." + q].clone() for q in QUEUES}
        self.queue_id = {k: t["queue_id." + k].long().clone() for k in "ui"}
        self.user, self.item, self.target = (t[k].long() for k in ("user", "item", "target"))
        self.expected = {k[9:]: v.item() for k, v in t.items() if k.startswith("expected.")}
        V, U, I = (self.info[k] for k in ("text_tokens", "users", "items"))
        self.V, self.U, self.I = V, U, I
        tokens, lengths = t["tokens"].long(), t["lengths"]
        rows = torch.split(tokens, lengths.flatten().tolist())
        self.B = len(self.user)
        self.hops = []  # per hop: padded ids and mask
        for h in range(6):
            pick = [rows[6 * b + h] for b in range(self.B)]
            self.hops.append((torch.nn.utils.rnn.pad_sequence(pick, batch_first=True), torch.nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in pick], batch_first=True)))
        self.pointer = 0

    def parameters_trained(self):
        return [p for p in self.parameters() if p.requires_grad and not any(p is q for q in self.m5.parameters())]

    def embed(self, ids, shared, g):
        """Rows of the virtual table: text | g(h_user) | g(h_item), only for the ids that occur."""
        unique, at = torch.unique(ids, return_inverse=True)
        V, U, I = self.V, self.U, self.I
        text, item = unique[unique < V], unique[unique >= V + U] - V - U
        user = unique[(unique >= V) & (unique < V + U)] - V
        table = torch.cat([F.embedding(text, shared), F.linear(self.h_user[user], g[0], g[1]),
                           F.linear(self.h_item[item], g[2], g[3])])
        return table[at]

    def encode(self, stack, hop, shared, g):
        ids, mask = self.hops[hop]
        x = stack.encoder(inputs_embeds=self.embed(ids, shared, g), attention_mask=mask).last_hidden_state
        return x, (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def nce(self, a, p, q, own):
        a, p = F.normalize(a.float(), dim=1), F.normalize(p.float(), dim=1)
        tau, ids = self.info["tau"], self.queue_id[q[0]]
        s = (a @ self.queues[q].T / tau).masked_fill(ids[None] == own[:, None], float("-inf"))
        pos = (a * p).sum(1) / tau
        return (torch.logsumexp(torch.cat([pos[:, None], s], 1), 1) - pos).mean()

    def losses(self):
        state, E = zip(*(self.encode(self.t5, h, self.shared, self.g) for h in range(6)))
        u0, u1, u2, i0, i1, i2 = E
        L = {"L1u": self.nce(u2, u0, "u0", self.user), "L1i": self.nce(i2, i0, "i0", self.item),
             "L2u": self.nce(i1, u2, "u2", self.user), "L2i": self.nce(u1, i2, "i2", self.item),
             "L3u": self.nce(i1, u0, "u0", self.user), "L3i": self.nce(u1, i0, "i0", self.item)}
        token = self.V + self.U + self.target
        start = torch.stack([torch.zeros_like(token), token], 1)
        y = self.t5.decoder(inputs_embeds=self.embed(start, self.shared, self.g), encoder_hidden_states=state[2],
                            encoder_attention_mask=self.hops[2][1], use_cache=False).last_hidden_state
        label = torch.stack([token, torch.ones_like(token)], 1)
        L["L0"] = F.cross_entropy(F.linear(y, self.head).flatten(0, 1).float(), label.flatten())
        return L

    def total(self, L):
        l1, l2, l3 = self.info["lambda"]
        return L["L0"] + l1 * (L["L1u"] + L["L1i"]) + l2 * (L["L2u"] + L["L2i"]) + l3 * (L["L3u"] + L["L3i"])

    def step(self, optimizer, autocast):
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            loss = self.total(self.losses())
        loss.backward()
        with torch.no_grad(), autocast():
            keys = {q: F.normalize(self.encode(self.m5, h, self.m_shared, self.m_g)[1].float(), dim=1)
                    for q, h in zip(QUEUES, (0, 2, 3, 5))}
        with torch.no_grad():
            Q = len(self.queues["u0"])
            at = (self.pointer + torch.arange(self.B)) % Q
            for q in QUEUES:
                self.queues[q][at] = keys[q]
            self.queue_id["u"][at], self.queue_id["i"][at] = self.user, self.item
            self.pointer = (self.pointer + self.B) % Q
            torch.nn.utils.clip_grad_norm_(self.parameters_trained(), 1.0)
            optimizer.step()
            m = self.info["momentum"]
            slow = [p for p in self.m5.encoder.parameters()] + [self.m_shared] + self.m_g
            fast = [p for p in self.t5.encoder.parameters()] + [self.shared] + list(self.g)
            torch._foreach_lerp_([p.data for p in slow], [p.data for p in fast], 1 - m)
        return loss.item()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--only", default="fp32-sdpa,fp32-eager,bf16-sdpa,bf16-eager")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.set_default_device(a.device)
    done = torch.cuda.synchronize if a.device == "cuda" else lambda: None
    for variant in a.only.split(","):
        precision, attention, *further = variant.split("-")
        try:
            s = Step(a.file, attention)
        except (ValueError, ImportError) as e:
            print(f"{variant:10s} not offered by this transformers: {str(e).splitlines()[0][:90]}")
            continue
        if further == ["compile"]:
            s.t5.encoder, s.m5.encoder = (torch.compile(m.encoder, dynamic=True) for m in (s.t5, s.m5))
        s.eval()
        with torch.no_grad():
            L = s.losses()
        for k, want in s.expected.items():
            got = L[k].item()
            assert abs(got - want) <= 1e-3 * max(1, abs(want)), f"{variant}: {k} is {got}, GALRec computed {want}"
        s.train()
        autocast = (lambda: torch.autocast(a.device, torch.bfloat16)) if precision == "bf16" else contextlib.nullcontext
        optimizer = torch.optim.AdamW(s.parameters_trained(), lr=1e-4, weight_decay=1e-3, fused=a.device == "cuda" or None)
        s.step(optimizer, autocast)
        done()
        times = []
        for _ in range(a.steps):
            start = time.perf_counter()
            s.step(optimizer, autocast)
            done()
            times.append(time.perf_counter() - start)
        t = statistics.median(times)
        print(f"{variant:10s} validated; {s.B} samples, median of {a.steps}: {t * 1e3:8.1f} ms a step, {s.B / t:6.2f} samples/s", flush=True)


if __name__ == "__main__":
    main()
