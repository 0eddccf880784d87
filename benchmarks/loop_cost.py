"""What the one loop costs against a hand-written loop over the same module, by the demo's recipes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks._common import keep, options, pairs, prepare
from bottega.core import Batch, Family, Rng
from bottega.training.loop import fit
from bottega.training.optim import Optim, make_optims

RECIPES = {"vae": "digits-vae", "gan": "digits-gan", "diffusion": "digits-diffusion", "gpt": "english"}
STEPS = {"vae": 40, "gan": 12, "diffusion": 24, "gpt": 8}  # about a second each; whole rounds of the GAN's lazy penalty


def by_hand(
    model: Family, stream: Iterator[Batch], optims: dict[str, Optim], steps: int, rng: Rng, clip: float
) -> None:
    """The loop a careful person would write for this very module: nothing is frozen where only one player moves."""
    turns = model.turns()
    players = {t.player: list(model.get_submodule(t.player).parameters()) for t in turns}
    for step in range(steps):
        for turn in turns:
            if step % turn.every:
                continue
            for _ in range(turn.repeat):
                if len(players) > 1:
                    for player, params in players.items():
                        for p in params:
                            p.requires_grad_(player == turn.player)
                optim = optims[turn.player]
                optim.zero_grad()
                terms = turn.loss(next(stream), rng)
                (terms.total.sum() / terms.count).backward()
                if clip:
                    torch.nn.utils.clip_grad_norm_(players[turn.player], clip)
                optim.step()
        model.settle(step)
    for params in players.values():
        for p in params:
            p.requires_grad_(True)


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("loop_cost", __doc__, "", "--families vae gpt --steps 10 --rounds 5")
    parser.add_argument("--families", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--steps", type=int, help="steps in each timed piece, instead of about a second's")
    parser.add_argument("--rounds", type=int, default=25, help="measured pairs")
    args = parser.parse_args(argv)
    result = {}
    for name in args.families:
        steps = args.steps or STEPS[name]
        plan, model, stream = prepare(RECIPES[name])
        # As in the recipe, but in float32 and at a constant rate; either loop has its own optimiser and batches.
        table = {**plan.optim, "schedule": "constant", "warmup": 0}
        mine, theirs = make_optims(model, 1, table), make_optims(model, 1, table)
        one, two, rng, clip = stream(), stream(), Rng(0), plan.train.clip

        def loop(model=model, one=one, mine=mine, rng=rng, clip=clip, steps=steps) -> None:
            fit(model, one, mine, steps=steps, rng=rng, clip=clip)

        def hand(model=model, two=two, theirs=theirs, rng=rng, clip=clip, steps=steps) -> None:
            by_hand(model, two, theirs, steps, rng, clip)

        result[name] = {"recipe": plan.name, "steps": steps, **pairs(loop, hand, args.rounds)}
        print(f"{name}: the loop takes {result[name]['ratio']:.3f} of a hand-written one", flush=True)
    keep("loop_cost", result, args)
