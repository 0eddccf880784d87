"""``bottega art``: repaint, tile, keep to a palette, and see whether art is a copy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, whole_run

if TYPE_CHECKING:
    from bottega.crafts.art import Painter
    from bottega.workshop.run import Tell

__all__ = ["art"]

PANEL, PLACE = "Crafts", 40
EXAMPLES = """\
  bottega art stylise photo.jpg --style painting.jpg             the photo, painted in the manner of the painting
  bottega art learn painting.jpg --out swirls.safetensors        a network for that manner, in minutes
  bottega art stylise film.gif --style swirls.safetensors        a film (GIF, or a folder of frames), without flicker
  bottega art tile bricks.jpg --size 256                         a square that repeats without a seam
  bottega art palette photo.jpg --colours '#20304f,#e8dcc0,#b33'
  bottega art likeness runs/mine --others my/photos              new pieces of a run, beside what it learned from
  bottega art likeness runs/mine/pieces --to my/paintings --others my/photos
"""


class What(StrEnum):
    """What is to be done."""

    stylise = "stylise"
    learn = "learn"
    tile = "tile"
    palette = "palette"
    likeness = "likeness"


def art(
    what: Annotated[What, typer.Argument(metavar="stylise|learn|tile|palette|likeness", help="What to do.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture; to stylise also a GIF or a folder of frames; for likeness a folder, or a run.")],
    style: Annotated[Path | None, typer.Option("--style", metavar="FILE", help="A picture, or a network that `learn` wrote.")] = None,
    size: Annotated[int, typer.Option("--size", metavar="PIXELS", help="Longer side of what is painted, or the side of a tile; 0 keeps the picture's.")] = 256,
    strength: Annotated[float, typer.Option("--strength", metavar="X", help="Style against content: 0.1 hints, 10 leaves little of the photo.")] = 1.0,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="More steps, nearer the style; 150, and 400 to learn.")] = None,
    colours: Annotated[str, typer.Option("--colours", metavar="N|LIST", help="How many colours, or which: '#20304f,white'.")] = "8",
    to: Annotated[Path | None, typer.Option("--to", metavar="DIR", help="The pictures whose style was to be met; of a run, what it was trained on.")] = None,
    others: Annotated[Path | None, typer.Option("--others", metavar="DIR", help="Pictures of other styles.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Photographs to practise on; the built-in ones by default.")] = None,
    features: Annotated[Path | None, typer.Option("--features", metavar="FILE", help="Your VGG-19 weights (safetensors) in place of our own network.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the result goes; beside FILE by default.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Repaint pictures and films, make seamless tiles, keep to a palette, and see whether art is a copy.

    Style is seen by a small network that is trained here once from the built-in photographs (minutes; kept in
    ~/.cache/bottega), or by your own VGG-19 weights. Nothing is downloaded.
    """
    say = Out(as_json, quiet)
    with say.progress() as watch:
        tell = watch or (lambda _: None)
        if what is What.palette:
            done = _palette(file, colours, out, seed)
        elif what is What.likeness:
            done = _likeness(file, to, others, features, seed, tell)
        elif what is What.learn:
            done = _learn(file, size, strength, steps, data, features, out, seed, tell)
        elif what is What.tile:
            done = _tile(file, size, steps, features, out, seed, tell)
        else:
            done = _stylise(file, style, size, strength, steps, data, features, out, seed, tell)
    if not as_json:
        from bottega.workshop.figures import figure

        say.pairs([(k.replace("_", " "), figure(v) if isinstance(v, float) else str(v)) for k, v in done.items()])
    say.result({"what": what.value, **done})


def _mark(seed: int, weights: str) -> dict[str, str]:
    from bottega.trust.mark import mark

    return mark(weights, seed, recipe="art")


def _write(value: Any, path: Path, seed: int, weights: str) -> Path:
    from bottega.codecs.image import ImageCodec
    from bottega.core import Item

    return ImageCodec(size=0).write(Item(value), path, _mark(seed, weights))


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.stem}-{ending}")


def _read(file: Path, size: int) -> Any:
    from bottega.crafts import art as craft

    picture = craft.read_one(file)
    return craft.sized(picture, size, str(file)) if size else picture


def _palette(file: Path, colours: str, out: Path | None, seed: int) -> dict[str, Any]:
    from bottega.crafts import art as craft

    wanted = int(colours) if colours.strip().isdecimal() else [c.strip() for c in colours.split(",") if c.strip()]
    picture, used = craft.palette(craft.read_one(file), wanted, seed)
    return {"file": _write(picture, out or _beside(file, "palette.png"), seed, ""), "colours": used}


def _tile(
    file: Path, size: int, steps: int | None, weights: Path | None, out: Path | None, seed: int, tell: Tell
) -> dict[str, Any]:
    from bottega.crafts import art as craft

    texture = craft.read_one(file)
    net = craft.features(weights, tell=tell)
    made = craft.tile(texture, net, size=size, steps=steps or 150, seed=seed, tell=tell)
    path = _write(made, out or _beside(file, "tile.png"), seed, net.weights)
    return {"file": path, "seam_percent": 100 * craft.seam(made), "seam_percent_before": 100 * craft.seam(texture)}


def _learn(
    file: Path,
    size: int,
    strength: float,
    steps: int | None,
    data: Path | None,
    weights: Path | None,
    out: Path | None,
    seed: int,
    tell: Tell,
) -> dict[str, Any]:
    painter = _painter(file, size, strength, steps, data, weights, seed, tell)
    return {"file": painter.save(out or _beside(file, "style.safetensors")), **painter.losses}


def _painter(
    file: Path,
    size: int,
    strength: float,
    steps: int | None,
    data: Path | None,
    weights: Path | None,
    seed: int,
    tell: Tell,
) -> Painter:
    from bottega.crafts import art as craft

    style = _read(file, size)
    photos = None if data is None else craft.read_pictures(data)
    net = craft.features(weights, tell=tell)
    return craft.learn_style(style, net, photos, steps=steps or 400, strength=strength, seed=seed, tell=tell)


def _stylise(
    file: Path,
    style: Path | None,
    size: int,
    strength: float,
    steps: int | None,
    data: Path | None,
    weights: Path | None,
    out: Path | None,
    seed: int,
    tell: Tell,
) -> dict[str, Any]:
    import time

    from bottega.crafts import art as craft

    if style is None:
        raise typer.BadParameter("name a picture, or a network that `bottega art learn` wrote", param_hint="--style")
    learned = style.suffix == ".safetensors"
    if craft.is_film(file):
        frames, rate = craft.read_frames(file)
        frames = [craft.sized(f, size) for f in frames] if size and max(frames[0].shape[:2]) > size else frames
        painter = (
            craft.load_painter(style) if learned else _painter(style, size, strength, steps, data, weights, seed, tell)
        )
        began = time.perf_counter()
        made = painter.film(frames, tell=tell)
        seconds = time.perf_counter() - began
        alone = painter.film(frames, hold=0.0, tell=tell)
        path = out or (_beside(file, "stylised.gif") if file.suffix.lower() == ".gif" else _beside(file, "stylised"))
        return {
            "file": craft.write_frames(made, path, rate, _mark(seed, painter.weights)), "frames": len(made),
            "frames_per_second": len(made) / seconds, "flicker": craft.flicker(made, frames),
            "flicker_frame_by_frame": craft.flicker(alone, frames), "flicker_of_the_original": craft.flicker(frames, frames),
        }  # fmt: skip
    photo = _read(file, size)
    path = out or _beside(file, "stylised.png")
    if learned:
        painter = craft.load_painter(style)
        return {"file": _write(painter(photo), path, seed, painter.weights)}
    picture = _read(style, size)
    net = craft.features(weights, tell=tell)
    found = craft.stylise(photo, picture, net, steps=steps or 150, strength=strength, tell=tell)
    return {
        "file": _write(found.picture, path, seed, net.weights), "style_fell_percent": 100 * found.fell,
        "content_distance": found.content_distance, "content_distance_of_the_style_picture": found.content_apart,
    }  # fmt: skip


def _likeness(
    file: Path, to: Path | None, others: Path | None, weights: Path | None, seed: int, tell: Tell
) -> dict[str, Any]:
    from dataclasses import asdict

    from bottega.crafts import art as craft

    run = whole_run(file)
    own = (run / "model.safetensors").is_file()
    if others is None or to is None and not own:
        raise typer.BadParameter("name the folder to be like, and one to be unlike", param_hint="--to, --others")
    rest, net = craft.read_pictures(others), craft.features(weights, tell=tell)
    if own:
        from bottega.workshop.run import load

        found = craft.run_likeness(load(run), rest, net, data=to, seed=seed)
    else:
        assert to is not None
        found = craft.likeness(craft.read_pictures(file), craft.read_pictures(to), rest, net, seed=seed)
    return {**asdict(found), "passes": found.passes}
