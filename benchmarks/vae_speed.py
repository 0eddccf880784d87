"""Training speed of a VAE against pythae's: one step of the same layers on the same pictures, alternating.

Two shapes: a perceptron 784-512-512-latent, and pythae's own convolutional MNIST networks (128, 256, 512 and 1024 channels).
Ours is the family ``vae`` with the loop that recipes use, in the precision that ``train.precision = "auto"`` takes here;
in the convolutional one group normalisation stands where pythae has batch normalisation, which couples rows. pythae is its
own model and trainer (``BaseTrainer.train_step``), as its README trains them, in float32.

``--loss N`` times nothing: each trains for N steps on the same batches of binarised MNIST in the same order, at the same
constant learning rate, ours in float32 and in bfloat16, and minus the ELBO of held-out pictures is reported.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._common import binary_mnist, keep, options, pairs
from bottega.core import Batch, Encoded, Family, Rng, Source, Spec
from bottega.data.stream import Stream
from bottega.families.vae import VAE
from bottega.nets.pixels import Conv2d, ConvTranspose2d, GroupNorm
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.precision import use_bf16

PICTURE = Spec((1, 28, 28), vocab=2, ordinal=True)
SHAPES = {"perceptron": (128, 40), "convolutional": (64, 2)}  # rows in a batch, steps in a timed piece


class ConvEncoder(nn.Module):
    """pythae's ``Encoder_Conv_VAE_MNIST``, its batch norms group norms: ``(B, 1, 28, 28) -> (B, 2 * latent)``."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        widths = (1, 128, 256, 512, 1024)
        layers: list[nn.Module] = []
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [Conv2d(a, b, 4, 2, 1), GroupNorm(16, b), nn.ReLU()]
        self.body, self.last = nn.Sequential(*layers), nn.Linear(1024, 2 * latent)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """``(B, 1, 28, 28)`` to mean and log-variance ``(B, 2 * latent)``."""
        return self.last(self.body(x.contiguous(memory_format=torch.channels_last)).flatten(1))


class ConvDecoder(nn.Module):
    """pythae's ``Decoder_Conv_AE_MNIST``, likewise: ``(B, latent) -> (B, 1, 1, 28, 28)`` logits."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.first = nn.Linear(latent, 1024 * 4 * 4)
        self.body = nn.Sequential(
            ConvTranspose2d(1024, 512, 3, 2, 1), GroupNorm(16, 512), nn.ReLU(),
            ConvTranspose2d(512, 256, 3, 2, 1, output_padding=1), GroupNorm(16, 256), nn.ReLU(),
            ConvTranspose2d(256, 1, 3, 2, 1, output_padding=1),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        """``(B, latent)`` to logits ``(B, 1, 1, 28, 28)``."""
        x = self.first(z).unflatten(1, (1024, 4, 4)).contiguous(memory_format=torch.channels_last)
        return self.body(x)[:, None]


def ours(shape: str, latent: int) -> Family:
    """The family with the layers of ``shape``."""
    torch.manual_seed(0)
    if shape == "perceptron":
        return VAE(Spec((784,), vocab=2, ordinal=True), size=128, depth=1, latent=latent)
    model = VAE(PICTURE, size=8, latent=latent)
    model.encoder, model.decoder = ConvEncoder(latent), ConvDecoder(latent)
    return model.to(memory_format=torch.channels_last)


def theirs(shape: str, x: Tensor, batch: int, latent: int, folder: str) -> Any:
    """Pythae's trainer over its model, ready for ``train_step``."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as Model
    from pythae.models import VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.models.nn.benchmarks.mnist import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(784, 512), nn.SiLU(), nn.Linear(512, 512), nn.SiLU())
            self.mean, self.log_var = nn.Linear(512, latent), nn.Linear(512, latent)

        def forward(self, x: Tensor) -> Any:
            h = self.body(x.flatten(1))
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(latent, 512), nn.SiLU(), nn.Linear(512, 512), nn.SiLU(), nn.Linear(512, 784)
            )

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.body(z).sigmoid().view(-1, 1, 28, 28))

    logging.getLogger("pythae").setLevel(logging.ERROR)
    torch.manual_seed(0)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent, reconstruction_loss="bce")
    encoder, decoder = (
        (Encoder(), Decoder())
        if shape == "perceptron"
        else (Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config))
    )
    model = Model(config, encoder=encoder, decoder=decoder)
    plan = BaseTrainerConfig(
        output_dir=folder, num_epochs=1, per_device_train_batch_size=batch, learning_rate=1e-3, no_cuda=True
    )
    trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), training_config=plan)
    trainer.prepare_training()
    return trainer


def compare_losses(shape: str, steps: int, latent: int, bfloat16: bool) -> dict[str, Any]:
    """Nats of held-out pictures (minus the ELBO, one draw of the code) after as many steps of each."""
    batch = SHAPES[shape][0]
    rows, held = binary_mnist(20_000)
    found: dict[str, Any] = {"steps": steps, "batch": batch, "held": len(held), "unit": "nats, minus the ELBO"}
    spec = ours(shape, latent).spec

    def batches() -> Stream:
        return Stream(_Shaped(rows, spec.shape), batch, seed=0)

    for bf16 in (False, True) if bfloat16 else (False,):
        model = ours(shape, latent)
        optims = make_optims(model, steps, {"schedule": "constant", "warmup": 0})
        fit(model, batches(), optims, steps=steps, rng=Rng(0), clip=0.0, bf16=bf16)
        model.eval()
        seen = Batch(held.x.view(-1, *spec.shape))
        nats = -torch.cat([model.log_prob(part, Rng(1)) for part in seen.split(math.ceil(len(seen) / 250))])
        found["ours, bfloat16" if bf16 else "ours, float32"] = nats.mean().item()
        print(found, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = theirs(shape, held.x.float(), batch, latent, folder)
        stream = batches()
        trainer.model.train()
        for _ in range(steps):
            out = trainer.model({"data": next(stream).x.view(-1, 1, 28, 28).float()})
            trainer._optimizers_step(out)
        trainer.model.eval()
        torch.manual_seed(1)
        with torch.no_grad():
            parts = [trainer.model({"data": x}).loss.item() * len(x) for x in held.x.float().split(250)]
        found["pythae"] = sum(parts) / len(held)
    return found


class _Shaped:
    """A source whose rows have another shape."""

    def __init__(self, rows: Source, shape: tuple[int, ...]) -> None:
        self.rows, self.shape = rows, shape

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor) -> Batch:
        """Those rows."""
        return Batch(self.rows.take(rows).x.view(-1, *self.shape))


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("vae_speed", __doc__, "", "--shapes perceptron --rounds 5", "--shapes perceptron --loss 500")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=11, help="measured pairs")
    parser.add_argument("--latent", type=int, default=16)
    parser.add_argument("--loss", type=int, metavar="N", help="compare held-out losses after N steps in place of times")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="--loss in bfloat16 too")
    args = parser.parse_args(argv)
    if args.loss:
        losses = {f"{shape}, loss": compare_losses(shape, args.loss, args.latent, args.bf16) for shape in args.shapes}
        keep("vae_speed", losses, args, beside=True)
        return
    result: dict[str, Any] = {}
    for shape in args.shapes:
        batch, steps = SHAPES[shape]
        levels = Rng(0).integers(2, batch * steps, 1, 28, 28)  # speed does not depend on what is seen
        model = ours(shape, args.latent)
        stream = Stream(Encoded(Batch(levels.view(-1, *model.spec.shape))), batch, seed=0)
        optims, rng = make_optims(model, 1, {"schedule": "constant", "warmup": 0}), Rng(0)
        bf16 = use_bf16("auto", torch.device("cpu"))

        def mine(model=model, stream=stream, optims=optims, rng=rng, steps=steps, bf16=bf16) -> None:
            fit(model, stream, optims, steps=steps, rng=rng, clip=0.0, bf16=bf16)

        row: dict[str, Any] = {"images": batch * steps, "batch": batch, "our_precision": "bf16" if bf16 else "fp32"}
        row["our_parameters"] = sum(p.numel() for p in model.parameters())
        try:
            with tempfile.TemporaryDirectory() as folder:
                trainer = theirs(shape, levels.float(), batch, args.latent, folder)
                row["pythae_parameters"] = sum(p.numel() for p in trainer.model.parameters())
                row |= pairs(lambda trainer=trainer: trainer.train_step(1), mine, args.rounds)
        except ImportError as error:
            print(f"pythae is not installed ({error}); nothing to compare with", flush=True)
            row["pythae"] = "absent"
        else:
            row |= {
                "our_images_a_second": row["images"] / row["b_seconds"],
                "pythae_images_a_second": row["images"] / row["a_seconds"],
            }
            row |= {"times_as_fast": row["ratio"], "wanted": 1.5}
        result[shape] = row
    keep("vae_speed", result, args)
