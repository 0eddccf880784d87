"""Do the notes belong to the key?"""

from __future__ import annotations

import torch

from bottega.core import Measure
from bottega.core.score import estimate_key
from bottega.judge._case import Case
from bottega.judge._music import pieces, walks
from bottega.judge._statistics import bootstrap

__all__ = ["measure"]

needs: tuple[str, ...] = ("samples",)
media: tuple[str, ...] = ("music",)


def measure(case: Case) -> list[Measure]:
    """``in_key_rate``: the share of sounding time on pitches of the key; ``key_agreement``: that the key said is the one heard.

    In minor the raised sixth and seventh belong to the key too. The key is the one that a piece says (its tokens, or the key
    that all pieces were moved to), else the one that is heard (Krumhansl & Schmuckler). Held-out pieces are the ceiling:
    music leaves its key. The note says what a walk of chance in the same rhythm has. ``key_agreement`` only where pieces
    say a key: the share of them in which tonic and mode as heard are those.
    """
    made, held = pieces(case, "samples"), pieces(case, "held")
    if not made or not held:
        return []
    rates = torch.tensor([s.in_key() for s in made])
    best = sum(s.in_key() for s in held) / len(held)
    chance = walks(case, held)
    walk = sum(s.in_key() for s in chance) / len(chance)
    rng = case.rng("in key")
    note = (
        f"share of sounding time on pitches of the key; a random walk in the rhythm of held-out pieces has {walk:.3f}"
    )
    out = [
        Measure(
            "in_key_rate", *bootstrap(rates, rng), n=len(made), seed=case.seed, better="higher", ceiling=best, note=note
        )
    ]
    said = [s for s in made if s.keys]
    if said:
        agrees = torch.tensor([float(s.keys[0][1] == estimate_key(s)) for s in said])
        real = [float(s.keys[0][1] == estimate_key(s)) for s in held if s.keys]
        out.append(
            Measure("key_agreement", *bootstrap(agrees, rng), n=len(said), seed=case.seed, better="higher",
                    ceiling=sum(real) / len(real) if real else None,
                    note="share of pieces in which the key that is heard is the key that they say")
        )  # fmt: skip
    return out
