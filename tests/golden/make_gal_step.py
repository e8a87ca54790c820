#!/usr/bin/env python3
"""Makes tests/golden/gal_step_exact: one GAL training step, recorded in true float64 (format and definition of the step:
docs/ambiguities.md and gal/parity.h; gal_step/ beside it is the same kind of record by the project's reference script).

    python3 make_gal_step.py OUT_FOLDER        needs torch, transformers 4.57, safetensors

transformers computes RMSNorm's mean square and the attention softmax in fp32 whatever the model's type, so a recording of
it is only good to about 1e-5 in the gradients. Here both are replaced by their float64 forms, the expected values are
stored as F64, and an implementation in double has to agree to about 1e-12.
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5 import modeling_t5

TEXT, USERS, ITEMS, D1, D = 23, 6, 8, 5, 16
TAU, WEIGHTS, MOMENTUM = 0.15, (0.4, 0.3, 0.2), 0.75
CAPACITY, COUNT, POINTER = 6, 5, 5
LR, DECAY, CLIP = 1e-2, 0.01, 1.0
LENGTHS = [[2, 4, 19, 2, 5, 11], [3, 3, 6, 3, 3, 70], [2, 9, 12, 2, 2, 2], [4, 4, 33, 3, 8, 5]]
HOPS = ("u0", "u1", "u2", "i0", "i1", "i2")
# term: anchor, positive, queue; the queue holds other nodes' views of the positive's kind
TERMS = {"L1u": ("u2", "u0"), "L1i": ("i2", "i0"), "L2u": ("i1", "u2"), "L2i": ("u1", "i2"), "L3u": ("i1", "u0"), "L3i": ("u1", "i0")}

modeling_t5.T5LayerNorm.forward = lambda self, x: self.weight * x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()
torch.Tensor.float = lambda self: self  # attention's softmax(scores.float()) stays in float64


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def main(out):
    gen = torch.Generator().manual_seed(2024)
    single = lambda *shape, k=1.0: (k * torch.randn(*shape, generator=gen, dtype=torch.float64)).to(torch.float32)
    config = T5Config(vocab_size=TEXT + USERS + ITEMS, d_model=D, d_kv=6, num_heads=2, d_ff=28, num_layers=2, num_decoder_layers=1,
                      decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    t5 = T5ForConditionalGeneration(config).double().eval()
    values = {n: single(*p.shape, k=0.1) + 1 if p.dim() == 1 else single(*p.shape, k=0.35)
              for n, p in t5.named_parameters() if n != "shared.weight"}
    values["shared.weight"] = single(TEXT, D)
    for side in ("user", "item"):
        values[f"g_{side}.weight"], values[f"g_{side}.bias"] = single(D, D1, k=0.5), single(D, k=0.1)
    h = {"h_user": single(USERS, D1), "h_item": single(ITEMS, D1)}
    averaged = [n for n in values if n.startswith(("shared.", "encoder.", "g_"))]
    slow = {n: values[n] + single(*values[n].shape, k=0.05) for n in averaged}

    draw = lambda high, *shape: torch.randint(0, high, shape, generator=gen)
    lengths = torch.tensor(LENGTHS, dtype=torch.int32)
    samples = len(LENGTHS)
    prompts = [torch.cat([2 + draw(TEXT + USERS + ITEMS - 2, n - 1), torch.ones(1, dtype=torch.long)]) for n in lengths.flatten().tolist()]
    own = {"u": draw(USERS, samples), "i": draw(ITEMS, samples)}
    target = TEXT + USERS + draw(ITEMS, samples)
    queue = {q: unit(single(CAPACITY, D)) for q in ("u0", "u2", "i0", "i2")}
    queue_id = {"u": draw(USERS, CAPACITY), "i": draw(ITEMS, CAPACITY)}

    os.makedirs(out, exist_ok=True)
    write = lambda name, tensors: save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, os.path.join(out, name))
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump({**config.to_diff_dict(), "vocab_size": TEXT + USERS + ITEMS}, f, indent=1, default=str)
    with open(os.path.join(out, "step.json"), "w") as f:
        json.dump({"text_tokens": TEXT, "users": USERS, "items": ITEMS, "tau": TAU, "lambda": WEIGHTS, "momentum": MOMENTUM,
                   "queue_capacity": CAPACITY, "queue_count": COUNT, "queue_pointer": POINTER, "lr": LR, "weight_decay": DECAY,
                   "clip": CLIP}, f, indent=1)
    write("model.safetensors", {**values, **h, **{"momentum." + n: v for n, v in slow.items()}})
    write("batch.safetensors", {"ids": torch.cat(prompts).int(), "lengths": lengths, "user": own["u"].int(), "item": own["i"].int(),
                                "target": target.int(), **{"queue." + q: v for q, v in queue.items()},
                                **{"queue_id." + s: v.int() for s, v in queue_id.items()}})

    theta = {n: v.double().requires_grad_() for n, v in values.items()}
    slow = {n: v.double() for n, v in slow.items()}
    h = {n: v.double() for n, v in h.items()}
    queue = {q: v.double() for q, v in queue.items()}

    def part(p, stack):
        return {n[len(stack) + 1:]: v for n, v in p.items() if n.startswith(stack + ".")}

    def rows(p):
        embedded = [F.linear(h["h_" + s], p[f"g_{s}.weight"], p[f"g_{s}.bias"]) for s in ("user", "item")]
        return torch.cat([p["shared.weight"], *embedded])

    def states(p, prompt):
        inputs = dict(inputs_embeds=rows(p)[prompt].unsqueeze(0))
        return torch.func.functional_call(t5.encoder, part(p, "encoder"), kwargs=inputs).last_hidden_state.squeeze(0)

    hidden = [states(theta, prompt) for prompt in prompts]
    pooled = torch.stack([x.mean(0) for x in hidden]).view(samples, 6, D)
    view = {hop: unit(pooled[:, k]) for k, hop in enumerate(HOPS)}
    result = {"embeddings": pooled}
    for term, (anchor, positive) in TERMS.items():
        side = positive[0]
        negatives = view[anchor] @ queue[positive][:COUNT].T / TAU
        negatives = negatives.masked_fill(queue_id[side][:COUNT] == own[side][:, None], -torch.inf)
        score = (view[anchor] * view[positive]).sum(1, keepdim=True) / TAU
        result[term] = -torch.log_softmax(torch.cat([score, negatives], 1), 1)[:, 0].mean()
    crosses = []
    for b in range(samples):
        inputs = dict(inputs_embeds=rows(theta)[torch.stack([torch.tensor(0), target[b]])].unsqueeze(0),
                      encoder_hidden_states=hidden[6 * b + 2].unsqueeze(0))
        decoded = torch.func.functional_call(t5.decoder, part(theta, "decoder"), kwargs=inputs).last_hidden_state.squeeze(0)
        crosses.append(F.cross_entropy(decoded @ theta["lm_head.weight"].T, torch.stack([target[b], torch.tensor(1)])))
    result["L0"] = torch.stack(crosses).mean()
    result["loss"] = result["L0"] + sum(w * (result[f"L{k}u"] + result[f"L{k}i"]) for k, w in enumerate(WEIGHTS, start=1))
    result["loss"].backward()
    result.update({"grad." + n: v.grad.clone() for n, v in theta.items()})
    norm = torch.cat([v.grad.flatten() for v in theta.values()]).norm()
    result["grad_norm"] = norm

    with torch.no_grad():
        at = (POINTER + torch.arange(samples)) % CAPACITY
        for q in queue:
            queue[q][at] = torch.stack([unit(states(slow, prompts[6 * b + HOPS.index(q)]).mean(0)) for b in range(samples)])
            result["queue." + q] = queue[q]
        for n, v in theta.items():  # the first AdamW step: bias-corrected moments are g and g^2
            g = v.grad * min(1.0, CLIP / (norm.item() + 1e-6))
            decay = DECAY if v.dim() > 1 else 0.0
            updated = v * (1 - LR * decay) - LR * g / (g.abs() + 1e-8)
            result["updated." + n] = updated
            if n in slow:
                result["updated.momentum." + n] = MOMENTUM * slow[n] + (1 - MOMENTUM) * updated
    result = {n: v.reshape(1) if v.dim() == 0 else v for n, v in result.items()}
    for s in ("u", "i"):
        queue_id[s][at] = own[s]
        result["queue_id." + s] = queue_id[s].int()
    write("expected.safetensors", result)
    print(len(result), "tensors, loss", result["loss"].item())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
