"""Records Hugging Face T5 for tests/layers/t5_parity_test.cc: make_t5.py NAME OUT_DIR (torch, transformers 4.57, safetensors).

Writes OUT_DIR/NAME/: config.json and model.safetensors as save_pretrained leaves them, batch.safetensors (input_ids and
attention_mask [B,S], labels [B,T], -100 for no label) and expected.safetensors. What is expected is computed in float64
from the fp32 weights with dropout off and stored as fp32 (transformers' RMSNorm takes its mean square in fp32 all the same):

  encoder_last_hidden_state [B,S,d] (0 at padding), logits [B,T,V], loss [1] (mean over labels), grad.PARAMETER, grad_norm [1],
  adamw.loss [3] and adamw.PARAMETER: three steps on the batch, gradient norm clipped at 1, AdamW with lr 1e-2,
  betas .9 and .999, eps 1e-8, decay .01 on matrices.

The folders flan_tiny and t5v1_tiny beside this file come from the reference set that the format was fixed with; `small_gated` and
`small_relu` below are the same idea with other shapes (odd bucket counts, one head, one block), for checking by hand:
galrec parity OUT_DIR/NAME.
"""
import argparse
import pathlib

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration

FIXTURES = {
    "small_gated": dict(
        seed=11, sources=[5, 70, 12], targets=[3, 1, 6],
        t5=dict(vocab_size=53, d_model=24, d_kv=20, num_heads=1, d_ff=30, num_layers=1, num_decoder_layers=2,
                relative_attention_num_buckets=12, relative_attention_max_distance=40,
                feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "small_relu": dict(
        seed=12, sources=[33, 2], targets=[2, 5],
        t5=dict(vocab_size=41, d_model=20, d_kv=6, num_heads=5, d_ff=17, num_layers=3, num_decoder_layers=1,
                feed_forward_proj="relu", tie_word_embeddings=True)),
}
LEARNING_RATE, DECAY, CLIP, STEPS = 1e-2, 0.01, 1.0, 3


def ragged(lengths, vocab, fill, generator):
    """Rows of random tokens, each ended by </s>, padded with `fill`."""
    rows = torch.full((len(lengths), max(lengths)), fill, dtype=torch.long)
    for row, n in zip(rows, lengths):
        row[:n] = torch.randint(2, vocab, (n,), generator=generator)
        row[n - 1] = 1
    return rows


def widen(model, generator):
    """Weights so large that a wrong term anywhere shows in every output."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(1 + 0.1 * torch.randn(p.shape, generator=generator))
            else:
                p.copy_((0.6 if "relative_attention_bias" in name else 0.2) * torch.randn(p.shape, generator=generator))


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)


def record(model, batch):
    expected = {}
    out = model(**batch)
    out.loss.backward()
    expected["encoder_last_hidden_state"] = out.encoder_last_hidden_state * batch["attention_mask"][..., None]
    expected["logits"] = out.logits
    expected["loss"] = out.loss[None]
    for name, p in model.named_parameters():
        expected["grad." + name] = p.grad.clone()
    expected["grad_norm"] = torch.stack([p.grad.norm() for p in model.parameters()]).norm()[None]
    optimizer, losses = optimizer_of(model), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    expected["adamw.loss"] = torch.stack(losses)
    for name, p in model.named_parameters():
        expected["adamw." + name] = p
    return {name: t.detach().float().contiguous().clone() for name, t in expected.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("name", choices=FIXTURES)
    arguments.add_argument("out", type=pathlib.Path)
    options = arguments.parse_args()
    fixture = FIXTURES[options.name]
    folder = options.out / options.name
    generator = torch.Generator().manual_seed(fixture["seed"])
    config = T5Config(decoder_start_token_id=0, pad_token_id=0, eos_token_id=1, **fixture["t5"])
    model = T5ForConditionalGeneration(config)
    widen(model, generator)
    model.save_pretrained(folder)
    ids = ragged(fixture["sources"], config.vocab_size, 0, generator)
    batch = {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < torch.tensor(fixture["sources"])[:, None]).long(),
        "labels": ragged(fixture["targets"], config.vocab_size, -100, generator),
    }
    save_file({name: t.int() for name, t in batch.items()}, folder / "batch.safetensors")
    expected = record(model.double().eval(), batch)
    save_file(expected, folder / "expected.safetensors")
    print(folder, "loss", expected["loss"].item(), "gradient norm", expected["grad_norm"].item())


if __name__ == "__main__":
    main()
