"""WaveNet: samples drawn with what each layer has seen kept, beside the naive loop that reads the past anew for each.

The naive loop is what the definition says: for each sample the network over all that it can see, the last output, a draw. Both
draw by the same uniform numbers, in float64 to compare the samples, in float32 to time them. Real time is how many
seconds of sound a second makes, at 8 kHz, of one row on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks._common import keep, options
from bottega.core import Rng, Spec
from bottega.families.wavenet import WaveNet
from bottega.nets.wave_loop import draw

RATE = 8000


class _Numbers(Rng):
    """A stream that draws from given uniform numbers ``(1, T, 2)``, in order."""

    def __init__(self, u: Tensor) -> None:
        super().__init__(0)
        self.u, self.at = u, 0

    def uniform(self, *shape: int) -> Tensor:
        """The next ``shape[1]``."""
        self.at += shape[1]
        return self.u[:, self.at - shape[1] : self.at]


@torch.no_grad()
def naive(model: WaveNet, u: Tensor, first: int = 0) -> tuple[Tensor, float]:
    """Samples ``(1, T)`` in [-1, 1], and seconds of each from ``first`` on."""
    known = model._known(None, 1)
    x = torch.zeros(1, 1, 1, dtype=model.head[0].weight.dtype)  # silence, then what was drawn
    begun = time.perf_counter()
    for t in range(u.shape[1]):
        begun = time.perf_counter() if t == first else begun
        seen = x[:, :, -model.stack.reach - 1 :]
        frames = None
        if known is not None:
            at = torch.arange(t + 1 - seen.shape[2], t + 1).clamp(min=0) // model.hop
            frames = known[:, :, at.clamp(max=known.shape[2] - 1)]
        out = model.head(model.stack(seen, frames)[:, :, -1:])[:, :, 0]
        x = torch.cat([x, draw(out, u[:, t], model.spec.vocab).to(x.dtype)[:, None, None]], 2)
    return x[:, 0, 1:], (time.perf_counter() - begun) / max(1, u.shape[1] - first)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("wavenet", __doc__, "", "--samples 300 --rounds 3")
    parser.add_argument("--samples", type=int, default=1500, help="of the naive loop")
    parser.add_argument("--rounds", type=int, default=5, help="measured times of the kept loop, a second of sound each")
    parser.add_argument("--size", type=int, default=32, help="channels")
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    for name, spec in {
        "mu-law": Spec((RATE,), vocab=256, ordinal=True),
        "16-bit mixture": Spec((1, RATE)),
    }.items():
        torch.manual_seed(0)
        model = WaveNet(spec, size=args.size).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        u = torch.rand(1, RATE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        few = u[:, : args.samples]
        exact = model.double()
        want = naive(exact, few)[0]
        made = exact.spec.as_real(exact.sample(1, _Numbers(few), length=args.samples)).reshape(1, -1)
        same = bool(torch.allclose(made.double(), want, atol=1e-6))
        model.float()
        late = min(args.samples - 50, model.stack.reach + 1)  # from where the naive loop sees all it can
        _, seconds = naive(model, few, late)
        model.sample(1, _Numbers(u[:, :100]), length=100)  # compiled
        times, tensors = [], []
        for _ in range(args.rounds):
            begun = time.perf_counter()
            model.sample(1, _Numbers(u))
            times.append((time.perf_counter() - begun) / RATE)
            begun = time.perf_counter()
            model.sample(1, _Numbers(few), length=args.samples, compiled=False)
            tensors.append((time.perf_counter() - begun) / args.samples)
        kept, plain = sorted(times)[len(times) // 2], sorted(tensors)[len(tensors) // 2]
        found[name] = {
            "parameters": sum(p.numel() for p in model.parameters()), "sees": model.stack.reach + 1, "same": same,
            "samples_compared": args.samples, "naive_ms": 1000 * seconds, "kept_by_tensors_ms": 1000 * plain,
            "kept_ms": 1000 * kept, "speed": seconds / kept, "speed_by_tensors": seconds / plain,
            "times_real_time": 1 / (kept * RATE), "wanted": {"speed": 50, "times_real_time": 1},
        }  # fmt: skip
        print(name, found[name], flush=True)
    keep("wavenet", found, args)
