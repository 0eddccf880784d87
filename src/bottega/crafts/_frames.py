"""Pictures in a row: read from a folder, a GIF or an array file, written as one, and how things move between them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor
from torch.nn import functional as F

from bottega.codecs._picture_files import too_large
from bottega.codecs._pixels import UNREADABLE
from bottega.codecs.image import ImageCodec
from bottega.core import DataError, Item, OutputError

__all__ = [
    "check_film_path",
    "flicker",
    "flow",
    "is_film",
    "moved",
    "numbers",
    "pixels",
    "read_frames",
    "read_one",
    "read_pictures",
    "write_frames",
]

Pixels = NDArray[np.uint8]
_MOST = 1 << 29  # bytes of all frames together


def read_one(path: Path, *, alpha: bool = False) -> Pixels:
    """One picture in colour, ``(H, W, 3)``, upright, laid on white; with ``alpha`` ``(H, W, 4)``. Raises DataError."""
    if alpha:
        return ImageCodec(size=0, channels=4, labels="none").read(path)[0].value
    return read_pictures(path)[0]


def read_pictures(path: Path) -> list[Pixels]:
    """All pictures of a folder, archive or file in colour, ``(H, W, 3)`` each; raises DataError."""
    items = ImageCodec(size=0, channels=3, labels="none").read(path)
    return [item.value if item.value.shape[-1] == 3 else item.value.repeat(3, -1) for item in items]


def is_film(path: Path) -> bool:
    """Whether it is a folder, an array file, or a GIF with several frames; raises DataError when that is damaged."""
    if path.is_dir() or path.suffix in {".npz", ".npy"}:
        return True
    if path.suffix.lower() != ".gif" or not path.is_file():
        return False
    with _film(path) as film:
        return bool(getattr(film, "n_frames", 1) > 1)


@contextmanager
def _film(path: Path) -> Iterator[Image.Image]:
    """An open GIF; what goes wrong in reading it is a DataError that says the mend."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("GIF",)) as film:
                yield film
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(path, error) from error
    except UNREADABLE as error:
        raise DataError(f"cannot read the film {path}: {error}; give a whole GIF, or a folder of frames") from error


def read_frames(path: Path) -> tuple[list[Pixels], float]:
    """Frames ``(H, W, 3)`` of one size and how many a second (25 where the film does not say).

    A folder's pictures are taken in the order of their names.

    Raises:
        DataError: no frames, frames of several sizes, or more than half a gigabyte of them.
    """
    rate = 25.0
    if path.suffix.lower() == ".gif":
        with _film(path) as film:
            _check_size(path, film.width * film.height * 3 * getattr(film, "n_frames", 1))
            rate = 1000 / (film.info.get("duration", 0) or 40)
            frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
    else:
        frames = read_pictures(path)
    first = frames[0].shape
    _check_size(path, len(frames) * frames[0].size)
    for k, frame in enumerate(frames):
        if frame.shape != first:
            raise DataError(
                f"{path}: frame {k} is {frame.shape[1]}x{frame.shape[0]}, the first {first[1]}x{first[0]}; bring all to one size"
            )
    return frames, rate


def _check_size(path: Path, size: int) -> None:
    if size > _MOST:
        raise DataError(f"{path} has {size / 1e9:.1f} GB of frames; cut it into pieces of at most {_MOST / 1e9:.1f} GB")


def check_film_path(path: Path) -> None:
    """Raise OutputError for a name that ends neither in .gif nor, being a folder, in nothing."""
    if path.suffix.lower() not in {"", ".gif"}:
        raise OutputError(f"a film cannot be written to {path}; let its name end in .gif, or name a folder of frames")


def write_frames(frames: Sequence[Pixels], path: Path, rate: float, mark: dict[str, str]) -> Path:
    """A GIF where the name ends so, else a folder of PNG files; ``mark`` goes into each, or into the GIF's comment.

    Raises:
        OutputError: the place cannot be written, or its name ends in something else.
    """
    check_film_path(path)
    if path.suffix.lower() != ".gif":
        codec = ImageCodec(size=0)
        for k, frame in enumerate(frames):
            codec.write(Item(frame), path / f"{k:05}", mark)
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        first, *rest = [Image.fromarray(frame) for frame in frames]
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=round(1000 / rate),
            loop=0,
            comment=json.dumps(mark).encode(),
        )
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return path


def numbers(value: Pixels) -> Tensor:
    """``(H, W, 3)`` bytes as ``(1, 3, H, W)`` in [-1, 1]."""
    return torch.from_numpy(np.array(value)).permute(2, 0, 1)[None].contiguous().float() / 127.5 - 1


def pixels(x: Tensor) -> Pixels:
    """The inverse of ``numbers``; clipped."""
    out: Any = ((x[0].detach() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return out


# ---- motion ------------------------------------------------------------------------------------------------------------


def moved(x: Tensor, by: Tensor) -> Tensor:
    """``out[y, x] = x[y + by_y, x + by_x]``, bilinear, edges repeated: ``(1, C, H, W), (1, 2, H, W) -> (1, C, H, W)``."""
    height, width = x.shape[2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    at = torch.stack([columns + by[0, 0], rows + by[0, 1]], -1)[None]
    scale = torch.tensor([max(width - 1, 1), max(height - 1, 1)])
    return F.grid_sample(x, at / scale * 2 - 1, "bilinear", "border", align_corners=True)


@torch.no_grad()
def flow(before: Tensor, now: Tensor, levels: int = 4, rounds: int = 3, window: int = 9) -> Tensor:
    """Where each pixel of ``now`` was in ``before``, ``(1, 2, H, W)`` pixels across and down: ``moved(before, flow)``.

    Lucas & Kanade 1981 from coarse to fine: in every window the shift that explains the difference best, by least
    squares of the brightness and its slopes; flat windows keep the shift of the coarser level.
    """
    a, b = before.mean(1, keepdim=True), now.mean(1, keepdim=True)
    steps = [(a, b)]
    while len(steps) < levels and min(steps[-1][0].shape[2:]) >= 16:
        steps.append(tuple(F.avg_pool2d(t, 2) for t in steps[-1]))  # type: ignore[arg-type]
    found = torch.zeros(1, 2, *steps[-1][0].shape[2:])

    def mean(t: Tensor) -> Tensor:
        return F.avg_pool2d(t, window, 1, window // 2, count_include_pad=False)

    for a, b in reversed(steps):
        if found.shape[2:] != a.shape[2:]:
            found = 2 * F.interpolate(found, size=a.shape[2:], mode="bilinear", align_corners=False)
        for _ in range(rounds):
            there = moved(a, found)
            wide = F.pad(there, (1, 1, 1, 1), "replicate")
            ix = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / 2
            iy = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / 2
            rest = b - there
            xx, yy, xy = mean(ix * ix) + 1e-4, mean(iy * iy) + 1e-4, mean(ix * iy)
            xr, yr = mean(ix * rest), mean(iy * rest)
            det = xx * yy - xy * xy
            step = torch.cat([(yy * xr - xy * yr) / det, (xx * yr - xy * xr) / det], 1)
            found = found + step.clamp(-2, 2)
    return found


@torch.no_grad()
def flicker(made: Sequence[Pixels], frames: Sequence[Pixels]) -> float:
    """How much a repainted film changes where its original does not: root mean square, in grey levels of 255.

    Each repainted frame is compared with the one before it, moved as the original moved (the warping error of Lai et al.
    2018, arXiv:1808.00449), where the original, so moved, agrees with itself to a tenth of the range.
    """
    total, count = 0.0, 0
    for k in range(1, len(frames)):
        before, now = numbers(frames[k - 1]), numbers(frames[k])
        by = flow(before, now)
        seen = ((moved(before, by) - now).abs().mean(1, keepdim=True) < 0.1).float()
        apart = (moved(numbers(made[k - 1]), by) - numbers(made[k])).square().mean(1, keepdim=True)
        total += float((apart * seen).sum())
        count += int(seen.sum())
    return 127.5 * (total / max(count, 1)) ** 0.5
