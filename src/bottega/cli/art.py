"""``bottega art``: repaint, tile, keep to a palette, and see whether art is a copy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bottega.cli._shared import Json, Out, Quiet, Seed, whole_run

if TYPE_CHECKING:
    from bottega.crafts.art import Painter
    from bottega.nets.vgg import Vgg
    from bottega.workshop.run import Tell

__all__ = ["art"]

PANEL, PLACE = "Crafts", 40
PROBED = 24  # frames of a film over which flicker is measured
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


_USES = {
    What.stylise: {"style", "size", "strength", "steps", "features", "out"},
    What.learn: {"size", "strength", "steps", "data", "features", "out"},
    What.tile: {"size", "steps", "features", "out"},
    What.palette: {"colours", "out"},
    What.likeness: {"to", "others", "features"},
}


def art(
    ctx: typer.Context,
    what: Annotated[What, typer.Argument(metavar="stylise|learn|tile|palette|likeness", help="What to do.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture; to stylise also a GIF or a folder of frames; for likeness a folder, or a run.")],
    style: Annotated[Path | None, typer.Option("--style", metavar="FILE", help="A picture, or a network that `learn` wrote.")] = None,
    size: Annotated[int, typer.Option("--size", metavar="PIXELS", help="Longer side of what is painted, 0 keeps the picture's; or the side of a tile, a multiple of 16. At most 2048.")] = 256,
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
    _refuse_unused(ctx, what, file, style)
    say = Out(as_json, quiet)
    with say.progress() as watch:
        wish = _Wish(file, style, size, strength, steps, data, features, out, seed, watch or (lambda _: None))
        if what is What.palette:
            done = _palette(wish, colours)
        elif what is What.likeness:
            done = _likeness(wish, to, others)
        else:
            done = {What.learn: _learn, What.tile: _tile, What.stylise: _stylise}[what](wish)
    if not as_json:
        from bottega.workshop.figures import figure

        say.pairs([(k.replace("_", " "), figure(v) if isinstance(v, float) else str(v)) for k, v in done.items()])
    say.result({"what": what.value, **done})


def _refuse_unused(ctx: typer.Context, what: What, file: Path, style: Path | None) -> None:
    """A usage error for an option that was given and would do nothing."""
    from bottega.crafts import art as craft

    uses, doing = _USES[what], f"bottega art {what.value}"
    if what is What.stylise and style is not None:
        if style.suffix == ".safetensors":
            uses, doing = {"style", "size", "out"}, f"{doing} with a learned network"
        elif craft.is_film(file):
            uses = uses | {"data"}
    for name in sorted(set().union(*_USES.values())):
        source = ctx.get_parameter_source(name)
        if name not in uses and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{doing} does not use it; leave it out", param_hint=f"--{name}")


@dataclass(frozen=True)
class _Wish:
    """What the command was told."""

    file: Path
    style: Path | None
    size: int
    strength: float
    steps: int | None
    data: Path | None
    features: Path | None
    out: Path | None
    seed: int
    tell: Tell

    def net(self) -> Vgg:
        """The network that sees style."""
        from bottega.crafts import art as craft

        return craft.features(self.features, tell=self.tell)

    def painter(self) -> Painter:
        """A network that paints in the manner of ``style``: as it was learned, or learned now."""
        from bottega.crafts import art as craft

        assert self.style is not None
        if self.style.suffix == ".safetensors":
            return craft.load_painter(self.style)
        photos = None if self.data is None else craft.read_pictures(self.data)
        steps, style = self.steps or 400, _read(self.style, self.size)
        return craft.learn_style(
            style, self.net(), photos, steps=steps, strength=self.strength, seed=self.seed, tell=self.tell
        )

    def path(self, ending: str) -> Path:
        """Where the result goes."""
        return self.out or self.file.with_name(f"{self.file.stem}-{ending}")

    def mark(self, weights: str) -> dict[str, str]:
        """That it is machine-made."""
        from bottega.trust.mark import mark

        return mark(weights, self.seed, recipe="art")

    def write(self, value: Any, ending: str, mark: dict[str, str] | None) -> Path:
        """A picture, marked where ``mark`` says how."""
        from bottega.codecs.image import ImageCodec
        from bottega.core import Item

        return ImageCodec(size=0).write(Item(value), self.path(ending), mark)


def _read(file: Path, size: int) -> Any:
    from bottega.crafts import art as craft

    picture = craft.read_one(file)
    return craft.sized(picture, size, str(file)) if size else picture


def _palette(wish: _Wish, colours: str) -> dict[str, Any]:
    from bottega.crafts import art as craft
    from bottega.trust.mark import read as read_mark

    wanted = int(colours) if colours.strip().isdecimal() else [c.strip() for c in colours.split(",") if c.strip()]
    source = craft.read_one(wish.file, alpha=True)
    picture, used = craft.palette(source if source[..., 3].min() < 255 else source[..., :3], wanted, wish.seed)
    said = read_mark(wish.file)  # no model made this picture, unless one made what it was made of
    return {"file": wish.write(picture, "palette.png", said or None), "colours": used}


def _tile(wish: _Wish) -> dict[str, Any]:
    from bottega.crafts import art as craft

    texture, net = craft.read_one(wish.file), wish.net()
    made = craft.tile(texture, net, size=wish.size, steps=wish.steps or 150, seed=wish.seed, tell=wish.tell)
    path = wish.write(made, "tile.png", wish.mark(net.weights))
    return {"file": path, "seam_percent": 100 * craft.seam(made), "seam_percent_before": 100 * craft.seam(texture)}


def _learn(wish: _Wish) -> dict[str, Any]:
    painter = replace(wish, style=wish.file).painter()
    return {"file": painter.save(wish.path("style.safetensors")), **painter.losses}


def _stylise(wish: _Wish) -> dict[str, Any]:
    from bottega.crafts import art as craft

    if wish.style is None:
        raise typer.BadParameter("name a picture, or a network that `bottega art learn` wrote", param_hint="--style")
    if craft.is_film(wish.file):
        return _film(wish)
    photo = _read(wish.file, wish.size)
    if wish.style.suffix == ".safetensors":
        painter = wish.painter()
        return {"file": wish.write(painter(photo), "stylised.png", wish.mark(painter.weights))}
    picture, net = _read(wish.style, wish.size), wish.net()
    found = craft.stylise(photo, picture, net, steps=wish.steps or 150, strength=wish.strength, tell=wish.tell)
    return {
        "file": wish.write(found.picture, "stylised.png", wish.mark(net.weights)), "style_fell_percent": 100 * found.fell,
        "content_distance": found.content_distance, "content_distance_of_the_style_picture": found.content_apart,
    }  # fmt: skip


def _film(wish: _Wish) -> dict[str, Any]:
    import time

    from bottega.crafts import art as craft

    path = wish.path("stylised.gif" if wish.file.suffix.lower() == ".gif" else "stylised")
    craft.check_film_path(path)
    frames, rate = craft.read_frames(wish.file)
    if wish.size and max(frames[0].shape[:2]) > wish.size:
        frames = [craft.sized(f, wish.size) for f in frames]
    painter = wish.painter()
    began = time.perf_counter()
    made = painter.film(frames, tell=wish.tell)
    seconds = time.perf_counter() - began
    some = frames[:PROBED]
    alone = painter.film(some, hold=0.0, tell=wish.tell)
    return {
        "file": craft.write_frames(made, path, rate, wish.mark(painter.weights)), "frames": len(made),
        "frames_per_second": len(made) / seconds, "flicker": craft.flicker(made[:PROBED], some),
        "flicker_frame_by_frame": craft.flicker(alone, some), "flicker_of_the_original": craft.flicker(some, some),
    }  # fmt: skip


def _likeness(wish: _Wish, to: Path | None, others: Path | None) -> dict[str, Any]:
    from bottega.crafts import art as craft

    run = whole_run(wish.file)
    own = (run / "model.safetensors").is_file()
    if others is None or to is None and not own:
        raise typer.BadParameter("name the folder to be like, and one to be unlike", param_hint="--to, --others")
    rest, net = craft.read_pictures(others), wish.net()
    if own:
        from bottega.workshop.run import load

        found = craft.run_likeness(load(run), rest, net, data=to, seed=wish.seed)
    else:
        assert to is not None
        found = craft.likeness(craft.read_pictures(wish.file), craft.read_pictures(to), rest, net, seed=wish.seed)
    return {**asdict(found), "passes": found.passes}
