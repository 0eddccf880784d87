"""How surprising held-out music is to the model: nats for each note and for each step of the grid."""

from __future__ import annotations

import math

import torch

from bottega.core import Measure
from bottega.judge._case import Case
from bottega.judge._music import MOST
from bottega.judge._statistics import ratio_interval

__all__ = ["measure"]

needs: tuple[str, ...] = ("scores",)
media: tuple[str, ...] = ("music",)

_CHUNK = 16
_FLIPPED = {"exact": "exact", "lower": "upper", "estimate": "estimate", "upper": "lower"}


@torch.no_grad()
def measure(case: Case) -> list[Measure]:
    """``nll_nats_per_note`` and ``nll_nats_per_frame`` of held-out rows, whose tokens are all counted.

    Frames are the steps of the codec's grid. A row that is cut from a longer piece knows nothing of what stands before it.
    Numbers of one grid and one kind of tokens compare; of ``tokens = "frames"`` the second is the likelihood of 88 bits.
    """
    assert case.decode is not None
    model, held = case.model, case.held.take(torch.arange(min(MOST, len(case.held))))
    scores = [item.value for item in case.decode(held.x.cpu())]
    was, rng = model.training, case.rng("note likelihood")  # type: ignore[union-attr]
    model.eval()  # type: ignore[union-attr]
    parts = held.split(math.ceil(len(held) / _CHUNK))
    nats = -torch.cat([model.log_prob(part.to(case.device), rng).double().cpu() for part in parts])  # type: ignore[union-attr]
    model.train(was)  # type: ignore[union-attr]
    out = []
    for name, sizes in (
        ("nll_nats_per_note", [float(len(s.notes)) for s in scores]),
        ("nll_nats_per_frame", [float(s.length) for s in scores]),
    ):
        if sum(sizes):
            value, low, high = ratio_interval(nats, torch.tensor(sizes))
            out.append(
                Measure(name, value, low, high, n=len(scores), seed=case.seed, better="lower",
                        bound=_FLIPPED[model.bound], note=f"of {int(sum(sizes))} in held-out rows")  # type: ignore[union-attr, arg-type]
            )  # fmt: skip
    return out
