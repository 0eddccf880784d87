"""Pictures to short files and back, by a model: rounded codes at a loss, or levels exactly by bits back.

A file is a header (see ``_packed.py``), what the entropy coder of the package ``constriction`` wrote, and a CRC-32 of both.
It holds nothing of the model: the run that wrote it is named by the first digits of its weights' hash and must be there
to read it. What both sides must agree on to the last bit is computed in float64; for exact levels it is also rounded to
a grid, so that threads and machines hardly matter. Where they do, it is noticed: the file carries a CRC-32 of its symbols
(codes or levels), and is refused where others are read. Codes that are read rightly become pixels in float32, which may
differ by one grey level between machines.
"""

from __future__ import annotations

import copy
import io
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bottega.codecs._files import read_bytes
from bottega.codecs._picture_files import decoded
from bottega.codecs._pixels import FORMATS, UNREADABLE, Pixels, opaque, straight, to_pil, with_alpha, with_alpha_in
from bottega.core import Batch, BottegaError, DataError, Item, OutputError, Spec
from bottega.core.files import write_atomically
from bottega.crafts._packed import Envelope, Words, agree, apart, entropy_coding, stack
from bottega.workshop.run import Run

__all__ = ["Compressed", "beside", "compress", "decompress", "is_compressed", "pack", "psnr", "unpack"]

FILE = Envelope(b"BTG1", 2, "IIBII")  # height, width, channels, first, check
_CODES, _LEVELS = 0, 1  # the two ways
_FINE, _WIDE = 256, 8  # codes of bits back: steps of 1 / 256, from -8 to 8
_GRID = 2.0**-14  # what a decoder says of levels is rounded to
_TILE = 32  # cells to each side of the part of a picture that is in memory as numbers at once
_ROWS = 64  # of two pictures that are compared at once
_DEEP = 16  # bits of a PNG that Pillow brings to 8
_SIDE = {"WEBP": 16383, "JPEG": 65500}  # the most pixels to a side
_JPEG = {"format": "JPEG"}
_ENDINGS: dict[str, dict[str, Any]] = {  # what a picture may be written as; all but JPEG keep every pixel
    ".png": {"format": "PNG"}, ".webp": {"format": "WEBP", "lossless": True, "exact": True},
    ".tif": {"format": "TIFF"}, ".tiff": {"format": "TIFF"}, ".jpg": _JPEG, ".jpeg": _JPEG,
}  # fmt: skip


@dataclass(frozen=True)
class Compressed:
    """What became of a picture.

    Attributes:
        source, path: the picture and the file.
        pixels: height times width.
        bytes: of the file, all of it.
        bits_per_pixel: of the file.
        psnr_db: of what comes back, against the picture as the model was given it; infinite where every pixel does.
        exact: whether every pixel comes back and nothing was dropped.
        dropped: what the file's picture had and the model was not given: depth, transparency, frames.
        model_bits: what the model says the file should take: the rate of its codes, or minus its bound.
        beside: bytes of the same picture by other means, and what they are.
    """

    source: str
    path: str
    pixels: int
    bytes: int
    bits_per_pixel: float
    psnr_db: float
    exact: bool
    dropped: tuple[str, ...]
    model_bits: float
    beside: dict[str, int]


def is_compressed(path: str | Path) -> bool:
    """Whether a file begins as ours do, or is called so."""
    with Path(path).open("rb") as file:
        return file.read(4) == FILE.magic or Path(path).suffix.lower() == ".btg"


def compress(run: Run, source: str | Path, path: str | Path) -> Compressed:
    """Write a picture as a short file, whatever its size.

    Raises:
        DataError: not a readable picture, or with channels that the model does not know.
        BottegaError: the run's model cannot compress.
        OutputError: the file cannot be written, is the picture itself or is called as one.
    """
    apart(source, path)
    if Path(path).suffix.lower() in Image.registered_extensions():
        raise OutputError(
            f"{path} is called as a picture, and a compressed file is none; give a name that ends in .btg"
        )
    pixels, dropped = _read(run, Path(source))
    data, model_bits = pack(run, pixels)
    write_atomically(Path(path), data)
    back = unpack(run, data, str(path))
    error = psnr(pixels, back)
    area = pixels.shape[0] * pixels.shape[1]
    exact = not dropped and bool((pixels == back).all())
    rate, others = 8 * len(data) / area, beside(pixels, error)
    return Compressed(str(source), str(path), area, len(data), rate, error, exact, dropped, model_bits, others)


def decompress(run: Run, source: str | Path, path: str | Path) -> Path:
    """The picture of a compressed file, as what the ending of ``path`` says.

    Raises:
        DataError: not such a file, cut short, damaged, or written by another model.
        OutputError: the picture cannot be written, has an ending that is not known, or should be exact and ends as JPEG.
    """
    source, path = Path(source), Path(path)
    apart(source, path)
    how = _ENDINGS.get(path.suffix.lower())
    if how is None:
        raise OutputError(f"cannot write a picture as {path}; give a name that ends in {', '.join(_ENDINGS)}")
    if how is _JPEG and _way(run)[0] == _LEVELS:
        raise OutputError(f"{path} would not be exact, JPEG loses something; give a name that ends in .png")
    pixels = unpack(run, source.read_bytes(), str(source))
    try:
        data = _saved(to_pil(pixels), **how)
    except (OSError, ValueError) as error:  # too large for the format, or with alpha, which JPEG has not
        raise OutputError(f"cannot write {path}: {error}; give a name that ends in .png") from error
    write_atomically(path, data)
    return path


def _read(run: Run, source: Path) -> tuple[Pixels, tuple[str, ...]]:
    """``(H, W, 1, 3 or 4)`` as the model knows them, turned as the camera said, and what of the file is not in them.

    What is transparent is laid on white, but where the model knows alpha.
    """
    if run.codec.medium != "image" or not run.spec.is_image:
        raise BottegaError(
            f"{run.recipe.name} models {run.codec.medium}, not pictures; compress with a run of pictures"
        )
    if not source.is_file():
        raise DataError(f"no file at {source}; give a picture to compress")
    data = read_bytes(source)
    value = decoded(data, str(source))
    dropped = _beyond(data, str(source))
    clear = value.shape[-1] in (2, 4) and bool((value[..., -1] < 255).any())
    if run.spec.shape[0] == 4:
        pixels = straight(with_alpha_in(with_alpha(value)))
        if (pixels != with_alpha(value)).any():
            dropped.append("colours finer than their transparency shows")
    else:
        pixels = opaque(value, (255, 255, 255))
        if clear:
            dropped.append("transparency (laid on white)")
    if pixels.shape[-1] == 3 and run.spec.shape[0] == 1:
        raise DataError(
            f"{source} is in colour and {run.recipe.name} was trained on grey pictures; use a run of colour ones"
        )
    return np.array(pixels), tuple(dropped)  # our own: what Pillow gives cannot be written to


def _beyond(data: bytes, where: str) -> list[str]:
    """What a picture file has beyond one frame of 8 bits, grey or of three colours."""
    out = []
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            frames, mode = getattr(picture, "n_frames", 1), picture.mode
            deep = picture.format == "PNG" and data[24] == _DEEP  # of IHDR, which comes first
    except UNREADABLE as error:
        raise DataError(f"{where} is not a readable picture ({error}); replace or remove it") from error
    if deep:
        out.append("the lower 8 of its 16 bits")
    if mode == "CMYK":
        out.append("CMYK (made RGB)")
    if frames > 1:
        out.append(f"{frames - 1} of its {frames} frames")
    return out


# --- the file --------------------------------------------------------------------------------------------------------


def pack(run: Run, pixels: Pixels) -> tuple[bytes, float]:
    """A picture ``(H, W, C)`` as bytes, and how many bits the model says that should take."""
    way, encode = _way(run)
    first, check, words, bits = encode(run, pixels)
    return FILE.wrap(run, way, (*pixels.shape, first, check), words), bits


def unpack(run: Run, data: bytes, name: str = "the file") -> Pixels:
    """The picture that ``pack`` made the bytes of; raises DataError naming ``name``."""
    way, (height, width, channels, first, check), words = FILE.unwrap(run, data, name)
    decode = {_CODES: _from_codes, _LEVELS: _from_levels}[way]
    return decode(run, words, (height, width, channels), first, check, name)


def _way(run: Run) -> tuple[int, Callable[[Run, Pixels], tuple[int, int, Words, float]]]:
    model = run.model
    if hasattr(model, "squeeze"):
        return _CODES, _to_codes
    if hasattr(model, "log_masses") and run.spec.is_tokens:
        return _LEVELS, _to_levels
    raise BottegaError(
        f"a {run.recipe.family['name']} of {run.spec} cannot compress; train photos-compressor, or a model with codes on "
        "exact levels (codec.levels = 256)"
    )


# --- at a loss: rounded codes ----------------------------------------------------------------------------------------


def _tables(model: Any) -> tuple[int, list[Any]]:
    """The smallest whole number, and an entropy model for each map."""
    low, masses = model.odds()
    return low, [entropy_coding().model.Categorical(row, perfect=False) for row in masses.cpu().numpy()]


def _to_codes(run: Run, pixels: Pixels) -> tuple[int, int, Words, float]:
    model: Any = run.model
    value, cell = (with_alpha_in(pixels) if pixels.shape[2] == 4 else pixels), model.cell
    value = np.pad(value, ((0, -value.shape[0] % cell), (0, -value.shape[1] % cell), (0, 0)), mode="edge")
    x = torch.from_numpy(value).permute(2, 0, 1)[None].expand(1, run.spec.shape[0], -1, -1)

    def squeezed(part: Tensor) -> Tensor:
        z: Tensor = model.squeeze(part.to(run.device).float() / 127.5 - 1)
        return z.cpu()

    with torch.no_grad():
        z = _by_tiles(squeezed, x, cell, 1, model.reach)[0]
    coder, (low, tables) = stack(), _tables(model)
    symbols = (z.flatten(1).long() - low).numpy().astype(np.int32)
    for one, table in zip(symbols[::-1], tables[::-1], strict=True):  # a stack: the last in is the first out
        coder.encode_reverse(one, table)
    _, masses = model.odds()
    bits = -masses.cpu().log2().gather(1, torch.from_numpy(symbols).long()).sum().item()
    return 0, zlib.crc32(symbols.astype("<i4").tobytes()), coder.get_compressed(), bits


def _from_codes(run: Run, words: Words, shape: tuple[int, int, int], first: int, check: int, name: str) -> Pixels:
    model: Any = run.model
    height, width, channels = shape
    cell = model.cell
    grid = (-(-height // cell), -(-width // cell))
    coder, (low, tables) = stack(words), _tables(model)
    symbols = np.stack([coder.decode(table, grid[0] * grid[1]) for table in tables])
    agree(zlib.crc32(symbols.astype("<i4").tobytes()), check, name)
    z = torch.from_numpy(symbols).float() + low

    def expanded(part: Tensor) -> Tensor:
        x: Tensor = model.expand(part.to(run.device))
        if channels == 1:  # a grey picture went in
            x = x.mean(1, keepdim=True)
        return ((x + 1) * 127.5).round().clamp(0, 255).to("cpu", torch.uint8)

    with torch.no_grad():
        x = _by_tiles(expanded, z.view(1, -1, *grid), 1, cell, model.reach)
    pixels: Pixels = x[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()
    return straight(pixels) if channels == 4 else pixels


def _by_tiles(f: Callable[[Tensor], Tensor], x: Tensor, pixels: int, out: int, reach: int) -> Tensor:
    """``f`` of ``x (1, C, H, W)`` part by part, so that what is between takes no more memory for large ones; equal to ``f`` at once.

    A cell is ``pixels`` of ``x`` and ``out`` of the result; parts overlap by the ``reach`` of ``f`` in cells.
    """
    rows, columns = x.shape[2] // pixels, x.shape[3] // pixels
    lines = []
    for top in range(0, rows, _TILE):
        line = []
        for left in range(0, columns, _TILE):
            t, b = max(0, top - reach), min(rows, top + _TILE + reach)
            le, ri = max(0, left - reach), min(columns, left + _TILE + reach)
            part = f(x[:, :, t * pixels : b * pixels, le * pixels : ri * pixels])
            y, z = (top - t) * out, (left - le) * out
            line.append(part[:, :, y : y + min(_TILE, rows - top) * out, z : z + min(_TILE, columns - left) * out])
        lines.append(torch.cat(line, 3))
    return torch.cat(lines, 2)


# --- exactly: levels by bits back ------------------------------------------------------------------------------------


class _BitsBack:
    """One tile at a time onto a stack of bits (Townsend, Bird & Barber 2019, arXiv:1901.04866, section 2.3).

    A code ``z`` is popped from what earlier tiles left, as if it were drawn from ``q(z|x)``; then ``x`` is pushed by
    ``p(x|z)`` and ``z`` by ``p(z)``. Reading goes the other way and gives the popped bits back, so that a tile takes
    ``log q(z|x) - log p(x, z)``, minus its ELBO on average. The first tile finds no bits to pop: its ``z`` is the
    posterior's mean.
    """

    def __init__(self, run: Run) -> None:
        entropy = entropy_coding().model
        self.model: Any = copy.deepcopy(run.model).double().cpu().eval()
        self.spec: Spec = run.spec
        self.codes = entropy.QuantizedGaussian(-_FINE * _WIDE, _FINE * _WIDE)
        self.levels = entropy.Categorical(perfect=False)
        self.width = self.model.latent.dims
        self.prior = np.zeros(self.width), np.full(self.width, float(_FINE))

    def posterior(self, x: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation in steps, on grids of their own."""
        mean, log_var = self.model.posterior(Batch(x))
        mean = (mean[0].double() * _FINE * 8).round() / 8
        log_std = ((0.5 * log_var[0].double() + math.log(_FINE)) * 64).round() / 64
        return mean.clamp(-_FINE * _WIDE, _FINE * _WIDE).numpy(), log_std.clamp(-1, 8).exp().numpy()

    def masses(self, z: NDArray[np.int32]) -> NDArray[np.float64]:
        code = torch.from_numpy(z).double()[None] / _FINE
        masses = self.model.log_masses(code, grid=_GRID)[0].flatten(0, -2).double().exp()
        return np.ascontiguousarray(masses.numpy())

    def push(self, coder: Any, x: Tensor, plain: bool) -> None:
        mean, std = self.posterior(x)
        z = np.rint(mean).astype(np.int32) if plain else coder.decode(self.codes, mean, std)
        coder.encode_reverse(x.flatten().numpy().astype(np.int32), self.levels, self.masses(z))
        coder.encode_reverse(z, self.codes, *self.prior)

    def pop(self, coder: Any, plain: bool) -> Tensor:
        z = coder.decode(self.codes, *self.prior)
        x = torch.from_numpy(coder.decode(self.levels, self.masses(z))).long().view(1, *self.spec.shape)
        if not plain:
            coder.encode_reverse(z, self.codes, *self.posterior(x))
        return x


def _tiles(run: Run, pixels: Pixels) -> Tensor:
    """Levels of a picture as bytes, tile by tile, edges repeated: ``(tiles, C, h, w)``."""
    channels, height, width = run.spec.shape
    value = np.repeat(pixels, channels // pixels.shape[2], 2)
    down, right = -pixels.shape[0] % height, -pixels.shape[1] % width
    value = np.pad(value, ((0, down), (0, right), (0, 0)), mode="edge")
    rows, columns = value.shape[0] // height, value.shape[1] // width
    parts = value.reshape(rows, height, columns, width, channels).swapaxes(1, 2).reshape(-1, height, width, channels)
    some = (parts[i : i + 64] for i in range(0, len(parts), 64))
    return torch.cat([run.codec.encode([Item(part) for part in each]).x.to(torch.uint8) for each in some])


def _picture(run: Run, tiles: Tensor, shape: tuple[int, int, int]) -> Pixels:
    height, width, channels = shape
    _, h, w = run.spec.shape
    parts = np.stack([item.value for some in tiles.split(64) for item in run.codec.decode(some)])
    rows, columns = -(-height // h), -(-width // w)
    value = parts.reshape(rows, columns, h, w, -1).swapaxes(1, 2).reshape(rows * h, columns * w, -1)
    return np.ascontiguousarray(value[:height, :width, :channels])


@torch.no_grad()
def _to_levels(run: Run, pixels: Pixels) -> tuple[int, int, Words, float]:
    tiles, back = _tiles(run, pixels), _BitsBack(run)
    check = _check(tiles)
    for plain in (1, len(tiles)):  # where a first tile leaves too few bits for the next one's code, none gets bits back
        coder = stack()
        for i, x in enumerate(tiles.split(1)):
            back.push(coder, x.long(), i < plain)
        words = coder.get_compressed()
        if _check(_popped(back, words, len(tiles), plain)) == check:
            break
    else:
        raise BottegaError("the picture does not come back from its own file; please report this, with the run")
    scores = [run.model.log_prob(Batch(some.long()).to(run.device), _rng(run)) for some in tiles.split(64)]  # type: ignore[operator]
    return plain, check, words, -torch.cat(scores).double().sum().item() / math.log(2)


def _rng(run: Run) -> Any:
    from bottega.core import Rng

    return Rng(0, device=run.device)


def _popped(back: _BitsBack, words: Words, count: int, plain: int) -> Tensor:
    coder = stack(words)
    found = [back.pop(coder, i < plain).to(torch.uint8) for i in reversed(range(count))]
    return torch.cat(found[::-1])


def _check(tiles: Tensor) -> int:
    return zlib.crc32(tiles.numpy().tobytes())


@torch.no_grad()
def _from_levels(run: Run, words: Words, shape: tuple[int, int, int], first: int, check: int, name: str) -> Pixels:
    _, height, width = run.spec.shape
    count = -(-shape[0] // height) * -(-shape[1] // width)
    tiles = _popped(_BitsBack(run), words, count, first)
    agree(_check(tiles), check, name)
    return _picture(run, tiles, shape)


# --- beside others ---------------------------------------------------------------------------------------------------


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal-to-noise ratio in dB of two pictures of bytes; infinite when they are equal.

    Where there is alpha, colours count as far as they are seen: multiplied by it.
    """
    total = 0
    for y in range(0, len(a), _ROWS):
        one, other = (with_alpha_in(v) if v.shape[2] == 4 else v for v in (a[y : y + _ROWS], b[y : y + _ROWS]))
        total += int(np.square(one.astype(np.int64) - other).sum())
    return 10 * math.log10(255**2 * a.size / total) if total else math.inf


def beside(pixels: Pixels, least_db: float) -> dict[str, int]:
    """Bytes of the picture by PNG and lossless WebP, and by JPEG and WebP at the lowest quality that reaches ``least_db``.

    A way that does not reach it at any quality is left out, and one that cannot hold the picture: too large, or with alpha.
    """
    whole = to_pil(pixels)
    clear = pixels.shape[2] == 4 and bool((pixels[..., 3] < 255).any())
    picture = whole.convert("RGB") if whole.mode == "RGBA" and not clear else whole
    out = {"png": len(_saved(picture, "PNG", optimize=True))}
    if _fits(picture, "WEBP"):
        out["webp_lossless"] = len(_saved(picture, "WEBP", lossless=True))
    if math.isinf(least_db):
        return out
    ways: dict[str, dict[str, Any]] = {
        "jpeg": {"format": "JPEG", "optimize": True}, "webp": {"format": "WEBP", "method": 6},
    }  # fmt: skip
    for name, how in ways.items():
        if not _fits(picture, how["format"]):
            continue
        low, high, best = 1, 100, None
        while low <= high:  # what is lost falls with the quality
            middle = (low + high) // 2
            data = _saved(picture, **how, quality=middle)
            with Image.open(io.BytesIO(data), formats=FORMATS) as back:
                good = psnr(pixels, np.asarray(back.convert(whole.mode)).reshape(pixels.shape)) >= least_db
            if good:
                high, best = middle - 1, len(data)
            else:
                low = middle + 1
        if best is not None:
            out[name] = best
    return out


def _fits(picture: Image.Image, format: str) -> bool:
    return max(picture.size) <= _SIDE[format] and (format, picture.mode) != ("JPEG", "RGBA")


def _saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    made = io.BytesIO()
    picture.save(made, format, **options)
    return made.getvalue()
