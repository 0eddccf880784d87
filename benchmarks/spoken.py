"""Spoken digits in the voice that is asked for, by diffusion and by WaveNet: whether the digit and the voice are heard.

Trains recipes ``spoken`` and ``spoken-wavenet`` on recordings of ten digits by six people (the data set fsdd beside the project, its
licence CC BY-SA). Two networks, trained on the same training part and on nothing that was made, say which digit and which voice they hear, or
that it is none; how often they are right on real recordings that were held back is the ceiling. They hear log-mel spectra of other
windows and bands than the diffusion's own, of the sound as it comes out, Griffin-Lim included.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import bottega
from benchmarks._common import keep, options, shared, told
from bottega import Run
from bottega.core import Batch, Item, Rng
from bottega.core.measure import wilson
from bottega.judge._nets import ConvNet
from bottega.judge._recogniser import train_convnet
from bottega.nets.pitch import yin
from bottega.nets.spectrogram import LogMel, fitted
from bottega.workshop.build import find_data
from bottega.workshop.training import divide

DIGITS = Path("fsdd", "fsdd_train_wav.zip")
RATE, SAMPLES = 8000, 5120
WANTED = 0.85
RECIPES = ("spoken", "spoken-wavenet")


def share(hits: Sequence[bool]) -> dict[str, Any]:
    """A share with its 95 % interval."""
    low, high = wilson(float(np.mean(hits)), len(hits))
    return {"share": float(np.mean(hits)), "low": low, "high": high, "n": len(hits)}


def spectra(waves: Tensor) -> Tensor:
    """What the ears get of samples ``(n, SAMPLES)``: 64 frames of 32 bands, ``(n, 1, 32, 64)``, 60 dB below each one's loudest as -1 to 1."""
    db = LogMel(RATE, 256, 80, 32)(waves)[..., :64]
    return (2 * (db - db.amax((1, 2), keepdim=True)) / 60 + 1).clamp(-1, 1)[:, None]


class Ear:
    """A network that names one part of the label, trained on real recordings."""

    def __init__(self, waves: Tensor, names: Sequence[str], steps: int, seed: int) -> None:
        self.names = sorted(set(names))
        x, y = spectra(waves), torch.tensor([self.names.index(name) for name in names])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = ConvNet((1, 32, 64), len(self.names) + 1, dropout=0.3)
        train_convnet(self.net, x, y, len(self.names), Rng(seed), steps, sideways=True)
        self.net.eval()

    @torch.no_grad()
    def __call__(self, waves: Tensor) -> list[str]:
        """What is heard in samples ``(n, SAMPLES)``, "" where it is none."""
        said = torch.cat([self.net(spectra(part)).argmax(1) for part in waves.split(256)])
        return [[*self.names, ""][k] for k in said.tolist()]


def waves_of(items: Sequence[Item]) -> Tensor:
    """Recordings at a peak of 0.95, ``(n, SAMPLES)``."""
    rows = [torch.from_numpy(np.ascontiguousarray(i.value.mono())) for i in items]
    x = torch.stack([fitted(row, SAMPLES) for row in rows])
    return 0.95 * x / x.abs().amax(1, keepdim=True).clamp_min(1e-6)


def numbers(waves: Tensor) -> dict[str, float]:
    """What the sounds are like: medians over sounds."""
    peak = waves.abs().amax(1)
    loud = waves.abs().unfold(1, 160, 160).amax(2)
    power = torch.fft.rfft(waves * torch.hann_window(waves.shape[1])).abs().square()
    hz = torch.linspace(0, RATE / 2, power.shape[1])
    f0 = [yin(row, RATE, 128) for row in waves[:100]]
    voiced = [float(row[row > 0].median()) for row in f0 if (row > 0).any()]
    return {
        "rms_db": float((10 * waves.square().mean(1).clamp_min(1e-12).log10()).median()),
        "peak": float(peak.median()), "centroid_hz": float(((power * hz).sum(1) / power.sum(1).clamp_min(1e-12)).median()),
        "silent_share": float((loud < 0.01 * peak[:, None]).float().mean()), "fundamental_hz": statistics.median(voiced or [0.0]),
        "voiced_share": statistics.fmean(float((row > 0).float().mean()) for row in f0),
    }  # fmt: skip


def heard(ears: dict[str, Ear], items: Sequence[Item], wanted: Sequence[str]) -> dict[str, Any]:
    """How often digit, voice and both are what they should be."""
    waves = waves_of(items)
    hits = {
        part: [said == label.split()[k] for said, label in zip(ears[part](waves), wanted, strict=True)]
        for k, part in enumerate(("digit", "voice"))
    }
    both = [a and b for a, b in zip(hits["digit"], hits["voice"], strict=True)]
    each = {
        part: {
            name: float(np.mean([h for h, w in zip(hits[part], wanted, strict=True) if w.split()[k] == name]))
            for name in ears[part].names
        }
        for k, part in enumerate(("digit", "voice"))
    }
    return {
        **{part: share(rows) for part, rows in hits.items()}, "both": share(both), "of_each": each, "sounds": numbers(waves),
    }  # fmt: skip


def distances(items: Sequence[Item], train: Tensor, held: Tensor) -> dict[str, float]:
    """How far made sounds and held-out ones lie from the nearest of the training, in the ears' spectra: copies would lie near."""
    made, known, real = (spectra(x).flatten(1) for x in (waves_of(items), train, held))
    return {
        name: float(torch.cdist(x, known).amin(1).median()) for name, x in (("made", made), ("held_out", real))
    }  # fmt: skip


def asked(run: Run, args: argparse.Namespace, ears: dict[str, Ear], train: Tensor, held: Tensor) -> dict[str, Any]:
    """Samples of each digit in each voice, as many of all."""
    codec: Any = run.codec
    digits, voices = ears["digit"].names, ears["voice"].names
    labels = [f"{d} {v}" for d in digits for v in voices]
    wanted = [labels[k % len(labels)] for k in range(args.n)]
    out: dict[str, Any] = {}
    cooler = args.temperature if "temperature" in signature(run.model.sample).parameters else [1.0]
    knobs = [{"guidance": g} | ({} if t == 1 else {"temperature": t}) for g in args.guidance for t in cooler]
    for knob in knobs:
        rng, items = Rng(0), []
        began = time.process_time()
        for k in range(0, len(wanted), 60):
            some = wanted[k : k + 60]
            x = run.model.sample(len(some), rng, codec.encode_cond(some), **knob)  # type: ignore[operator]
            items += codec.decode(x)
        spent = time.process_time() - began
        name = ", ".join(f"{key} {value:g}" for key, value in knob.items())
        out[name] = {
            **heard(ears, items, wanted), "nearest_training_recording": distances(items, train, held),
            "processor_seconds_a_second": spent / (len(items) * SAMPLES / RATE),
        }  # fmt: skip
        if args.keep is not None:
            for item, label in list(zip(items, wanted, strict=True))[:60]:
                folder = args.keep / f"{run.path.name}-{name.replace(' ', '-')}"
                folder.mkdir(parents=True, exist_ok=True)
                codec.write(item, folder / f"{label.replace(' ', '_')}.wav")
            codec.show(
                [Item(i.value, w) for i, w in list(zip(items, wanted, strict=True))[::7][:16]], folder / "page.png"
            )
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("spoken", __doc__, "", "--n 120 --guidance 1 2 --keep /tmp/heard")
    parser.add_argument("--only", choices=RECIPES)
    parser.add_argument(
        "--data", type=Path, help="recordings called DIGIT_VOICE_NUMBER.wav; fsdd beside the project by default"
    )
    parser.add_argument("--n", type=int, default=300, help="samples of each model and knob")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0], help="how hard the label is followed")
    parser.add_argument(
        "--temperature",
        type=float,
        nargs="+",
        default=[1.0, 0.9],
        help="of models that have one: below 1 is more typical",
    )
    parser.add_argument("--ear-steps", type=int, default=1200)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept; a stopped one goes on")
    parser.add_argument("--keep", type=Path, help="a folder for some of the sounds")
    args = parser.parse_args(argv)
    data = args.data or shared() / DIGITS
    ears: dict[str, Ear] = {}
    for name in RECIPES:
        if args.only not in {None, name}:
            continue
        run = bottega.train(name, data, args.runs / name, judge=False)
        run.model.eval()
        codec: Any = run.codec
        parts = divide(run.recipe, find_data(run.recipe, data, codec))
        train, held = waves_of(parts.train), waves_of(parts.held)
        if not ears:
            known = [str(i.cond).split() for i in parts.train]
            for k, part in enumerate(("digit", "voice")):
                ears[part] = Ear(train, [label[k] for label in known], args.ear_steps, k)
        labels = [str(i.cond) for i in parts.held]
        batch: Batch = codec.encode(parts.held)
        found = {
            "real, held out": heard(ears, parts.held, labels),
            "the same through the codec and back": heard(ears, codec.decode(batch.x), labels),
            **asked(run, args, ears, train, held),
        }
        keep(
            "spoken", {name: told(run) | {"wanted": WANTED, "trained_on": len(parts.train)} | found}, args, beside=True
        )


if __name__ == "__main__":
    main()
