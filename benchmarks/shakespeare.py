"""A character GPT at nanoGPT's CPU budget: loss on the whole validation part, and training speed beside plain loops.

4 layers, 4 heads, 128 wide, windows of 64, batches of 12, 2,000 steps. The first 90 % of the text train, the last 10 %
(from the next blank line on) are scored, as nanoGPT splits it; the text beside the project is itself the first 90 % of
the whole file, which --data takes, too. In every pair the two loops alternate on the same machine; ``speed`` is the median of
their times' ratio, above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import bottega
from benchmarks._common import held_rows, keep, kept, options, pairs, prepare, scored, shared
from bottega.core import Batch, Family, Rng
from bottega.data.stream import Stream
from bottega.training.ema import Ema
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.precision import use_bf16

ADAMW = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}  # nanoGPT's for its character model


def loss(args: argparse.Namespace, recipe: str = "shakespeare", wanted: float = 1.80) -> dict[str, Any]:
    """Train a recipe; nats of each character of the held-out part, in windows that know nothing of what stands before them."""
    with tempfile.TemporaryDirectory() as folder:
        run = bottega.train(
            recipe,
            args.data,
            (args.runs or Path(folder)) / recipe,
            steps=args.steps,
            seed=args.seed,
            set={"data.held": 0.1},
            judge=False,
        )
        held = held_rows(run, 10**9)
        model: Any = run.model
        nll = -scored(model.log_prob, held)
        assert held.mask is not None
        real = held.mask.sum(1)
        first = torch.zeros_like(held.mask)
        first[:, 0] = True
        blind = -scored(model.log_prob, Batch(held.x, None, first))
        value = (nll.sum() / real.sum()).item()
        return {
            "nats_per_char": value,
            # nanoGPT scores windows of which each character knows 1 to all before it; here one less
            "nats_per_char_after_the_first": ((nll - blind).sum() / (real - 1).sum()).item(),
            "chars": int(real.sum()),
            "wanted": wanted,
            "nanogpt_readme": 1.88,
            "precision": "bf16" if use_bf16(run.recipe.train.precision, "cpu") else "fp32",
            "train_seconds": run.header["seconds"],
            "steps": run.step,
            "parameters": run.header["parameters"],
            "optimiser": run.recipe.optim.get("name", "adamw"),
        }  # fmt: skip


def plain(model: Family, stream: Stream, steps: int) -> Callable[[], None]:
    """The loop that a person would write over this very module with torch's AdamW."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": [p for p in model.parameters() if p.ndim < 2]}]
    optim = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)
    rng = Rng(0)

    def loop() -> None:
        for _ in range(steps):
            terms = model.loss(next(stream), rng)
            mean = terms.total.sum() / terms.count
            optim.zero_grad(set_to_none=True)
            mean.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()

    return loop


def nanogpt(folder: Path, tokens: torch.Tensor, vocab: int, batch: int, steps: int) -> Callable[[], None]:
    """A plain loop over ``class GPT`` of ``folder/model.py``, with its own optimiser and its way of drawing windows."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    if spec is None or spec.loader is None or not (folder / "model.py").exists():
        raise SystemExit(f"there is no model.py in {folder}; give the folder of a checkout of nanoGPT")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    size = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64}
    model = module.GPT(module.GPTConfig(**size, vocab_size=vocab, dropout=0.0, bias=False))
    optim = model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")

    def loop() -> None:
        for _ in range(steps):
            starts = torch.randint(len(tokens) - 64, (batch,)).tolist()
            x = torch.stack([tokens[i : i + 64] for i in starts])
            y = torch.stack([tokens[i + 1 : i + 65] for i in starts])
            _, mean = model(x, y)
            mean.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
            optim.zero_grad(set_to_none=True)

    return loop


def speed(args: argparse.Namespace) -> dict[str, Any]:
    """Pairs of our loop with the same optimiser, and with the recipe's own, against the plain loop and nanoGPT's."""
    plan, model, stream = prepare("shakespeare", args.data)
    batch, steps = plan.train.batch, args.speed_steps

    def ours(table: dict[str, Any], ema: bool) -> Callable[[], object]:
        optims, mine, rng = make_optims(model, 10**6, table), stream(), Rng(0)
        average = Ema(model, plan.train.ema) if ema and plan.train.ema else None
        return lambda: fit(model, mine, optims, steps=steps, rng=rng, clip=1.0, ema=average)

    adamw = {"name": "adamw", "schedule": "constant", "warmup": 0, **ADAMW}
    recipe = {**plan.optim, "schedule": "constant", "warmup": 0}
    rivals = {"plain": plain(model, stream(), steps)}
    if args.nanogpt is not None:
        flat = stream().source.take(torch.arange(0, 64 * 2000, 64)).x.flatten()  # 128,000 characters are enough to time
        rivals["nanogpt"] = nanogpt(args.nanogpt, flat, model.spec.vocab, batch, steps)
    out: dict[str, Any] = {"steps": steps}
    for name, rival in rivals.items():
        # "loop": the same settings as the plain one. "recipe": the recipe's own, as `loss` was reached.
        for mine, work in {"loop": ours(adamw, ema=False), "recipe": ours(recipe, ema=True)}.items():
            found = pairs(rival, work, args.rounds)
            out[f"{mine}_against_{name}"] = {"speed": found.pop("ratio"), "speed_low": found.pop("ratio_low"),
                                             "speed_high": found.pop("ratio_high"), **found}  # fmt: skip
            print(f"{mine} against {name}: {out[f'{mine}_against_{name}']['speed']:.3f} x", flush=True)
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    examples = (
        "",
        "--only hour --runs runs/hour",
        "--nanogpt ../nanoGPT",
        "--steps 200 --speed-steps 10 --rounds 5",
        "--only speed",
    )
    parser = options("shakespeare", __doc__, *examples)
    parser.add_argument(
        "--only", choices=("loss", "speed", "hour"), help="hour: the larger model, which is not trained otherwise"
    )
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    parser.add_argument("--steps", type=int, help="of training, instead of the recipe's 2,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="the text; by default the one beside the project")
    parser.add_argument("--nanogpt", type=Path, help="a folder with nanoGPT's model.py, to time it, too")
    parser.add_argument("--speed-steps", type=int, default=20, help="steps in each timed piece")
    parser.add_argument("--rounds", type=int, default=15, help="measured pairs")
    args = parser.parse_args(argv)
    args.data = args.data or shared() / "tiny_shakespeare" / "train.txt"
    result = kept("shakespeare")  # what was measured at another time
    if args.only == "hour":
        result["hour"] = loss(args, "shakespeare-hour", 1.50)
    if args.only in {None, "loss"}:
        result["loss"] = loss(args)
    if args.only in {None, "speed"}:
        result["speed"] = speed(args)
    keep("shakespeare", result, args)
