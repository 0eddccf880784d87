"""Style and pattern: repaint pictures and films, make seamless tiles, keep to a palette, look for near copies.

>>> from bottega.crafts import art
>>> found = art.stylise(photo, painting, art.features())            # doctest: +SKIP
>>> art.palette(found.picture, ["#20304f", "#ffffff"])              # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from bottega.codecs._pixels import to_pil
from bottega.core import Batch, BottegaError, CheckpointError, DataError, RecipeError, Rng, Spec
from bottega.crafts._features import features, learn, photographs
from bottega.crafts._frames import (
    check_film_path,
    flicker,
    flow,
    is_film,
    moved,
    numbers,
    pixels,
    read_frames,
    read_one,
    read_pictures,
    write_frames,
)
from bottega.judge import Case
from bottega.judge.memorisation import near_copies
from bottega.nets.stylist import Stylist
from bottega.nets.vgg import Vgg
from bottega.workshop.build import find_data
from bottega.workshop.run import Progress, Run, Tell
from bottega.workshop.training import divide

__all__ = [
    "Likeness",
    "Painter",
    "Stylised",
    "check_film_path",
    "features",
    "flicker",
    "is_film",
    "learn_style",
    "likeness",
    "load_painter",
    "palette",
    "read_frames",
    "read_one",
    "read_pictures",
    "run_likeness",
    "seam",
    "sized",
    "style_vectors",
    "stylise",
    "tile",
    "write_frames",
]

Pixels = NDArray[np.uint8]
_VERSION = 2  # of learned styles: since 2 the network says the change to a picture
LEAST = 32  # pixels of a side of a style or texture: fewer have no statistics
MOST = 2048  # and no more: all feature maps of a picture, and forty copies of it, are in memory at once
_EVEN = 300.0  # weight of lines of a tile that jump more than the others
_QUIET = 5.0  # weight of being rougher than the pictures it is made of, and of colours beyond black and white


# ---- what style and content are ------------------------------------------------------------------------------------------


def _gram(m: Tensor) -> Tensor:
    """Mean products of channels: ``(N, C, H, W) -> (N, C, C)``; Gatys et al. 2015, arXiv:1508.06576, equation 3."""
    flat = m.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def _style_distance(maps: dict[str, Tensor], style: dict[str, Tensor]) -> Tensor:
    """``(N,)``: squared distance of Gram matrices by the squared size of the style's, the mean over maps."""
    parts = [(_gram(maps[k]) - g).square().sum((1, 2)) / g.square().sum((1, 2)) for k, g in style.items()]
    return torch.stack(parts).mean(0)


def _content_distance(m: Tensor, content: Tensor) -> Tensor:
    """``(N,)``: squared distance of content maps by the squared size of the content's."""
    return (m - content).square().flatten(1).sum(1) / content.square().flatten(1).sum(1)


def _roughness(x: Tensor) -> Tensor:
    """``(N,)``: mean squared step between neighbours."""
    return (x[:, :, 1:] - x[:, :, :-1]).square().mean((1, 2, 3)) + (x[..., 1:] - x[..., :-1]).square().mean((1, 2, 3))


def _noise(x: Tensor, smooth: Tensor) -> Tensor:
    """``(N,)``: how much rougher than ``smooth`` a picture is, and how far its colours lie beyond black and white.

    Gram matrices alone hardly see single pixels that stand out.
    """
    return (_roughness(x) - smooth).clamp_min(0) + 10 * (x.abs() - 1).clamp_min(0).square().mean((1, 2, 3))


def _grams(net: Vgg, picture: Pixels, what: str) -> dict[str, Tensor]:
    height, width = picture.shape[:2]
    if min(height, width) < LEAST:
        raise DataError(f"the {what} is {width}x{height}; give one of at least {LEAST} pixels a side")
    if max(height, width) > MOST:
        raise DataError(f"the {what} is {width}x{height}; give one of at most {MOST} pixels a side")
    with torch.no_grad():
        return {k: _gram(m) for k, m in net.maps(numbers(picture), net.style).items()}


def _check_effort(steps: int, strength: float) -> None:
    if steps < 1 or not 0 < strength < math.inf:
        raise RecipeError(f"steps={steps}, strength={strength}; both must be above 0, and numbers")


def _moved(
    picture: Tensor, measure: Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]], steps: int, tell: Tell
) -> Pixels:
    """The picture whose pixels L-BFGS has moved from ``picture`` to where ``measure`` is least; it also names figures to tell."""
    x = picture.clone().requires_grad_()
    optim = torch.optim.LBFGS(
        [x], max_iter=steps, history_size=20, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    done = 0

    def loss() -> Tensor:
        nonlocal done
        optim.zero_grad()
        total, told = measure(x)
        total.backward()  # type: ignore[no-untyped-call]
        done += 1
        tell(Progress("art", min(done, steps), steps, {name: value.item() for name, value in told.items()}))
        return total

    optim.step(loss)  # type: ignore[no-untyped-call]
    return pixels(x)


def sized(value: Pixels, size: int, name: str = "the picture") -> Pixels:
    """A picture whose longer side is ``size``, its proportions kept.

    Raises:
        DataError: it has a side below 32 pixels, of which nothing larger can be made.
        RecipeError: ``size`` is below 32, or above 2048.
    """
    if not LEAST <= size <= MOST:
        raise RecipeError(f"size is {size}; give {LEAST} to {MOST} pixels")
    height, width = value.shape[:2]
    if min(height, width) < LEAST:
        raise DataError(f"{name} is {width}x{height}; give one of at least {LEAST} pixels a side")
    scale = size / max(height, width)
    to = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(value).resize(to, Image.Resampling.LANCZOS))


# ---- one picture, by optimisation --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stylised:
    """A repainted picture and how it came about.

    Attributes:
        picture: uint8 ``(H, W, 3)``.
        style_before, style_after: Gram distance to the style of the photo as it was, and of the picture.
        content_distance: from the photo's content maps, by their size; ``content_apart`` is that of the style picture,
            which is what two pictures that have nothing to do with each other differ by.
    """

    picture: Pixels
    style_before: float
    style_after: float
    content_distance: float
    content_apart: float

    @property
    def fell(self) -> float:
        """By which share the Gram distance fell."""
        return 1 - self.style_after / self.style_before if self.style_before else 0.0


def stylise(
    content: Pixels,
    style: Pixels,
    net: Vgg,
    *,
    steps: int = 150,
    strength: float = 1.0,
    tell: Tell = lambda _: None,
) -> Stylised:
    """Paint ``content`` in the manner of ``style`` (Gatys et al. 2015, arXiv:1508.06576).

    The picture's own pixels are moved, from the photo on, until its Gram matrices are the style's and its content maps
    still the photo's, by L-BFGS as the paper does.

    Args:
        content: uint8 ``(H, W, 3)``, at the size it is to have.
        style: uint8 ``(h, w, 3)``; strokes keep their size in pixels.
        net: the features to see them in.
        steps: of L-BFGS.
        strength: weight of style against content; 0.1 hints, 10 leaves little of the photo.
        tell: told at every step.

    Raises:
        DataError: a side is below 32 pixels, or above 2048.
        RecipeError: ``steps`` or ``strength`` make no sense.
    """
    _check_effort(steps, strength)
    wanted = _grams(net, style, "style picture")
    _grams(net, content, "photo")  # tells when it is too small
    photo = numbers(content)
    names = [*net.style, net.content]
    with torch.no_grad():
        there = net.maps(photo, names)
        before = _style_distance(there, wanted).item()
        other = net.maps(F.interpolate(numbers(style), size=photo.shape[2:], mode="bilinear"), [net.content])
        apart = _content_distance(other[net.content], there[net.content]).item()
        smooth = torch.maximum(_roughness(photo), _roughness(numbers(style)))

    def measure(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        maps = net.maps(x, names)
        like, far = _style_distance(maps, wanted), _content_distance(maps[net.content], there[net.content])
        return (10 * strength * like + far + _QUIET * _noise(x, smooth)).sum(), {"style": like, "content": far}

    out = _moved(photo, measure, steps, tell)
    with torch.no_grad():
        maps = net.maps(numbers(out), names)
        after = _style_distance(maps, wanted).item()
        kept = _content_distance(maps[net.content], there[net.content]).item()
    return Stylised(out, before, after, kept, apart)


# ---- in one pass, for films --------------------------------------------------------------------------------------------


@dataclass
class Painter:
    """A network that has learned one style; call it with a picture, or ``film`` with frames.

    Attributes:
        net: the network.
        losses: how style and content stood at the end of its training, on pictures in training.
    """

    net: Stylist
    losses: dict[str, float] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, picture: Pixels) -> Pixels:
        """``(H, W, 3) -> (H, W, 3)``, uint8; raises DataError below 8 pixels a side."""
        return pixels(self._paint(picture))

    def _paint(self, picture: Pixels) -> Tensor:
        if min(picture.shape[:2]) < 8:
            raise DataError(
                f"the picture is {picture.shape[1]}x{picture.shape[0]}; give one of at least 8 pixels a side"
            )
        out: Tensor = self.net(numbers(picture))
        return out

    @torch.inference_mode()
    def film(self, frames: Sequence[Pixels], hold: float = 0.8, tell: Tell = lambda _: None) -> list[Pixels]:
        """Repaint frames so that they do not flicker.

        Where a frame is the one before it, moved, so is most of what was painted: ``hold`` of the last painting, moved
        along (``flow``), is mixed into the new one, less where the two frames disagree (cuts, what comes into sight).
        After Ruder et al. 2016, arXiv:1604.08610. ``hold = 0`` paints each frame alone.
        """
        if not 0 <= hold < 1:
            raise RecipeError(f"hold is {hold}; it must lie in [0, 1)")
        out: list[Tensor] = []
        for k, frame in enumerate(frames):
            painted = self._paint(frame)
            if k and hold:
                before, now = numbers(frames[k - 1]), numbers(frame)
                by = flow(before, now)
                error = F.avg_pool2d((moved(before, by) - now).abs().mean(1, keepdim=True), 3, 1, 1)
                keep = hold * torch.exp(-((error / 0.08) ** 2))
                painted = keep * moved(out[-1], by) + (1 - keep) * painted
            out.append(painted)
            tell(Progress("art", k + 1, len(frames)))
        return [pixels(x) for x in out]

    def save(self, path: Path) -> Path:
        """Write the weights as safetensors; returns the path with its ending."""
        path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "bottega": json.dumps({"craft": "art", "version": _VERSION, "size": self.net.size, "losses": self.losses})
        }
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, path, header)
        return path

    @property
    def weights(self) -> str:
        """SHA-256 of its weights, for marks."""
        digest = hashlib.sha256()
        for value in self.net.state_dict().values():
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_painter(path: str | Path) -> Painter:
    """A painter that was saved; raises CheckpointError when the file is missing, damaged or something else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no style at {path}; learn one with bottega art learn --style PICTURE --out {path}"
        )
    try:
        with safe_open(path, "pt") as file:
            told = json.loads((file.metadata() or {}).get("bottega", "{}"))
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is no safetensors file, or damaged ({error}); learn the style again") from error
    if told.get("craft") != "art" or "size" not in told:
        raise CheckpointError(f"{path} is no learned style; give a file that bottega art learn wrote")
    if told.get("version") != _VERSION:
        raise CheckpointError(
            f"{path} is a style that an earlier version learned; learn it again with bottega art learn"
        )
    with torch.random.fork_rng(devices=[]):
        net = Stylist(told["size"])
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path} lacks weights; learn the style again") from error
    return Painter(net.eval().requires_grad_(False), told["losses"])


def learn_style(
    style: Pixels,
    net: Vgg,
    photos: Sequence[Pixels] | None = None,
    *,
    steps: int = 400,
    size: int = 16,
    side: int = 96,
    batch: int = 4,
    strength: float = 1.0,
    seed: int = 0,
    tell: Tell = lambda _: None,
) -> Painter:
    """Teach a network one style (Johnson et al. 2016, arXiv:1603.08155).

    The losses are those of ``stylise``, on crops of photographs, and a third against flicker: a picture with a little
    noise on it must be painted as without (after Gao et al. 2018, arXiv:1807.01197, without their optical flow).

    Args:
        style: uint8 ``(h, w, 3)``.
        net: the features to see in.
        photos: what to practise on, uint8 ``(H, W, 3)`` each; the built-in photographs by default.
        steps: of Adam.
        size: the dial: channels of the network at full resolution.
        side: of the crops, pixels.
        batch: crops at once.
        strength: weight of style against content.
        seed: of crops and noise.
        tell: told at every step.

    Raises:
        DataError: the style is below 32 or above 2048 pixels a side, or every photo smaller than a crop.
        RecipeError: ``steps`` or ``strength`` make no sense.
    """
    _check_effort(steps, strength)
    wanted = _grams(net, style, "style picture")
    pool = photographs() if photos is None else [numbers(p)[0] for p in photos]
    pool = [p for p in pool if min(p.shape[1:]) >= side]
    if not pool:
        raise DataError(f"every photo is smaller than the crops of {side} pixels; give larger ones")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        painter = Stylist(size)
    names = [*net.style, net.content]
    latest: dict[str, float] = {}
    rough = _roughness(numbers(style))

    def loss(rng: Rng) -> Tensor:
        crops = []
        for k in rng.integers(len(pool), batch).tolist():
            top, left = (int(rng.integers(length - side + 1, 1)) for length in pool[k].shape[1:])
            crops.append(pool[k][:, top : top + side, left : left + side])
        x = torch.stack(crops)
        painted, again = painter(torch.cat([x, x + 0.06 * rng.normal(*x.shape)])).chunk(2)
        maps = net.maps(painted, names)
        with torch.no_grad():
            there = net.maps(x, [net.content])[net.content]
        parts = {
            # by its logarithm, or the few crops that are farthest away would be all that is learned
            "style": 25 * strength * _style_distance(maps, wanted).log1p().mean(),
            "content": _content_distance(maps[net.content], there).mean(),
            "flicker": 4 * (painted - again).square().mean(),
        }
        latest.update({k: v.item() for k, v in parts.items()})
        smooth = torch.maximum(_roughness(x), rough)
        return sum(parts.values(), torch.zeros(())) + _QUIET * _noise(painted, smooth).mean()

    learn(painter.parameters(), loss, Rng(seed), steps, tell, "learning the style", lr=3e-3)
    return Painter(painter.eval().requires_grad_(False), latest)


# ---- tiles and palettes ------------------------------------------------------------------------------------------------


def tile(
    texture: Pixels, net: Vgg, *, size: int = 128, steps: int = 150, seed: int = 0, tell: Tell = lambda _: None
) -> Pixels:
    """A square in the manner of ``texture`` that repeats without a seam, ``(size, size, 3)``.

    Texture synthesis after Gatys et al. 2015, arXiv:1505.07376, on a torus: every convolution wraps around, so the
    network sees no edge, and no place of the tile is different from any other. It begins with noise of the texture's
    colours and moves its pixels until the Gram matrices are the texture's; for the last fifth of the steps, lines that
    jump more than 95 % of the others did are held back, too. What wraps around may be cut anywhere: it is cut where it
    jumps least, which hides no seam from ``seam``.

    Args:
        texture: uint8 ``(h, w, 3)``.
        net: the features to see in.
        size: of the tile, pixels; a multiple of 16, so that halvings wrap too.
        steps: of L-BFGS.
        seed: other seeds, other tiles.
        tell: told at every step.

    Raises:
        DataError: the texture is below 32 pixels a side.
        RecipeError: ``size`` is no multiple of 16, below 32 or above 2048.
    """
    if not LEAST <= size <= MOST or size % 16:
        raise RecipeError(f"size is {size}; a tile has a multiple of 16 pixels, from {LEAST} to {MOST}")
    wanted = _grams(net, texture, "texture")
    real = numbers(texture)
    rng = Rng(seed)
    picked = rng.integers(real.shape[2] * real.shape[3], size * size)
    begin = real.flatten(2)[:, :, picked].view(1, 3, size, size)  # its own colours, in no order

    def measure(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        like = _style_distance(net.maps(x, net.style, wrap=True), wanted).sum()
        around = F.pad(x, (0, 1, 0, 1), "circular")  # steps over the edge count as any other
        return 100 * like + 10 * _QUIET * _noise(around, _roughness(real)).sum(), {"style": like}

    first = max(1, round(0.8 * steps))
    made = _moved(begin, measure, first, lambda p: tell(replace(p, steps=steps)))
    limits = [  # held fixed, so that what is minimised does not move; put in from the beginning they blur, or stop the search
        _jumps(numbers(made)[0], axis).quantile(0.95) for axis in (1, 2)
    ]

    def even(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        total, told = measure(x)
        above = [
            (_jumps(x[0], axis) - most).clamp_min(0).square().sum() for axis, most in zip((1, 2), limits, strict=True)
        ]
        return total + _EVEN * sum(above), told

    if steps > first:
        made = _moved(numbers(made), even, steps - first, lambda p: tell(replace(p, step=first + p.step, steps=steps)))
    down, right = (int(_jumps(numbers(made)[0], axis).argmin()) + 1 for axis in (1, 2))
    return np.roll(made, (-down, -right), (0, 1))


def _jumps(x: Tensor, axis: int) -> Tensor:
    """How far each step to the next row (axis 1) or column (2) is from the mean of the steps around it; the last wraps.

    The mean of absolute differences: ``(C, H, W)`` -> ``(H,)`` for axis 1 and ``(W,)`` for axis 2.
    """
    step = x.roll(-1, axis) - x
    return (step - (step.roll(1, axis) + step.roll(-1, axis)) / 2).abs().mean((0, 3 - axis))


def seam(picture: Pixels) -> float:
    """How far one line of a picture that repeats stands out as a seam, wherever it was cut: a share of the range 0 to 255.

    A jump is how far the step between two neighbouring columns is from the mean of the steps before and after it: a slope,
    however steep, is none. The largest mean jump between two columns, the last and the first among them, less the jump
    that 95 % of the others stay below (but for its two neighbours, which share in it); the same for rows, and the larger
    of both. About 0 when nothing stands out; a single line that the picture has inside counts, too.

    >>> slope = np.arange(0, 256, 8, np.uint8)[None, :, None].repeat(32, 0).repeat(3, 2)
    >>> seam(slope) == seam(np.roll(slope, 5, 1)) > 0.9
    True
    """
    x = numbers(picture)[0].double()
    return max(0.0, *(_stands_out(_jumps(x, axis)) for axis in (1, 2))) / 2


def _stands_out(jumps: Tensor) -> float:
    """How far the largest jump is above what 95 % of the others stay below, but for its two neighbours, which it raises too."""
    most = int(jumps.argmax())
    rest = jumps.roll(-most)[2:-1]
    return (jumps[most] - rest.quantile(0.95)).item() if len(rest) else 0.0


def _oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """SRGB bytes ``(..., 3)`` as Oklab (Ottosson 2020), where distances are as the eye sees them."""
    c = rgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = linear @ np.array([[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376],
                             [0.0514459929, 0.1073969566, 0.6299787005]])  # fmt: skip
    return np.cbrt(lms) @ np.array([[0.2104542553, 1.9779984951, 0.0259040371], [0.7936177850, -2.4285922050, 0.7827717662],
                                    [-0.0040720468, 0.4505937099, -0.8086757660]])  # fmt: skip


def palette(picture: Pixels, colours: int | Sequence[str], seed: int = 0) -> tuple[Pixels, list[str]]:
    """The picture in a few exact colours, and which: ``#rrggbb``.

    Args:
        picture: uint8 ``(H, W, 3)``, or ``(H, W, 4)``: alpha stays as it is, and nothing is found where nothing is seen.
        colours: how many (found by k-means in Oklab), or which, by name or ``#rrggbb``; every pixel takes the nearest.
        seed: of k-means.

    Raises:
        RecipeError: fewer than one colour, more than 256, or something that is no colour.
    """
    flat = picture[..., :3].reshape(-1, 3)
    shown = flat[picture[..., 3].reshape(-1) > 0] if picture.shape[-1] == 4 else flat
    if isinstance(colours, int):
        if not 1 <= colours <= 256:
            raise RecipeError(f"a palette of {colours} colours; give 1 to 256")
        from sklearn.cluster import KMeans

        seen, count = np.unique(shown if len(shown) else flat, axis=0, return_counts=True)
        known = seen
        if len(seen) > colours:
            some = np.random.default_rng(seed).permutation(len(seen))[:20_000]
            places = _oklab(seen[some].astype(np.float64))
            found = KMeans(colours, n_init=3, random_state=seed).fit(places, sample_weight=count[some])
            near = np.square(places[None] - found.cluster_centers_[:, None]).sum(-1).argmin(1)
            known = np.unique(seen[some][near], axis=0)  # the colour of the picture nearest to each middle
    else:
        try:
            known = np.array([ImageColor.getrgb(c)[:3] for c in colours], np.uint8).reshape(-1, 3)
        except ValueError as error:
            raise RecipeError(f"{error}; give colours by name, or as #rrggbb") from error
        if not 1 <= len(known) <= 256:
            raise RecipeError(f"a palette of {len(known)} colours; give 1 to 256")
    seen, back = np.unique(flat, axis=0, return_inverse=True)
    places = _oklab(known.astype(np.float64))
    nearest = np.concatenate(
        [
            np.square(_oklab(part.astype(np.float64))[:, None] - places).sum(-1).argmin(1)
            for part in np.array_split(seen, len(seen) // 50_000 + 1)
        ]
    )
    out = known[nearest][back.reshape(-1)].reshape(*picture.shape[:2], 3)
    out = np.concatenate([out, picture[..., 3:]], -1)
    return out, [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in known.tolist()]


# ---- in the style of a folder ------------------------------------------------------------------------------------------

_GRAMS = 300  # pictures of each kind whose style is looked at; copies are looked for among all


@dataclass(frozen=True)
class Likeness:
    """How near pictures are to a folder in style, and whether they are copies out of it.

    Attributes:
        own, other: energy distance in style (Székely & Rizzo 2013) of the made pictures to the folder's, and to other
            pictures, in units of the mean distance of two of the folder's: 0 for one manner, and below by chance. How
            varied either side is does not count, as it would in a mean distance.
        apart: that of the folder to the other pictures.
        copies: share of near-exact copies of the folder's pictures, and its 95 % interval; ``held_copies`` is the share
            that pictures of the folder which were kept back would have.
        n: how many were looked at.
    """

    own: float
    other: float
    apart: float
    copies: float
    copies_high: float
    held_copies: float
    n: int

    @property
    def passes(self) -> bool:
        """In its manner, and not out of it: nearer to the folder than to others, and no more copies than by chance."""
        return self.own < self.other and self.copies <= max(self.held_copies, 0.0)


def likeness(
    made: Sequence[Pixels],
    folder: Sequence[Pixels],
    others: Sequence[Pixels],
    net: Vgg,
    *,
    held: Sequence[Pixels] | None = None,
    side: int = 64,
    seed: int = 0,
) -> Likeness:
    """Judge pictures made in the style of a folder (``bottega train`` on it made the model).

    Style is compared by Gram matrices; near copies are looked for as ``judge.memorisation`` does, among pixels.

    Args:
        made: uint8 pictures.
        folder: what they are to be like.
        others: what they are not to be like.
        net: the features to see in.
        held: pictures of the folder's kind that the model never saw; where nobody says which, a quarter of the folder
            beside the rest says how many copies there are by chance. Copies are looked for in the whole folder.
        side: all pictures are brought to this size, pixels.
        seed: of what is kept back.

    Raises:
        DataError: fewer than four pictures in the folder, or none made or none other.
    """
    if len(folder) < 4 or not made or not others:
        raise DataError(
            f"{len(made)} made, {len(folder)} in the folder and {len(others)} other pictures; give at least 1, 4 and 1"
        )
    x = {name: torch.cat([_squared(p, side) for p in some]) for name, some in
         (("made", made), ("folder", folder), ("others", others), ("held", held or [])) if some}  # fmt: skip
    order = Rng(seed).permutation(len(folder))
    looked = {"made": x["made"], "folder": x["folder"][order[:_GRAMS]], "others": x["others"][:_GRAMS]}
    grams = {name: _gram_vectors(net, t) for name, t in looked.items()}
    if "held" in x:
        known, unknown = x["folder"], x["held"]
    else:
        cut = max(2, len(folder) // 4)
        known, unknown = x["folder"][order[cut:]], x["folder"][order[:cut]]
    case = Case("image", Spec((3, side, side)), Batch(x["folder"]), Batch(unknown), x["made"], seed=seed)
    copies, by_chance = near_copies(case), near_copies(replace(case, train=Batch(known), cache={}))
    unit = max(_within(grams["folder"]), 1e-12)
    return Likeness(
        own=_energy_distance(grams["made"], grams["folder"]) / unit,
        other=_energy_distance(grams["made"], grams["others"]) / unit,
        apart=_energy_distance(grams["folder"], grams["others"]) / unit,
        copies=copies.value,
        copies_high=copies.high if copies.high is not None else 1.0,
        held_copies=by_chance.ceiling or 0.0,
        n=len(made),
    )


def run_likeness(
    run: Run, others: Sequence[Pixels], net: Vgg, *, n: int = 64, data: str | Path | None = None, seed: int = 0
) -> Likeness:
    """``likeness`` of ``n`` new pieces of a run to what it was trained on; what it kept back is known to be no copy.

    Raises:
        BottegaError: the run makes no pictures by itself.
        DataError: its data is gone, or it kept nothing back.
    """
    if run.codec.medium != "image" or run.spec.given_picture:
        raise BottegaError(f"{run.path.name} makes no pictures by itself; name a folder of pictures")
    parts = divide(run.recipe, find_data(run.recipe, data or run.header["data_argument"] or None, run.codec))
    if not parts.held:
        raise DataError(f"{run.path} kept no pieces back (data.held is 0); train with data.held above 0")
    made, folder, held = (
        [np.asarray(to_pil(item.value).convert("RGB")) for item in items]
        for items in (run.sample(n, seed=seed).items, parts.train, parts.held)
    )
    return likeness(made, folder, others, net, held=held, side=min(64, max(run.spec.shape[1:])), seed=seed)


def _squared(picture: Pixels, side: int) -> Tensor:
    value = np.asarray(Image.fromarray(picture[..., :3]).resize((side, side), Image.Resampling.LANCZOS))
    return numbers(value)


def style_vectors(pictures: Sequence[Pixels], net: Vgg, side: int = 64) -> Tensor:
    """What pictures are in style: Gram matrices of all style maps (Gatys et al. 2016, eq. 5), each brought to length 1.

    Args:
        pictures: uint8 ``(height, width, channels)``.
        net: the features to see in.
        side: all pictures are brought to this size, pixels.

    Returns:
        ``(N, D)``; the distance of two rows says how unlike two pictures are in style.
    """
    return _gram_vectors(net, torch.cat([_squared(p, side) for p in pictures]))


def _within(rows: Tensor) -> float:
    """The mean distance of two different rows; 0 for one alone."""
    return torch.cdist(rows, rows).sum().item() / max(len(rows) * (len(rows) - 1), 1)


def _energy_distance(a: Tensor, b: Tensor) -> float:
    return 2 * torch.cdist(a, b).mean().item() - _within(a) - _within(b)


@torch.no_grad()
def _gram_vectors(net: Vgg, x: Tensor) -> Tensor:
    """``(N, D)``: Gram matrices of all style maps, each by its size, side by side."""
    parts = []
    for some in x.split(16):
        grams = [_gram(m).flatten(1) for m in net.maps(some, net.style).values()]
        parts.append(torch.cat([F.normalize(g, dim=1) for g in grams], 1))
    return torch.cat(parts)
