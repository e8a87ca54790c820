"""Goal G6: Hugging Face's T5DenseGatedActDense in bf16, forward and backward."""
import torch
import torch.nn.functional as F
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

from peer import Peer, extents, gradients


def main():
    peer = Peer("G6", __doc__)
    n, c, f = (48, 64, 96) if peer.tiny else (16384, 768, 2048)
    config = T5Config(d_model=c, d_ff=f, dropout_rate=0.0, feed_forward_proj="gated-gelu")

    def make():
        layer = T5DenseGatedActDense(config).to(peer.device, torch.bfloat16)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(peer.uniform(*p.shape, scale=0.0625))
        return dict(layer=layer, x=peer.uniform(n, c, grad=True), dy=peer.uniform(n, c))

    def both(run):
        return lambda o: gradients([run(o["layer"], o["x"])], [o["x"], *o["layer"].parameters()], [o["dy"]])

    def reference(o):
        x = o["x"].detach().double().requires_grad_()
        w = {name: p.detach().double().requires_grad_() for name, p in o["layer"].named_parameters()}
        with torch.enable_grad():
            h = F.gelu(x @ w["wi_0.weight"].T, approximate="tanh") * (x @ w["wi_1.weight"].T)
            return gradients([h @ w["wo.weight"].T], [x, *w.values()], [o["dy"].double()])

    call = lambda layer, x: layer(x)
    variants = {"compiled()": lambda: both(peer.compiled(call)), "eager": both(call)}
    peer.case(f"feed_forward/both/bf16/{extents(N=n, C=c, F=f)}", make, variants, reference, 4e-2)
    peer.finish()


if __name__ == "__main__":
    main()
