"""Training steps of flows beside normflows, nflows and zuko: couplings on moons, and Glow on 32 x 32 colour pictures.

Every model has as many couplings, conditioners of the same widths and depths, the same batches, AdamW (fused) and
float32; the Glow of ours also in bfloat16 where the processor multiplies it fast. Affine couplings on moons have the same
conditioner everywhere, ``MLP`` below; splines of ``normflows`` bring their own, of another kind. Steps of ours are played
by the loop that users train with, which also clips and checks gradients.

``--loss N`` times nothing: each trains for N steps at the same constant learning rate, and the nats of held-out rows are
reported: of 20,000 fresh draws of the moons, or a number of 500 held-out patches of the built-in photographs (on moons
N steps, of Glow a fifth as many).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._common import keep, options, pairs
from bottega.codecs.points import PointsCodec
from bottega.core import Batch, Encoded, Rng, Spec
from bottega.data import worlds
from bottega.data.stream import Stream
from bottega.families.flow import Flow
from bottega.training.loop import play
from bottega.training.optim import make_optims
from bottega.training.precision import bf16_is_fast
from bottega.workshop.build import find_data, make_codec
from bottega.workshop.judging import rows_of
from bottega.workshop.recipe import load_recipe
from bottega.workshop.training import divide

WIDTH = 128  # of the two hidden layers of a conditioner on moons
LEVELS = 3  # of Glow


class MLP(nn.Sequential):
    """The conditioner that every peer gets where it does not bring the same one: two hidden layers.

    ``zero`` begins with the identity, as ``normflows`` does (``init_zeros``) and ours.
    """

    def __init__(self, inputs: int, outputs: int, zero: bool = False) -> None:
        last = nn.Linear(WIDTH, outputs)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), last)

    def forward(self, x: Tensor, context: None = None) -> Tensor:
        """What nflows calls with a context."""
        return super().forward(x)


def ours(
    spec: Spec, kind: Any, size: int, layers: int, bf16: bool = False
) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """A flow, and what plays one training step of it."""
    torch.manual_seed(0)
    model = Flow(spec, kind=kind, size=size, layers=layers)
    optim, rng, turn = make_optims(model, 1, {"schedule": "constant", "warmup": 0})[""], Rng(0), model.turns()[0]
    return model, lambda x: play(model, turn, Batch(x), optim, rng, clip=1.0, bf16=bf16)


def theirs(model: nn.Module, nll: Callable[[Tensor], Tensor]) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """A peer's model, and the plain step of its documentation."""
    optim = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(x: Tensor) -> None:
        optim.zero_grad(set_to_none=True)
        nll(x).backward()
        optim.step()

    return model, step


def normflows_points(kind: str, layers: int) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """As in its README, with swaps between couplings; splines have its own residual conditioner.

    Its own perceptron for affine couplings has LeakyReLU, which is cheaper than SiLU and no other's; it gets ``MLP``.
    """
    nf: Any = import_module("normflows")
    flows: list[nn.Module] = []
    for _ in range(layers):
        if kind == "realnvp":
            flows += [nf.flows.AffineCouplingBlock(MLP(1, 2, zero=True)), nf.flows.Permute(2, mode="swap")]
        else:
            flows += [nf.flows.CoupledRationalQuadraticSpline(2, 1, WIDTH, num_bins=8), nf.flows.LULinearPermute(2)]
    model = nf.NormalizingFlow(nf.distributions.DiagGaussian(2, trainable=False), flows)
    return theirs(model, model.forward_kld)


def nflows_points(kind: str, layers: int) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """Masked couplings by turns."""
    flow, transforms = import_module("nflows.flows"), import_module("nflows.transforms")
    normal = import_module("nflows.distributions.normal")
    chain: list[Any] = []
    for k in range(layers):
        mask = torch.tensor([1, -1]) * (1 if k % 2 else -1)
        if kind == "realnvp":
            chain.append(transforms.AffineCouplingTransform(mask, MLP))
        else:
            chain.append(
                transforms.PiecewiseRationalQuadraticCouplingTransform(
                    mask, MLP, num_bins=8, tails="linear", tail_bound=3
                )
            )
            chain.append(transforms.LULinear(2))
    model = flow.Flow(transforms.CompositeTransform(chain), normal.StandardNormal([2]))
    return theirs(model, lambda x: -model.log_prob(x).mean())


def zuko_points(kind: str, layers: int) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """Its NICE, whose couplings are affine; its splines as couplings by ``passes=2``."""
    zuko: Any = import_module("zuko")
    hidden = {"hidden_features": (WIDTH, WIDTH), "activation": nn.SiLU}
    if kind == "realnvp":
        model = zuko.flows.NICE(2, transforms=layers, **hidden)
    else:
        model = zuko.flows.NSF(2, bins=8, transforms=layers, passes=2, **hidden)
    return theirs(model, lambda x: -model().log_prob(x).mean())


def normflows_glow(hidden: int, layers: int) -> tuple[nn.Module, Callable[[Tensor], Any]]:
    """Its multi-scale Glow, as in its example of CIFAR-10, without labels."""
    nf: Any = import_module("normflows")
    bases, merges, flows = [], [], []
    for i in range(LEVELS):
        blocks = [nf.flows.GlowBlock(3 * 2 ** (LEVELS + 1 - i), hidden, scale=True) for _ in range(layers)]
        flows.append([*blocks, nf.flows.Squeeze()])
        merges += [nf.flows.Merge()] if i else []
        side = 32 // 2 ** (LEVELS - i)
        bases.append(nf.distributions.DiagGaussian((3 * 2 ** (LEVELS - i) * (1 if i else 2), side, side)))
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    return theirs(model, lambda x: model.forward_kld(x).mean())


def parameters(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def race(
    mine: tuple[nn.Module, Callable[[Tensor], Any]], peer: tuple[nn.Module, Callable[[Tensor], Any]],
    batches: Callable[[], Tensor], steps: int, rounds: int, clock: Callable[[], float],
) -> dict[str, Any]:  # fmt: skip
    """Alternating pairs of so many steps; ``speed`` is how many times as many rows a second ours takes."""

    def run(step: Callable[[Tensor], Any]) -> Callable[[], None]:
        def work() -> None:
            for _ in range(steps):
                step(batches())

        return work

    found = pairs(run(peer[1]), run(mine[1]), rounds, clock=clock)
    rows = steps * len(batches())
    return {
        "speed": found["ratio"],
        "speed_low": found["ratio_low"],
        "speed_high": found["ratio_high"],
        "rows_per_second": rows / found["b_seconds"],
        "peer_rows_per_second": rows / found["a_seconds"],
        "parameters": parameters(mine[0]),
        "peer_parameters": parameters(peer[0]),
        "rounds": rounds,
    }


def held_nats(model: nn.Module, rows: Tensor) -> float:
    """Mean ``-log p`` of the rows, of ours or of a peer's model."""
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x in rows.split(500):
            if isinstance(model, Flow):
                found = model.log_prob(Batch(x), Rng(0))
            elif hasattr(model, "forward_kld"):  # normflows; its multi-scale log_prob asks for labels
                found = -model.forward_kld(x).mean().expand(len(x))
            elif hasattr(model, "log_prob"):
                found = model.log_prob(x)
            else:
                found = model().log_prob(x)
            total -= found.double().sum().item()
    return total / len(rows)


def patches(batch: int) -> tuple[Stream, Tensor]:
    """32 x 32 patches of the built-in photographs, their bytes made continuous: batches, and 500 held-out ones.

    The stream draws its noise with the rows, so that every model sees the same numbers.
    """
    plan = load_recipe("ch22-dcgan")
    codec = make_codec(plan.codec)
    parts = divide(plan, find_data(plan, None, codec))
    source = codec.fit(parts.train).source(parts.train, train=True)
    held = rows_of(codec, parts.held, 500, seed=0).x
    return Stream(source, batch, seed=0), smeared(held, Rng(1))


def smeared(x: Tensor, rng: Rng) -> Tensor:
    """Bytes in [-1, 1] with uniform noise as wide as a byte, kept inside."""
    return 0.9 * (x + (2 / 255) * (rng.uniform(*x.shape) - 0.5))


def compare_losses(args: argparse.Namespace) -> dict[str, Any]:
    """Held-out nats after as many steps of each model on the same batches."""
    found: dict[str, Any] = {}
    if args.only != "glow":
        items = worlds.load("moons", n=20_000).items
        codec = PointsCodec().fit(items)
        rows, held = codec.encode(items), codec.encode(worlds.load("moons", n=20_000, seed=1).items).x
        for kind in ("realnvp", "spline"):
            row: dict[str, Any] = {"steps": args.loss, "batch": args.batch, "held": len(held), "unit": "nats a row"}
            for name, make in {"ours": lambda kind, n: ours(Spec((2,)), kind, WIDTH // 4, n), **PEERS}.items():
                torch.manual_seed(0)
                try:
                    model, step = make(kind, args.layers)
                except ModuleNotFoundError:
                    continue
                stream = Stream(Encoded(rows), args.batch, seed=0)
                for _ in range(args.loss):
                    step(next(stream).x)
                row[name] = held_nats(model, held)
                print(f"moons {kind}, {name}: {row[name]:.4f} nats", flush=True)
            found[f"moons {kind}, loss"] = row
    if args.only != "moons":
        _, held = patches(args.batch // 8)
        steps, numbers = args.loss // 5, held[0].numel()
        row = {"steps": steps, "batch": args.batch // 8, "held": len(held), "unit": "nats a number"}
        makes: dict[str, Any] = {
            "ours, float32": lambda: ours(Spec((3, 32, 32)), "glow", args.hidden // 4, args.layers),
            "ours, bfloat16": lambda: ours(Spec((3, 32, 32)), "glow", args.hidden // 4, args.layers, True),
            "normflows": lambda: normflows_glow(args.hidden, args.layers),
        }
        for name, make in makes.items():
            torch.manual_seed(0)
            try:
                model, step = make()
            except ModuleNotFoundError:
                continue
            stream, rng = patches(args.batch // 8)[0], Rng(2)
            for _ in range(steps):
                step(smeared(next(stream).x, rng))
            row[name] = held_nats(model, held) / numbers
            print(f"glow, {name}: {row[name]:.4f} nats a number", flush=True)
        found["glow, loss"] = row
    return found


PEERS = {"normflows": normflows_points, "nflows": nflows_points, "zuko": zuko_points}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("flows", __doc__, "", "--only moons --rounds 5", "--only glow --steps 1 --rounds 3", "--loss 500")
    parser.add_argument("--only", choices=("moons", "glow"))
    parser.add_argument("--layers", type=int, default=8, help="couplings, at each scale of a picture")
    parser.add_argument("--batch", type=int, default=256, help="rows of moons; an eighth as many pictures")
    parser.add_argument("--hidden", type=int, default=64, help="width of Glow's conditioners")
    parser.add_argument("--steps", type=int, help="steps in each timed piece (20 on moons, 2 of Glow)")
    parser.add_argument("--rounds", type=int, default=11, help="measured pairs")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, for machines with other work")
    parser.add_argument("--loss", type=int, metavar="N", help="compare held-out losses after N steps in place of times")
    args = parser.parse_args(argv)
    if args.loss:
        keep("flows", compare_losses(args), args, beside=True)
        return
    clock = time.process_time if args.cpu_time else time.perf_counter
    result: dict[str, Any] = {}
    if args.only != "glow":
        items = worlds.load("moons", n=20_000).items
        stream = Stream(Encoded(PointsCodec().fit(items).encode(items)), args.batch)
        for kind in ("realnvp", "spline"):
            for name, make in PEERS.items():
                try:
                    peer = make(kind, args.layers)
                except ModuleNotFoundError:
                    result[f"moons {kind}, {name}"] = "not installed"
                    continue
                mine = ours(Spec((2,)), kind, WIDTH // 4, args.layers)
                key = f"moons {kind}, {name}"
                result[key] = race(mine, peer, lambda: next(stream).x, args.steps or 20, args.rounds, clock)
                print(f"{key}: {result[key]['speed']:.2f} times as fast", flush=True)
    if args.only != "moons":
        x = 1.8 * torch.rand(args.batch // 8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.9
        try:
            peer = normflows_glow(args.hidden, args.layers)
        except ModuleNotFoundError:
            result["glow, normflows"] = "not installed"
        else:
            for bf16 in (False, True) if bf16_is_fast("cpu") else (False,):
                mine = ours(Spec((3, 32, 32)), "glow", args.hidden // 4, args.layers, bf16)
                key = f"glow, normflows{', bfloat16' * bf16}"
                result[key] = race(mine, peer, lambda: x, args.steps or 2, args.rounds, clock)
                print(f"{key}: {result[key]['speed']:.2f} times as fast", flush=True)
    keep("flows", result, args, beside=bool(args.only))
