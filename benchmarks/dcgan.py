"""The ch. 22 DCGAN: training speed against a plain float32 loop over the book's networks, and Fréchet at equal time.

Both train the same networks from the same pictures with batches of 128. The plain loop is what a reader of the book would
write in PyTorch: ``nn.Upsample``, ``nn.Conv2d``, ``nn.BatchNorm2d``, ``nn.Dropout``, binary cross-entropy, Adam at its
defaults, float32. Ours is the recipe ``ch22-dcgan``. Where TensorFlow is installed, the chapter's own Keras program is the
second peer, on as many threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._common import keep, options, pairs, prepare, shared
from bottega.core import Batch, Rng
from bottega.judge import Case, run_all
from bottega.training.loop import fit
from bottega.training.optim import make_optims
from bottega.training.precision import use_bf16
from bottega.workshop.build import find_data, make_codec
from bottega.workshop.judging import rows_of
from bottega.workshop.recipe import load_recipe
from bottega.workshop.training import divide


def book() -> tuple[nn.Sequential, nn.Sequential]:
    """Ch. 22's generator and discriminator, layer by layer."""
    generator = nn.Sequential(
        nn.Linear(100, 256 * 8 * 8), nn.ReLU(), nn.Unflatten(1, (256, 8, 8)),
        nn.Upsample(scale_factor=2), nn.Conv2d(256, 128, 5, padding=2), nn.BatchNorm2d(128), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 3, 5, padding=2), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(3, 64, 5, stride=2, padding=2), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, stride=2, padding=2), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(8192, 1),
    )  # fmt: skip
    return generator, discriminator


class PlainLoop:
    """Alternating training as the chapter has it."""

    def __init__(self, stream: Iterator[Batch]) -> None:
        torch.manual_seed(0)
        self.stream = stream
        self.generator, self.discriminator = book()
        self.g = torch.optim.Adam(self.generator.parameters())
        self.d = torch.optim.Adam(self.discriminator.parameters())
        self.bce = nn.BCEWithLogitsLoss()

    def steps(self, n: int) -> None:
        """Make ``n`` steps of both players."""
        for _ in range(n):
            x = next(self.stream).x
            with torch.no_grad():
                made = self.generator(torch.randn(len(x), 100))
            ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
            self.d.zero_grad()
            (self.bce(self.discriminator(x), ones) + self.bce(self.discriminator(made), zeros)).backward()
            self.d.step()
            self.g.zero_grad()
            self.bce(self.discriminator(self.generator(torch.randn(len(x), 100))), ones).backward()
            self.g.step()

    def sample(self, n: int) -> Tensor:
        """``n`` pictures, ``(n, 3, 32, 32)``, a multiple of 100."""
        self.generator.eval()
        with torch.no_grad():
            out = torch.cat([self.generator(torch.randn(100, 100)) for _ in range(n // 100)])
        self.generator.train()
        return out


class Keras:
    """The chapter's program: ``predict``, then ``train_on_batch`` for real pictures, made ones and the generator."""

    def __init__(self, stream: Iterator[Batch]) -> None:
        tf: Any = import_module("tensorflow")
        tf.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)
        keras, self.stream, self.noise = tf.keras, stream, np.random.default_rng(0)
        keras.utils.set_random_seed(0)
        conv, act = keras.layers.Conv2D, keras.layers.Activation
        self.generator = keras.Sequential([
            keras.layers.Input((100,)), keras.layers.Dense(256 * 8 * 8, activation="relu"),
            keras.layers.Reshape((8, 8, 256)), keras.layers.UpSampling2D(), conv(128, 5, padding="same"),
            keras.layers.BatchNormalization(), act("relu"), keras.layers.UpSampling2D(), conv(64, 5, padding="same"),
            keras.layers.BatchNormalization(), act("relu"), conv(3, 5, padding="same", activation="tanh"),
        ])  # fmt: skip
        self.discriminator = keras.Sequential([
            keras.layers.Input((32, 32, 3)), conv(64, 5, strides=2, padding="same"), keras.layers.LeakyReLU(0.2),
            keras.layers.Dropout(0.3), conv(128, 5, strides=2, padding="same"), keras.layers.LeakyReLU(0.2),
            keras.layers.Dropout(0.3), keras.layers.Flatten(), keras.layers.Dense(1, activation="sigmoid"),
        ])  # fmt: skip
        self.discriminator.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
        self._judge(1.0)  # Keras 3 fixes what is trained at the first step, and must not see it frozen
        self.discriminator.trainable = False
        seed = keras.layers.Input((100,))
        self.both = keras.Model(seed, self.discriminator(self.generator(seed)))
        self.both.compile(loss="binary_crossentropy", optimizer="adam")

    def _judge(self, label: float) -> int:
        x = next(self.stream).x.permute(0, 2, 3, 1).numpy()
        self.discriminator.train_on_batch(x, np.full((len(x), 1), label))
        return len(x)

    def steps(self, n: int) -> None:
        """Make ``n`` steps of both players."""
        for _ in range(n):
            count = self._judge(1.0)
            made = self.generator.predict(self.noise.normal(size=(count, 100)), verbose=0)
            self.discriminator.train_on_batch(made, np.zeros((count, 1)))
            self.both.train_on_batch(self.noise.normal(size=(count, 100)), np.ones((count, 1)))


class Ours:
    """The recipe, trained by the one loop."""

    def __init__(self, data: Path | None) -> None:
        self.plan, self.model, stream = prepare("ch22-dcgan", data)
        self.plain_stream, self.stream = stream(), stream()
        self.optims = make_optims(self.model, self.plan.train.steps, self.plan.optim)
        self.rng, self.done = Rng(0), 0

    def steps(self, n: int) -> None:
        """Make ``n`` steps of both players."""
        bf16 = use_bf16(self.plan.train.precision, torch.device("cpu"))
        fit(
            self.model, self.stream, self.optims, steps=self.done + n, start=self.done, rng=self.rng,
            clip=self.plan.train.clip, bf16=bf16,
        )  # fmt: skip
        self.done += n

    def sample(self, n: int) -> Tensor:
        """``n`` pictures, ``(n, 3, 32, 32)``, a multiple of 100."""
        self.model.eval()
        out = torch.cat([self.model.sample(100, Rng(1 + k)) for k in range(n // 100)])
        self.model.train()
        return out


def trained(steps: Callable[[int], None], seconds: float) -> int:
    """Steps made in so much time."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        steps(5)
        done += 5
    return done


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("dcgan", __doc__, "", "--minutes 40", "--rounds 3 --minutes 0")
    parser.add_argument("--rounds", type=int, default=7, help="measured pairs of one step each")
    parser.add_argument("--minutes", type=float, default=0.0, help="also train each for so long, and compare samples")
    parser.add_argument("--n", type=int, default=2000, help="samples and held-out pictures for the Fréchet distance")
    args = parser.parse_args(argv)
    data = shared() / "cifar10" / "cifar10_train_jpg.tar.gz"
    ours = Ours(data)
    plain = PlainLoop(ours.plain_stream)
    found = pairs(lambda: plain.steps(1), lambda: ours.steps(1), args.rounds, 1)
    batch = ours.plan.train.batch
    result: dict[str, Any] = {
        "images_per_second": {"plain": batch / found["a_seconds"], "ours": batch / found["b_seconds"]},
        **found,
    }
    try:
        listing = Keras(ours.plain_stream)
    except ModuleNotFoundError:
        result["keras"] = "not installed"
    else:
        beside = pairs(lambda: listing.steps(1), lambda: ours.steps(1), args.rounds, 1)
        result["keras"] = {"images_per_second": batch / beside["a_seconds"], **beside}
    if args.minutes:
        result["steps"] = {
            "ours": trained(ours.steps, 60 * args.minutes),
            "plain": trained(plain.steps, 60 * args.minutes),
        }
        plan = load_recipe("ch22-dcgan")
        codec = make_codec(plan.codec)
        parts = divide(plan, find_data(plan, data, codec))
        codec.fit(parts.train)
        for name, made in (("ours", ours.sample(args.n)), ("plain", plain.sample(args.n))):
            case = Case(
                medium="image", spec=codec.spec, train=rows_of(codec, parts.train, 10_000, 0),
                held=rows_of(codec, parts.held, args.n, 0), samples=made, decode=codec.decode,
                facts={"cache_dir": Path("runs/.bottega"), "fingerprint": "cifar10"},
            )  # fmt: skip
            measures, _ = run_all(case, ["frechet", "precision_recall"])
            result[name] = {m.name: m.value for m in measures}
    keep("dcgan", result, args)
