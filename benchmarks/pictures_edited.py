"""Pictures restored, reworked and guided by diffusion models that were taught nothing of the task.

Drawn faces, none of whose people training saw: spoilt in the five ways of ``codec.degrade`` and restored, beside what one would do without a model (bicubic enlargement, a sharpened picture, a median filter, the
grey picture itself). Drafts of them in flat blocks, reworked the more the higher ``strength``. Digits guided by a classifier.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

import bottega
from benchmarks._common import keep, kept, options, told
from benchmarks.pictures import Reader
from bottega import Run
from bottega.codecs._degrade import degraded
from bottega.core import Batch, Item, Rng
from bottega.crafts import art
from bottega.data import worlds
from bottega.judge.restoration import psnr

# Gains in dB over doing without a model that were asked for; colour has no naive answer but grey.
WANTED = {"half": 1.0, "quarter": 1.0, "blur": 1.0, "noise": 1.0, "grey": 3.0}
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def faces(args: Any, folder: Path) -> Run:
    """A diffusion model of drawn faces."""
    changes = {
        "data.name": "faces", "data.n": 4000, "data.people": 0, "data.held": 0.05, "codec.labels": "none",
        "family.size": 24, "train.batch": 32, "train.ema": 0.998, "optim.lr": 3e-3,
    }  # fmt: skip
    return bottega.train("pictures", out=folder / "faces-diffusion", steps=args.steps or 4000, set=changes, judge=False)


def strangers(run: Run, n: int) -> list[Item]:
    """Faces of people of other draws than those that the run saw."""
    return [Item(i.value, None, i.name) for i in worlds.load("faces", n=n, people=n, seed=77_000).items]


def naive(way: str, item: Item) -> tuple[Item, Item]:
    """A spoilt picture as somebody has it, and the best of simple answers to it, at full size."""
    value = degraded(item.value, way)
    if way in {"half", "quarter"}:
        side = item.value.shape[:2][::-1]
        return Item(value), Item(np.asarray(Image.fromarray(value).resize(side, Image.Resampling.BICUBIC)))
    if way == "grey":
        return Item(value), Item(value.repeat(3, -1))
    how = ImageFilter.UnsharpMask(1.6, 100, 0) if way == "blur" else ImageFilter.MedianFilter(3)
    return Item(value), Item(np.asarray(Image.fromarray(value).filter(how)))


def restored(args: Any, folder: Path) -> dict[str, Any]:
    """PSNR of restored pictures over simple answers, on people whom nobody saw."""
    run = faces(args, folder)
    people = strangers(run, args.n or 100)
    true = run.codec.encode(people).x
    out: dict[str, Any] = {"pictures": len(people), **told(run)}
    strips: list[Sequence[Item]] = [people[:8]]
    for way in WANTED:
        both = [naive(way, item) for item in people]
        given, simple = (run.codec.encode(list(items)).x for items in zip(*both, strict=True))
        knobs = {"steps": 1} if way == "noise" else {"steps": 20, "tries": 2}
        keep_none = torch.zeros_like(given[:1], dtype=torch.bool)
        with torch.no_grad():
            parts = [
                run.model.eval().edit(Batch(x), keep_none.expand_as(x), Rng(k), restore=way, **knobs)  # type: ignore[operator]
                for k, x in enumerate(given.split(50))
            ]
        made = torch.cat(parts).clamp(-1, 1)
        best = torch.maximum(psnr(simple, true), psnr(given, true))  # sharpening can be worse than nothing
        gain = psnr(made, true) - best
        mean, error = gain.mean().item(), 1.96 * gain.std().item() / len(gain) ** 0.5
        out[way] = {
            "given_db": round(psnr(given, true).mean().item(), 2), "simple_db": round(best.mean().item(), 2),
            "restored_db": round(psnr(made, true).mean().item(), 2), "gain_db": round(mean, 2),
            "interval": [round(mean - error, 2), round(mean + error, 2)], "wanted": WANTED[way],
            "reached": mean >= WANTED[way],
        }  # fmt: skip
        strips += [run.codec.decode(given[:8]), run.codec.decode(made[:8])]
    show(args, "restored.png", strips)
    return out


def block(item: Item, side: int = 4) -> Item:
    """A draft of a picture: flat blocks in few colours."""
    height, width = item.value.shape[:2]
    small = Image.fromarray(item.value).resize((width // side, height // side), Image.Resampling.BOX)
    flat = np.asarray(small).astype(np.float32) // 48 * 48 + 24
    large = flat.clip(0, 255).astype(np.uint8).repeat(side, 0).repeat(side, 1)
    return replace(item, value=large)


def figure(x: Tensor) -> Tensor:
    """What is not background, ``(N, 3, H, W) -> (N, H, W)`` bool: unlike the upper corners, which are always of it."""
    ground = torch.cat([x[..., :3, :3], x[..., :3, -3:]], 3).flatten(2).median(2).values[..., None, None]
    return (F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - ground).abs().amax(1) > 0.25


def reworked(args: Any, folder: Path) -> dict[str, Any]:
    """Row E6: the higher ``strength``, the less of the draft's figure is left and the more the result looks like the data."""
    run = faces(args, folder)
    drafts = [block(item) for item in strangers(run, args.n or 400)]
    x = run.codec.encode(drafts).x
    style = Style([Item(i.value) for i in worlds.load("faces", n=300, people=300, seed=78_000).items])
    fresh = strangers(run, 2 * len(x))[len(x) :]
    rows, strips, overlaps, likes = [], [run.codec.decode(x[:8])], [], []
    for strength in STRENGTHS:
        with torch.no_grad():
            made = run.model.eval().edit(  # type: ignore[operator]
                Batch(x), torch.zeros_like(x, dtype=torch.bool), Rng(3), strength=strength, steps=24, tries=1
            )
        made = made.clamp(-1, 1)
        a, b = figure(made), figure(x)
        overlap = ((a & b).flatten(1).sum(1) / (a | b).flatten(1).sum(1).clamp_min(1)).double()
        like = style(run.codec.decode(made))
        overlaps.append(overlap)
        likes.append(like)
        rows.append({
            "strength": strength, "figure_iou": round(overlap.mean().item(), 4),
            "iou_interval": spread(overlap), "style_score": round(like.mean().item(), 4),
            "style_interval": spread(like),
            "from_draft": round(((made - x).square().flatten(1).mean(1).sqrt()).mean().item(), 4),
        })  # fmt: skip
        strips.append(run.codec.decode(made[:8]))
    show(args, "reworked.png", strips)
    falls, rises = moves(overlaps, -1), moves(likes, 1)
    return {
        "drafts": len(x), "rows": rows, "style_of_drafts": round(style(drafts).mean().item(), 4),
        "style_of_real": round(style(fresh).mean().item(), 4),
        "wanted": "figure IoU falls and style score rises with strength, no step surely the other way (95 %)",
        "iou_steps": falls, "style_steps": rises,
        "reached": all("back" not in steps and steps[0] == "on" for steps in (falls, rises)),
    }  # fmt: skip


class Style:
    """How surely a picture is taken for a real one rather than a draft: 0 to 1, by a linear reader of style.

    It reads the Gram matrices by which `bottega art` compares styles, of a network that was trained on the built-in
    photographs; it learns from real pictures of other people and drafts of them. How much its weights are held down is
    chosen by cross-validation, not by us.
    """

    def __init__(self, real: Sequence[Item]) -> None:
        self.net = art.features()
        x = np.concatenate([self.vectors(real), self.vectors([block(i) for i in real])])
        self.reader = GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)),
            {"logisticregression__C": [1e-4, 1e-3, 1e-2, 0.1]},
            scoring="neg_log_loss",
        ).fit(x, [1] * len(real) + [0] * len(real))

    def vectors(self, items: Sequence[Item]) -> NDArray[np.float32]:
        """``(N, D)``."""
        return art.style_vectors([np.asarray(i.value) for i in items], self.net).numpy()

    def __call__(self, items: Sequence[Item]) -> Tensor:
        """``(N,)`` float64."""
        return torch.from_numpy(self.reader.predict_proba(self.vectors(items))[:, 1]).double()


def moves(scores: Sequence[Tensor], way: int) -> list[str]:
    """Whether the mean goes ``way`` from each setting to the next, on the same pictures: surely on, surely back, or level."""
    steps = [spread(way * (b - a)) for a, b in itertools.pairwise(scores)]
    return ["on" if low > 0 else "back" if high < 0 else "level" for low, high in steps]


def spread(values: Tensor) -> list[float]:
    """The 95 % interval of a mean."""
    mean, error = values.mean().item(), 1.96 * values.std().item() / len(values) ** 0.5
    return [round(mean - error, 4), round(mean + error, 4)]


def guided(args: Any, folder: Path) -> dict[str, Any]:
    """Row E11: digits by a denoiser that is not told the class; a classifier of noisy digits alone leads it."""
    run = bottega.train(
        "digits-diffusion", out=folder / "digits-guided", steps=args.steps or 700,
        set={"family.classifier": True}, judge=False,
    )  # fmt: skip
    reader, rows = Reader(run), []
    asked = torch.arange(args.n or 500) % 10
    for scale in (0.0, 1.0, 2.0, 4.0, 8.0):
        made = run.model.eval().sample(len(asked), Rng(0), asked, guidance=0.0, classifier_scale=scale, steps=12)
        real = run.spec.as_real(made).flatten(1)
        within = torch.stack([torch.pdist(real[asked == k]).mean() for k in range(10)]).mean().item()
        rows.append({"scale": scale, **reader.share(made, asked), "apart_within_a_class": round(within, 3)})
    up = rows[0]["share"] < rows[1]["share"] <= rows[-1]["share"]
    down = all(a["apart_within_a_class"] >= b["apart_within_a_class"] for a, b in zip(rows, rows[1:], strict=False))
    return {"rows": rows, "wanted": "more as asked, less apart", "reached": up and down, **told(run)}


def show(args: Any, name: str, rows: Sequence[Sequence[Item]]) -> None:
    """Rows of pictures, where ``--show`` asks for them."""
    if args.show:
        args.show.mkdir(parents=True, exist_ok=True)
        lines = [np.concatenate([np.broadcast_to(i.value, (*i.value.shape[:2], 3)) for i in row], 1) for row in rows]
        picture = Image.fromarray(np.concatenate(lines))
        picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(args.show / name)


CLAIMS = {"restored": restored, "reworked": reworked, "guided": guided}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("pictures_edited", __doc__, "", "--only guided", "--steps 20 --n 8 --show /tmp/look")
    parser.add_argument("--only", nargs="+", choices=tuple(CLAIMS), default=list(CLAIMS))
    parser.add_argument("--steps", type=int, help="instead of the benchmark's own, to try it")
    parser.add_argument("--n", type=int, help="pictures that are judged, instead of each part's own number")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    parser.add_argument("--show", type=Path, help="write pictures to look at here")
    args = parser.parse_args(argv)
    result = kept("pictures_edited")  # what was measured at another time
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            result[name] = CLAIMS[name](args, args.runs or Path(folder))
            keep("pictures_edited", result, args)  # after each, so that a mistake in the next costs only that
