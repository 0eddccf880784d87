"""A 32 x 32 diffusion U-Net of about ten million parameters: training and 50 DDIM steps, beside two libraries.

The same channels at the same resolutions (64, 128, 128, 128), two blocks at each, attention at 8 x 8 and 4 x 4, AdamW, the
same batch, the same clipping. Each library trains and samples by its own code, in bfloat16 (autocast) and in float32,
and the better of the two stands for it. Weights are fresh: what is timed does not depend on what was learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from benchmarks._common import keep, options, pairs
from bottega.core import Batch, Rng, Spec
from bottega.families.diffusion import Diffusion
from bottega.training.loop import play
from bottega.training.optim import make_optims

Work = Callable[[], object]
SHAPE, WIDE = (3, 32, 32), (64, 128, 128, 128)


def _cast(bf16: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()


def _parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def ours(train: int, made: int, steps: int, bf16: bool) -> tuple[Work, Work, int]:
    """One step of the loop on ``train`` pictures, and ``made`` pictures in ``steps`` steps."""
    torch.manual_seed(0)
    model, rng = Diffusion(Spec(SHAPE), size=WIDE[0], depth=2), Rng(0)
    (optim,) = make_optims(model, 1000, {"lr": 2e-4}).values()
    batch, (turn,) = Batch(2 * rng.uniform(train, *SHAPE) - 1), model.turns()

    def sample() -> object:
        with _cast(bf16):
            return model.sample(made, rng, sampler="ddim", steps=steps)

    return lambda: play(model, turn, batch, optim, rng, clip=1.0, bf16=bf16), sample, _parameters(model)


def _plain(net: torch.nn.Module, loss: Callable[[], torch.Tensor], bf16: bool) -> Work:
    optim = torch.optim.AdamW(net.parameters(), lr=2e-4, fused=True)

    def step() -> None:
        optim.zero_grad(set_to_none=True)
        with _cast(bf16):
            value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optim.step()

    return step


def diffusers(train: int, made: int, steps: int, bf16: bool) -> tuple[Work, Work, int]:
    """``UNet2DModel`` with ``DDPMScheduler`` for training and ``DDIMScheduler`` for sampling, as its documentation does."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    net = UNet2DModel(
        sample_size=32, in_channels=3, out_channels=3, layers_per_block=2, block_out_channels=WIDE, norm_num_groups=16,
        attention_head_dim=32,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    noising, x = DDPMScheduler(num_train_timesteps=1000), 2 * torch.rand(train, *SHAPE) - 1

    def loss() -> torch.Tensor:
        noise, t = torch.randn_like(x), torch.randint(1000, (train,))
        said = net(noising.add_noise(x, noise, t), t).sample
        return torch.nn.functional.mse_loss(said.float(), noise)

    @torch.no_grad()
    def sample() -> object:
        schedule, y = DDIMScheduler(num_train_timesteps=1000), torch.randn(made, *SHAPE)
        schedule.set_timesteps(steps)
        for t in schedule.timesteps:
            with _cast(bf16):
                said = net(y, t).sample
            y = schedule.step(said.float(), t, y).prev_sample
        return y

    return _plain(net, loss, bf16), sample, _parameters(net)


def denoising_diffusion_pytorch(train: int, made: int, steps: int, bf16: bool) -> tuple[Work, Work, int]:
    """``Unet`` in ``GaussianDiffusion``, sampling by its own DDIM."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    torch.manual_seed(0)
    net = Unet(dim=WIDE[0], dim_mults=tuple(w // WIDE[0] for w in WIDE), full_attn=(False, False, True, True))
    whole = GaussianDiffusion(net, image_size=SHAPE[1], timesteps=1000, sampling_timesteps=steps)
    x = torch.rand(train, *SHAPE)

    def sample() -> object:
        with _cast(bf16):
            return whole.sample(batch_size=made)

    return _plain(net, lambda: whole(x).float(), bf16), sample, _parameters(net)


PEERS = {"diffusers": diffusers, "denoising_diffusion_pytorch": denoising_diffusion_pytorch}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("unet", __doc__, "", "--rounds 3 --steps 5")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a training step")
    parser.add_argument("--made", type=int, default=8, help="pictures sampled at once")
    parser.add_argument("--steps", type=int, default=50, help="of sampling")
    parser.add_argument("--rounds", type=int, default=7, help="measured pairs")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--their-precision", nargs="+", default=["bf16", "fp32"], choices=["bf16", "fp32"])
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, for machines with other work")
    args = parser.parse_args(argv)
    size = (args.batch, args.made, args.steps)
    result: dict[str, Any] = {"wanted": {"training": 1.5, "sampling": 1.3}, "ours": "bf16", "peers": {}, "absent": []}
    train, sample, result["parameters"] = ours(*size, True)
    clock = time.process_time if args.cpu_time else time.perf_counter
    for peer in args.peers:
        for precision in args.their_precision:
            try:
                their_step, their_sample, count = PEERS[peer](*size, precision == "bf16")
            except ImportError:
                result["absent"].append(peer)
                break
            found: dict[str, Any] = {"parameters": count}
            for what, a, b, many, warm in (
                ("training", their_step, train, args.batch, 2),
                ("sampling", their_sample, sample, args.made, 1),
            ):
                pair = pairs(a, b, args.rounds, warm, clock)
                found[what] = {
                    "faster": pair["ratio"], "low": pair["ratio_low"], "high": pair["ratio_high"],
                    "their_pictures_per_second": many / pair["a_seconds"], "ours_per_second": many / pair["b_seconds"],
                }  # fmt: skip
            name = f"{peer} {precision}"
            result["peers"][name] = found
            print(name, {k: round(found[k]["faster"], 2) for k in ("training", "sampling")}, flush=True)
    for what in ("training", "sampling"):
        ratios = [found[what]["faster"] for found in result["peers"].values()]
        result[what] = min(ratios, default=None)
    keep("unet", result, args)
