"""Augmentation: how much a network that names few real examples gains by each change, and by none.

Sound: spoken digits (fsdd), a few recordings of each by some people, heard on people who are in no training. Pictures: handwritten
digits (scikit-learn's), a few of each. Batches come through the stream of the training loop with the changes of ``train.augment``. Each
arm is trained on several draws of examples and weights, the same ones for all; a gain is that against no change on the same
test examples, its interval by drawing runs and examples anew. A mirrored digit is none, so pictures' ``flip`` should lose. What
a spectrum cannot bear is refused, and the result says with which words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks._common import keep, options, shared
from bottega.codecs.audio import AudioCodec
from bottega.codecs.image import ImageCodec
from bottega.core import Batch, Encoded, Item, RecipeError, Rng
from bottega.data import builtin
from bottega.data.augment import known, make
from bottega.data.stream import Stream
from bottega.judge._nets import ConvNet

DIGITS = Path("fsdd", "fsdd_train_wav.zip")
HEARD = ("jackson", "nicolas", "theo")


def learned(codec: Any, train: Batch, test: Batch, names: str, seed: int, steps: int) -> Tensor:
    """Which examples of ``test`` are named rightly, bool, after training with the changes ``names``."""
    spec = codec.spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ConvNet(spec.shape, spec.cond.vocab, dropout=0.3)
    stream = Stream(Encoded(train), min(32, len(train)), seed=seed, augment=make(names, spec, codec) if names else None)
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, steps)
    rng = Rng(seed)
    for _ in range(steps):
        batch = next(stream)
        assert batch.cond is not None
        opt.zero_grad()
        F.cross_entropy(net(spec.as_real(batch.x), rng), batch.cond).backward()
        opt.step()
        rate.step()
    with torch.no_grad():
        return torch.cat([net(spec.as_real(part.x)).argmax(1) == part.cond for part in test.split(8)])


def few(items: Sequence[Item], label: Any, each: int, seed: int) -> list[Item]:
    """So many of each label, drawn."""
    order = Rng(seed).permutation(len(items)).tolist()
    seen: dict[Any, int] = {}
    out = []
    for i in order:
        name = label(items[i])
        if seen.get(name, 0) < each:
            seen[name] = seen.get(name, 0) + 1
            out.append(items[i])
    return out


def sounds(data: Path, each: int, seeds: int) -> tuple[Any, list[Batch], Batch]:
    """Spoken digits as mel spectra: small trainings of three people, and recordings of the others."""
    codec = AudioCodec(form="mel", rate=8000, seconds=0.64, window=256, hop=80, mels=32, range_db=60, level="peak", labels="name")  # fmt: skip
    items = codec.read(data)
    ours = [i for i in items if str(i.cond).split()[1] in HEARD]
    others = few([i for i in items if str(i.cond).split()[1] not in HEARD], lambda i: i.cond, 20, 0)

    def digit(some: Sequence[Item]) -> list[Item]:
        return [Item(i.value, str(i.cond).split()[0], i.name) for i in some]

    codec.fit(digit(ours))
    trains = [codec.encode(digit(few(ours, lambda i: i.cond, each, seed))) for seed in range(seeds)]
    return codec, trains, codec.encode(digit(others))


def pictures(each: int, seeds: int) -> tuple[Any, list[Batch], Batch]:
    """Handwritten digits: small trainings, and the rest of them."""
    codec = ImageCodec(channels=1)
    items = list(builtin.load("digits").items)
    test, pool = items[:800], items[800:]
    codec.fit(items)
    return codec, [codec.encode(few(pool, lambda i: i.cond, each, s)) for s in range(seeds)], codec.encode(test)


def gain(rights: np.ndarray, plain: np.ndarray, draws: int = 2000) -> list[float]:
    """95 % interval of the mean difference of ``(runs, examples)``, both drawn anew."""
    rng = np.random.default_rng(0)
    away = rights.astype(float) - plain
    runs, n = away.shape
    found = [away[rng.integers(runs, size=runs)][:, rng.integers(n, size=n)].mean() for _ in range(draws)]
    return [round(float(v), 4) for v in np.quantile(found, [0.025, 0.975])]


def ablation(codec: Any, trains: Sequence[Batch], test: Batch, arms: Sequence[str], steps: int) -> dict[str, Any]:
    """Accuracy of each arm and its gain; prints a line for each."""
    out: dict[str, Any] = {}
    plain = np.zeros(0)
    for names in ("", *arms):
        began = time.perf_counter()
        rights = np.stack([learned(codec, t, test, names, s, steps).numpy() for s, t in enumerate(trains)])
        plain = rights if not names else plain
        row = {"accuracy": round(float(rights.mean()), 4), "of_runs": [round(float(r.mean()), 4) for r in rights]}
        if names:
            row |= {"gain": round(float(rights.mean() - plain.mean()), 4), "interval": gain(rights, plain)}  # type: ignore[dict-item]
        out[names or "none"] = row | {"seconds": round(time.perf_counter() - began, 1)}
        told = f"{row['gain']:+.3f}  {row['interval']}" if names else ""
        print(f"{names or 'none':44} {row['accuracy']:.3f}  {told}", flush=True)
    return {"arms": out, "trained_on": len(trains[0]), "tested_on": len(test), "runs": len(trains), "steps": steps}


def refusals(codec: Any, names: Sequence[str]) -> dict[str, str]:
    """What is said to changes that do not suit; fails where one is taken."""
    out = {}
    for name in names:
        try:
            make(name, codec.spec, codec)
        except RecipeError as error:
            out[name] = str(error)
        else:
            raise AssertionError(f"{name} was taken for {codec.medium}")
    return out


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("augment", __doc__, "", "--only sound --steps 100")
    parser.add_argument("--only", choices=("sound", "pictures"))
    parser.add_argument("--data", type=Path, help="recordings called DIGIT_VOICE_NUMBER.wav; fsdd beside the project by default")  # fmt: skip
    parser.add_argument("--each", type=int, default=2, help="recordings of each digit by each of three people, and pictures of each digit")  # fmt: skip
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    if args.only != "pictures":
        codec, trains, test = sounds(args.data or shared() / DIGITS, args.each, args.seeds)
        single = list(known(codec.spec, codec))
        arms = [*single, "shift,time_mask,frequency_mask", "gain,noise,shift,time_mask,frequency_mask,pitch"]
        found["sound"] = ablation(codec, trains, test, arms, args.steps) | {"refused": refusals(codec, ("flip", "rotate", "crop", "brightness"))}  # fmt: skip
    if args.only != "sound":
        codec, trains, test = pictures(args.each, args.seeds)
        arms = [*known(codec.spec, codec), "shift,rotate"]
        found["pictures"] = ablation(codec, trains, test, arms, args.steps) | {"refused": refusals(codec, ("gain", "noise", "pitch", "time_mask"))}  # fmt: skip
    keep("augment", found, args, beside=True)


if __name__ == "__main__":
    main()
