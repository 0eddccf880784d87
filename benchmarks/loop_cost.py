"""What the one loop costs against a hand-written loop over the same module, at the demo's sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks._common import keep, pairs
from bottega.core import Batch, Family, Rng, Spec
from bottega.training.loop import fit
from bottega.training.optim import Optim, make_optims
from bottega.workshop.build import make_family

CASES = {
    "vae": ({"name": "vae"}, Spec((1, 8, 8)), 128),
    "gan": ({"name": "gan"}, Spec((1, 8, 8)), 128),
    "diffusion": ({"name": "diffusion"}, Spec((1, 8, 8)), 128),
    "gpt": ({"name": "gpt", "size": 4}, Spec((64,), vocab=65), 12),
}


def batches(spec: Spec, rows: int) -> Iterator[Batch]:
    """The same batches for both loops."""
    rng = Rng(0)
    made = [
        Batch(
            rng.integers(spec.vocab, rows, *spec.shape)
            if spec.is_tokens
            else rng.normal(rows, *spec.shape).clamp(-1, 1)
        )
        for _ in range(8)
    ]
    while True:
        yield from made


def by_hand(model: Family, stream: Iterator[Batch], optims: dict[str, Optim], steps: int, rng: Rng) -> None:
    """The loop a careful person would write for this very module."""
    players = {t.player: list(model.get_submodule(t.player).parameters()) for t in model.turns()}
    for step in range(steps):
        for turn in model.turns():
            if step % turn.every:
                continue
            for _ in range(turn.repeat):
                for player, params in players.items():
                    for p in params:
                        p.requires_grad_(player == turn.player)
                optim = optims[turn.player]
                optim.zero_grad()
                terms = turn.loss(next(stream), rng)
                (terms.total.sum() / terms.count).backward()
                torch.nn.utils.clip_grad_norm_(players[turn.player], 1.0)
                optim.step()
        model.settle(step)


STEPS = 40


def main() -> None:
    """Measure and keep."""
    result = {}
    for name, (table, spec, rows) in CASES.items():

        def ready(
            table: dict = table, spec: Spec = spec, rows: int = rows
        ) -> Callable[[Callable], Callable[[], object]]:
            model = make_family(table, spec, 0)
            optims = make_optims(model, 10_000, {"schedule": "constant"})
            stream, rng = batches(spec, rows), Rng(0)
            return lambda loop: lambda: loop(model, stream, optims, rng)

        ours = ready()(lambda m, s, o, r: fit(m, s, o, steps=STEPS, rng=r, clip=1.0))
        theirs = ready()(lambda m, s, o, r: by_hand(m, s, o, STEPS, r))
        result[name] = {"steps": STEPS, **pairs(ours, theirs)}
    keep("loop_cost", result)
