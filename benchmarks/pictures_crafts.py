"""What crafts do with pictures and rows that a model made: rare classes filled up, a poisoned training, the manner of a folder.

Of digits one class is cut to ten pieces, and of a table the rarer answer is the rare class as it stands: F1 on pieces nobody
saw of the same classifier after real, weighted and balanced pieces. Of the digits' training 1 % get a chequered corner.
Of game tiles one folder is learned, and what is made compared with that folder and with the others.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bottega
from benchmarks._common import keep, kept, options, shared
from bottega import Run
from bottega.core import Item
from bottega.crafts import art
from bottega.crafts.balance import Balanced
from bottega.crafts.balance import balance as balanced
from bottega.crafts.stress import stress as stressed
from bottega.data.builtin import load
from bottega.data.splits import split

FEW = 10  # pieces of the rare class
MANNER = "dngn"  # the folder of tiles whose manner is learned


def as_folder(items: Sequence[Item], folder: Path) -> Path:
    """Pictures in a folder for each class."""
    for i, item in enumerate(items):
        path = folder / str(item.cond) / f"{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.value[..., 0]).save(path)
    return folder


def digits(args: Any, folder: Path) -> dict[str, Any]:
    """Row C15 on pictures: the eights cut to ten, more made by a VAE and by a GAN."""
    parts = split(load("digits").items, held=0.3, seed=0)
    test = as_folder(parts.held, folder / "digits-test")
    out: dict[str, Any] = {}
    for recipe, rare in (("digits-vae", 8), ("digits-gan", 8)):
        few = [i for i in parts.train if str(i.cond) == str(rare)][:FEW]
        data = as_folder([*(i for i in parts.train if str(i.cond) != str(rare)), *few], folder / f"few-{rare}")
        run = bottega.train(
            recipe, data, folder / f"{recipe}-few-{rare}", steps=args.steps or (700 if "gan" in recipe else 1000),
            set={"data.held": 0.0}, judge=False,
        )  # fmt: skip
        out[f"{recipe}, few {rare}s"] = said(run, balanced(run, test=test, out=folder / f"{recipe}-made-{rare}"))
    return summed(out)


def table(args: Any, folder: Path) -> dict[str, Any]:
    """Row C15 on a table: customers who left, as rare as they are."""
    source = args.table or shared() / "tables" / "churn.csv.gz"
    run = bottega.train(
        "table", source, folder / "churn", steps=args.steps or 400, set={"codec.cond": "churn"}, judge=False
    )
    return summed({"churn": said(run, balanced(run, out=folder / "churn-made"))})


def said(run: Run, done: Balanced) -> dict[str, Any]:
    """The figures of a balanced run."""
    rare = next(c for c in done.classes if c.name == done.rare[0])
    ways: dict[str, dict[str, Any]] = {w.name: {"f1": round(w.f1, 4), "interval": [round(w.low, 4), round(w.high, 4)],
                     "accuracy": round(w.accuracy, 4)} for w in done.ways}  # fmt: skip
    return {
        "rare": done.rare, "real_pieces": rare.real, "made": rare.made, "tested": rare.held,
        "copies_refused": [rare.copies_of_train, rare.copies_of_held], **ways, "gain": round(done.gain, 4),
        "gain_interval": [round(done.gain_low, 4), round(done.gain_high, 4)],
        "over_weighted": round(ways["balanced"]["f1"] - ways["weighted"]["f1"], 4),
        "minutes": round(run.header["seconds"] / 60, 2), "steps": run.step,
    }  # fmt: skip


def summed(rows: dict[str, Any]) -> dict[str, Any]:
    """Whether the rare class gained, for certain and at all, and whether it beat weighting, which is free."""
    for row in rows.values():
        row["reached"] = row["gain_interval"][0] > 0
        row["beats_weighting"] = row["over_weighted"] > 0
    return {**rows, "wanted": "F1 of the rare class above that of real pieces alone, interval above 0"}


def stress(args: Any, folder: Path) -> dict[str, Any]:
    """Row C19: a trigger in 1 % of the digits."""
    run = bottega.train("digits-vae", out=folder / "clean", steps=args.steps, judge=False)
    done = stressed(run, 0.01, out=folder / "poisoned", n=2000)
    return {
        "planted": round(done.planted, 4), "shown": round(done.shown, 4),
        "interval": [round(done.low, 4), round(done.high, 4)], "shown_clean": done.shown_clean,
        "shown_real": round(done.shown_real, 4), "samples": done.n,
        "wanted": "measured, beside the clean model and chance", "reached": True,
    }  # fmt: skip


def manner(args: Any, folder: Path) -> dict[str, Any]:
    """Row C14: tiles of one folder by a StyleGAN, nearer to them than to the others, and no copies."""
    source = args.tiles or shared() / "crawl_tiles" / "tiles32.zip"
    tiles: dict[str, list[Any]] = {}
    with zipfile.ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".png"):
                with archive.open(name) as file:
                    tile = Image.open(file).convert("RGBA")
                paper = Image.new("RGBA", tile.size, (0, 0, 0, 255))
                paper.alpha_composite(tile)
                tiles.setdefault(name.split("/")[0], []).append(np.asarray(paper.convert("RGB")))
    own = folder / f"tiles-{MANNER}"
    own.mkdir(parents=True, exist_ok=True)
    for i, tile in enumerate(tiles[MANNER]):
        Image.fromarray(tile).save(own / f"{i:04d}.png")
    recipe, changes = args.manner, {"codec.labels": "none", "codec.channels": 3, "family.size": 16, "data.held": 0.2}
    run = bottega.train(recipe, own, folder / f"{recipe}-{MANNER}", steps=args.steps or 900, set=changes, judge=False)
    net = art.features()
    out: dict[str, Any] = {}
    for name in sorted(tiles):
        if name != MANNER and len(tiles[name]) >= 50:
            found = art.run_likeness(run, tiles[name][:: max(1, len(tiles[name]) // 300)], net, n=args.n or 200)
            out[name] = {"own": round(found.own, 4), "other": round(found.other, 4), "nearer": found.own < found.other}
    everything = [tile for name in sorted(tiles) if name != MANNER for tile in tiles[name]]
    found = art.run_likeness(run, everything[:: max(1, len(everything) // 300)], net, n=args.n or 200)
    if args.show:
        args.show.mkdir(parents=True, exist_ok=True)
        made = [np.asarray(i.value)[..., :3] for i in run.sample(24, seed=0).items]
        Image.fromarray(np.concatenate([np.concatenate(made[r : r + 12], 1) for r in (0, 12)])).save(
            args.show / "manner.png"
        )
    return {
        "recipe": recipe, "folder": MANNER, "tiles": len(tiles[MANNER]), "made": found.n, "by_folder": out,
        "own": round(found.own, 4), "all_others": round(found.other, 4), "folder_to_all_others": round(found.apart, 4),
        "near_copies": found.copies, "near_copies_at_most": round(found.copies_high, 4),
        "near_copies_of_held_tiles": round(found.held_copies, 4), "steps": run.step,
        "minutes": round(run.header["seconds"] / 60, 2),
        "wanted": "nearer to its folder than to all others together, no more copies than tiles kept back",
        "reached": found.passes,
    }  # fmt: skip


CLAIMS = {"digits": digits, "table": table, "stress": stress, "manner": manner}


def main(argv: Sequence[str] = ()) -> None:
    """Measure and keep."""
    parser = options("pictures_crafts", __doc__, "", "--only stress", "--only digits --steps 50")
    parser.add_argument("--only", nargs="+", choices=tuple(CLAIMS), default=list(CLAIMS))
    parser.add_argument("--steps", type=int, help="instead of the benchmark's own, to try it")
    parser.add_argument("--n", type=int, help="pictures that are judged, instead of each part's own number")
    parser.add_argument("--manner", default="tiles-stylegan", help="the recipe that learns a folder of tiles")
    parser.add_argument("--tiles", type=Path, help="tiles as <folder>/<name>.png; by default those beside the project")
    parser.add_argument("--table", type=Path, help="a table with a column churn; by default the one beside the project")
    parser.add_argument("--runs", type=Path, help="keep the runs here; a stopped one goes on")
    parser.add_argument("--show", type=Path, help="write pictures to look at here")
    args = parser.parse_args(argv)
    result = kept("pictures_crafts")  # what was measured at another time
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            result[name] = CLAIMS[name](args, args.runs or Path(folder))
            keep("pictures_crafts", result, args)  # after each, so that a mistake in the next costs only that
