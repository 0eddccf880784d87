"""A gated PixelCNN on pictures the size of MNIST: training beside a plain loop, sampling beside a naive one.

The plain loop is what a careful person writes from the paper (van den Oord et al. 2016, arXiv:1606.05328, figure 2):
convolutions whose kernels are multiplied by masks, float32, AdamW. It has as many layers and channels. The naive sampler
runs our own network over the whole picture for each pixel, with the same random numbers, so that pictures must agree.

``--loss N`` times nothing: both train for N steps on the same batches of binarised MNIST at the same constant learning
rate, ours in float32 and in bfloat16, and the exact nats of held-out pictures are reported.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._common import binary_mnist, keep, options, pairs, scored
from bottega.core import Batch, Rng, Spec
from bottega.data.stream import Stream
from bottega.families.pixelcnn import PixelCNN
from bottega.training.loop import fit, play
from bottega.training.optim import make_optims
from bottega.training.precision import bf16_is_fast

SIDE = 28


class Masked(nn.Conv2d):
    """A convolution that sees the rows above, or in its own row the pixels to the left; ``own`` says whether its centre."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], own: bool, dilation: int = 1) -> None:
        padding = tuple(dilation * (k // 2) for k in size)
        super().__init__(inputs, outputs, size, padding=padding, dilation=dilation)
        mask = torch.ones(size)
        if size[0] > 1:  # the vertical stack
            mask[size[0] // 2 + own :] = 0
        else:
            mask[:, size[1] // 2 + own :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """The kernel times its mask."""
        return F.conv2d(x, self.weight * self.mask, self.bias, 1, self.padding, self.dilation)


class PlainLayer(nn.Module):
    """One gated layer of both stacks."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.vertical = Masked(width, 2 * width, (3, 3), own=True, dilation=dilation)
        self.horizontal = Masked(width, 2 * width, (1, 3), own=True, dilation=dilation)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.vertical_out, self.horizontal_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks' next states."""
        told = self.vertical(v)
        a, b = told.chunk(2, 1)
        v = v + self.vertical_out(torch.tanh(a) * torch.sigmoid(b))
        a, b = (self.horizontal(h) + self.link(told)).chunk(2, 1)
        return v, h + self.horizontal_out(torch.tanh(a) * torch.sigmoid(b))


class Plain(nn.Module):
    """The whole network, for pictures that are on or off: ``(B, 1, H, W)`` -> logits of the same shape."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.vertical = Masked(1, width, (7, 7), own=False)
        self.horizontal = Masked(1, width, (1, 7), own=False)
        self.layers = nn.ModuleList(PlainLayer(width, d) for d in dilations)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel given those before it."""
        v, h = self.vertical(x), self.horizontal(x)
        for layer in self.layers:
            v, h = layer(v, h)
        return self.head(h)


@torch.no_grad()
def naive(model: PixelCNN, n: int, rng: Rng) -> Tensor:
    """Sample by the whole network for every pixel, from the numbers that ``model.sample`` would draw."""
    x = torch.zeros(n, *model.spec.shape, dtype=torch.long)
    u = rng.uniform(n, *model.spec.shape).double()
    for i in range(SIDE):
        for j in range(SIDE):
            logits = model.head(model.stack(model._see(x))[:, :, i, j], x[:, :, i, j], 0).double()
            below = torch.softmax(logits, -1).cumsum(-1)
            x[:, 0, i, j] = (below <= u[:, 0, i, j, None]).sum(-1).clamp(max=model.spec.vocab - 1)
    return x


SPEC = Spec((1, SIDE, SIDE), vocab=2, ordinal=True)


def plain_nats(plain: Plain, x: Tensor) -> Tensor:
    """``-log p(x)``, ``(B,)``."""
    loss = F.binary_cross_entropy_with_logits(plain(2.0 * x - 1), x.float(), reduction="none")
    return loss.flatten(1).sum(1)


def plain_loop(plain: Plain) -> Callable[[Tensor], None]:
    """One step as a person would write it."""
    optim = torch.optim.AdamW(plain.parameters(), lr=1e-3)

    def step(x: Tensor) -> None:
        optim.zero_grad()
        plain_nats(plain, x).mean().backward()
        optim.step()

    return step


def compare_losses(args: argparse.Namespace) -> dict[str, Any]:
    """Exact nats of held-out pictures after as many steps of each."""
    rows, held = binary_mnist(20_000)
    held = Batch(held.x[:200])
    found: dict[str, Any] = {"steps": args.loss, "batch": args.batch, "held": len(held), "unit": "nats, exact"}
    for bf16 in (False, True) if args.bf16 else (False,):
        torch.manual_seed(0)
        model, stream = PixelCNN(SPEC, size=args.size, layers=args.layers), Stream(rows, args.batch, seed=0)
        optims = make_optims(model, args.loss, {"schedule": "constant", "warmup": 0})
        fit(model, stream, optims, steps=args.loss, rng=Rng(0), clip=1.0, bf16=bf16)
        model.eval()
        found["ours, bfloat16" if bf16 else "ours, float32"] = -scored(model.log_prob, held, 50).mean().item()
        print(found, flush=True)
    torch.manual_seed(0)
    plain = Plain(args.size, [layer.up.dilation[0] for layer in model.stack.layers])
    step, stream = plain_loop(plain), Stream(rows, args.batch, seed=0)
    for _ in range(args.loss):
        step(next(stream).x)
    found["plain"] = scored(lambda batch, _: plain_nats(plain, batch.x), held, 50).mean().item()
    return found


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("pixelcnn", __doc__, "", "--only train --rounds 5", "--only sample --images 1", "--loss 100")
    parser.add_argument("--only", choices=("train", "sample"))
    parser.add_argument("--size", type=int, default=40, help="channels; 40 are about 0.3 million weights")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32, help="pictures of a training step")
    parser.add_argument("--images", type=int, default=4, help="pictures that are sampled together")
    parser.add_argument(
        "--rounds", type=int, default=11, help="measured pairs of training; a naive sample is timed once"
    )
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, for machines with other work")
    parser.add_argument("--loss", type=int, metavar="N", help="compare held-out losses after N steps in place of times")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="--loss in bfloat16 too")
    args = parser.parse_args(argv)
    if args.loss:
        keep("pixelcnn", {"loss": compare_losses(args)}, args, beside=True)
        return
    clock = time.process_time if args.cpu_time else time.perf_counter
    torch.manual_seed(0)
    model = PixelCNN(SPEC, size=args.size, layers=args.layers)
    result: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    if args.only != "sample":
        plain = Plain(args.size, [layer.up.dilation[0] for layer in model.stack.layers])
        x = torch.randint(2, (args.batch, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
        optim, rng, turn = make_optims(model, 1, {"schedule": "constant", "warmup": 0})[""], Rng(0), model.turns()[0]
        hand, bf16 = plain_loop(plain), bf16_is_fast("cpu")
        found = pairs(
            lambda: hand(x),
            lambda: play(model, turn, Batch(x), optim, rng, clip=1.0, bf16=bf16),
            args.rounds,
            clock=clock,
        )
        result["train"] = {
            "speed": found["ratio"],
            "speed_low": found["ratio_low"],
            "speed_high": found["ratio_high"],
            "images_per_second": args.batch / found["b_seconds"],
            "plain_images_per_second": args.batch / found["a_seconds"],
            "plain_parameters": sum(p.numel() for p in plain.parameters()),
            "bfloat16": bf16,
            "rounds": args.rounds,
        }
        print(f"training: {found['ratio']:.2f} times as fast as the plain loop", flush=True)
    if args.only != "train":
        model.eval()
        model.sample(1, Rng(9))
        began = clock()
        slow = naive(model, args.images, Rng(0))
        middle = clock()
        pixels = model.sample(args.images, Rng(0), guess=False)
        later = clock()
        fast = model.sample(args.images, Rng(0))
        end = clock()
        result["sample"] = {
            "speed": (middle - began) / (end - later),
            "speed_cached": (middle - began) / (later - middle),
            "seconds_per_image": (end - later) / args.images,
            "cached_seconds_per_image": (later - middle) / args.images,
            "naive_seconds_per_image": (middle - began) / args.images,
            "identical": bool(torch.equal(slow, fast) and torch.equal(slow, pixels)),
            "images": args.images,
        }
        print(
            f"sampling: {result['sample']['speed']:.0f} times as fast; identical: {torch.equal(slow, fast)}", flush=True
        )
    keep("pixelcnn", result, args)
