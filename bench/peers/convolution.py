"""Filters over embedded histories (Caser), forward and backward: torch's convolution, which on a GPU is cuDNN's, with its
deterministic algorithms as ours.
"""
import torch
import torch.nn.functional as F

from peer import Peer, extents, gradients


def main():
    peer = Peer("convolution", __doc__)
    torch.backends.cudnn.deterministic = True
    n, length, c, h, k = (9, 5, 64, 3, 16) if peer.tiny else (32768, 5, 64, 3, 16)
    outputs = length - h + 1

    def case(name, dtype, tolerance):
        def make():
            # Rows of channels, one item after another, as our x, w and y have them.
            last = dict(memory_format=torch.channels_last)
            x = peer.uniform(n, length, 1, c, dtype=dtype).permute(0, 3, 1, 2).contiguous(**last).requires_grad_()
            w = peer.uniform(k, h, 1, c, dtype=dtype, scale=0.125).permute(0, 3, 1, 2).contiguous(**last).requires_grad_()
            return dict(x=x, w=w, dy=peer.uniform(n, outputs, 1, k, dtype=dtype).permute(0, 3, 1, 2))

        def both(run):
            return lambda o: gradients([run(o["x"], o["w"])], [o["x"], o["w"]], [o["dy"]])

        def reference(o):
            x, w = (o[key].detach().double().requires_grad_() for key in ("x", "w"))
            with torch.enable_grad():
                return gradients([F.conv2d(x, w)], [x, w], [o["dy"].double()])

        call = lambda x, w: F.conv2d(x, w)
        variants = {"eager": both(call), "compiled()": lambda: both(peer.compiled(call))}
        peer.case(f"convolution/both/{name}/{extents(N=n, L=length, C=c, H=h, K=k)}", make, variants, reference, tolerance)

    case("bf16", torch.bfloat16, 2e-2)
    case("fp32", torch.float32, 1e-4)
    peer.finish()


if __name__ == "__main__":
    main()
