"""Pictures: folders, archives and the classic binary sets outside; ``(C, H, W)`` numbers or levels inside."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self
from xml.sax.saxutils import escape

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from bottega.codecs._files import ARCHIVES, contents, is_archive, read_bytes
from bottega.core import Batch, DataError, Item, OutputError, RecipeError, Rng, Spec, nearest

__all__ = ["ImageCodec", "read_mark", "SUFFIXES"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # nothing else is tried, so no picture can start another program
_IDX = re.compile(r"images?[.-]idx3-ubyte(\.gz)?$")
_CIFAR = re.compile(r"(data|test)_batch(_\d+)?\.bin$")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip

Pixels = NDArray[np.uint8]


class ImageCodec:
    """Pictures as ``(C, H, W)``: real numbers in [-1, 1], or ordered levels.

    ``read`` takes a folder of PNG, JPEG, WebP, BMP or GIF (first frame) at any depth, one such file, a zip or tar of
    them (never unpacked to disk), IDX files (MNIST; with or without ``.gz``, labels found beside them by name), CIFAR-10
    in its binary form, or ``.npz`` / ``.npy`` with ``(N, H, W)`` or ``(N, H, W, C)`` uint8 under ``x`` or ``images`` and
    labels under ``y`` or ``labels``. Pickles are refused. Pictures are turned as their camera said, laid on
    ``background`` where they are transparent, and brought to ``size`` at once, so a folder of photographs fits in memory.

    Args:
        size: height and width in pixels; 0 keeps the data's own size, which must then be the same for all.
        channels: 1 grey, 3 colour; 0 takes grey when every picture is stored grey, else colour.
        levels: 0 for real numbers ``v / 127.5 - 1``; k for whole numbers ``0 .. k-1``, the nearest of k even steps.
        binarise: how ``levels = 2`` is reached: ``"threshold"`` (on from mid-grey up) or ``"draw"`` (on with
            probability v / 255 from a stream seeded by the picture's own pixels: static binarisation after
            Salakhutdinov & Murray 2008).
        labels: ``"auto"`` (names of class folders, or what the data says), ``"folder"`` (the same, and an error where a
            picture stands in none), ``"none"``, or a CSV relative to the data with the columns ``file`` and ``label``;
            ``"captions.csv:category"`` names another column.
        cond: how labels condition: ``"class"`` (one of the names seen) or ``"words"`` (a caption, word by word).
        fit: how a picture comes to a square: ``"crop"`` the middle, ``"pad"`` with ``background``, or ``"stretch"``.
        background: under transparent parts and around padded pictures; a colour by name or ``#rrggbb``.
        on_error: ``"stop"`` at a picture that cannot be read, or ``"skip"`` it (its message is kept in ``skipped``).

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = ImageCodec(size=0).fit([Item(np.zeros((8, 8, 1), np.uint8), "zero"), Item(np.full((8, 8, 1), 255, np.uint8), "one")])
    >>> codec.spec.shape, codec.classes, codec.encode([Item(np.zeros((8, 8, 1), np.uint8))]).x.unique().tolist()
    ((1, 8, 8), ['one', 'zero'], [-1.0])
    """

    medium = "image"

    def __init__(
        self,
        *,
        size: int = 32,
        channels: int = 0,
        levels: int = 0,
        binarise: Literal["threshold", "draw"] = "threshold",
        labels: str = "auto",
        cond: Literal["class", "words"] = "class",
        fit: Literal["crop", "pad", "stretch"] = "crop",
        background: str = "white",
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        if size < 0:
            raise RecipeError(f"codec.size is {size}; give pixels, or 0 to keep the data's own size")
        if channels not in (0, 1, 3):
            raise RecipeError(f"codec.channels is {channels}; use 1 (grey), 3 (colour) or 0 (what the data has)")
        if levels == 1 or not 0 <= levels <= 256:
            raise RecipeError(f"codec.levels is {levels}; use 0 (real numbers) or 2 to 256")
        for name, value, known in (
            ("binarise", binarise, ("threshold", "draw")),
            ("cond", cond, ("class", "words")),
            ("fit", fit, ("crop", "pad", "stretch")),
            ("on_error", on_error, ("stop", "skip")),
        ):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        try:
            self.background = ImageColor.getrgb(background)[:3]
        except ValueError:
            raise RecipeError(
                f"codec.background is {background!r}; use a colour such as 'white' or '#20304f'"
            ) from None
        self.size, self.channels, self.levels, self.binarise = size, channels, levels, binarise
        self.labels, self.cond, self.framing, self.on_error = labels, cond, fit, on_error
        self.classes: list[str] = []
        self.words: list[str] = []
        self.skipped: list[str] = []

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Pictures as uint8 ``(H, W, C)`` with their class names, sorted by name.

        Raises:
            DataError: nothing there, no picture in it, an unreadable picture, a wrong number of channels, a pickle.
        """
        source = Path(source)
        self.skipped = []
        if not source.exists():
            raise DataError(f"there is no {source}; give a folder of pictures, an archive, IDX, CIFAR or .npz file")
        if source.is_dir():
            items = self._folder(source)
        elif is_archive(source):
            items = self._pictures(source)
        else:
            items = self._file(source)
        if not items:
            lost = f" ({len(self.skipped)} unreadable)" if self.skipped else ""
            raise DataError(
                f"{source} holds no picture{lost}; supported: {', '.join(sorted(SUFFIXES))}, IDX, CIFAR, .npz"
            )
        return items

    def _folder(self, source: Path) -> list[Item]:
        if items := self._pictures(source):
            return items
        if self.skipped:
            return []
        inside = sorted(p for p in source.iterdir() if p.is_file() and not p.name.startswith("."))
        packed = [p for p in inside if is_archive(p) or p.suffix in {".npz", ".npy"} or _IDX.search(p.name)]
        if any(_IDX.search(p.name) for p in packed):  # the training side, where both lie here
            packed = [p for p in packed if p.name.startswith("train")] or packed
        if len(packed) > 1:
            names = ", ".join(p.name for p in packed)
            raise DataError(f"{source} holds no pictures but several packed sets ({names}); name one of them")
        if not packed:
            return []
        return self._pictures(packed[0]) if is_archive(packed[0]) else self._file(packed[0])

    def _file(self, path: Path) -> list[Item]:
        if path.suffix.lower() in SUFFIXES:
            return self._labelled(path.parent, [*self._try(path.name, str(path), read_bytes(path))], one=True)
        if path.suffix in {".npz", ".npy"}:
            return self._arrays(path)
        data = read_bytes(path)
        if data[:2] in _PICKLES:
            raise DataError(_pickled(path))
        if _CIFAR.search(path.name):
            names = path.with_name("batches.meta.txt")
            return self._cifar(path.name, str(path), data, _lines(read_bytes(names)) if names.exists() else [])
        if data[:4] == b"\x00\x00\x08\x03":
            return self._idx(path, data)
        known = ", ".join([*sorted(SUFFIXES), *ARCHIVES, ".npz", "IDX", "CIFAR-10 binary"])
        raise DataError(f"{path} is no picture and no set of pictures that is known; supported: {known}")

    def _pictures(self, source: Path) -> list[Item]:
        """Pictures (and CIFAR batches) in a folder or archive."""

        def wanted(name: str) -> bool:
            path = PurePosixPath(name)
            batch = path.name.startswith("data_batch") or path.name == "batches.meta.txt"
            return batch or path.suffix.lower() in SUFFIXES

        items: list[Item] = []
        batches: list[tuple[str, bytes]] = []
        names: list[str] = []
        for name, data in contents(source, wanted):
            if data[:2] in _PICKLES:
                raise DataError(_pickled(source / name))
            if name.endswith("batches.meta.txt"):
                names = _lines(data)
            elif _CIFAR.search(name):
                batches.append((name, data))
            else:
                items += self._try(name, f"{source}/{name}", data)
        if batches and not items:
            return [i for name, data in sorted(batches) for i in self._cifar(name, f"{source}/{name}", data, names)]
        return self._labelled(source if source.is_dir() else source.parent, sorted(items, key=lambda i: i.name))

    def _try(self, name: str, where: str, data: bytes) -> Iterator[Item]:
        try:
            yield Item(self._decode_file(data, where), name=name)
        except DataError as error:
            if self.on_error == "stop":
                raise
            self.skipped.append(str(error))

    def _decode_file(self, data: bytes, where: str) -> Pixels:
        if not data:
            raise DataError(f"{where} is empty; replace or remove it, or set codec.on_error = 'skip'")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                picture = Image.open(io.BytesIO(data), formats=FORMATS)
                if (
                    self.size and picture.format == "JPEG"
                ):  # decode large photographs at a fraction, still >= 2x too large
                    picture.draft(picture.mode, (2 * self.size, 2 * self.size))
                return self._prepared(_pixels(ImageOps.exif_transpose(picture)))
        except _UNREADABLE as error:
            why = "not a known picture format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise DataError(
                f"{where} is not a readable picture ({why}); replace or remove it, or set codec.on_error = 'skip'"
            ) from error

    def _labelled(self, root: Path, items: list[Item], one: bool = False) -> list[Item]:
        """The items with their classes, as ``labels`` says."""
        if self.labels == "none":
            return items
        if self.labels not in {"auto", "folder"}:
            return self._labelled_by_csv(root, items)
        folders = [PurePosixPath(item.name).parts[:-1] for item in items]
        shared = 0
        while folders and all(len(f) > shared for f in folders) and len({f[shared] for f in folders}) == 1:
            shared += 1
        bare = next((i for i, f in zip(items, folders, strict=True) if len(f) <= shared), None)
        if bare is None:
            return [Item(i.value, f[shared], i.name) for i, f in zip(items, folders, strict=True)]
        if self.labels == "folder" and not one:
            raise DataError(
                f"{bare.name} stands in no class folder; sort all pictures into folders, or set codec.labels"
            )
        return items

    def _labelled_by_csv(self, root: Path, items: list[Item]) -> list[Item]:
        file, _, column = self.labels.partition(":")
        path, column = root / file, column or "label"
        text = read_bytes(path).decode("utf-8-sig", "replace")
        rows = csv.DictReader(io.StringIO(text))
        for needed in ("file", column):
            if needed not in (rows.fieldnames or []):
                raise DataError(f"{path} has no column {needed!r}{nearest(needed, rows.fieldnames or [])}")
        label = {row["file"]: row[column] for row in rows}
        out = []
        for item in items:
            if not label.get(item.name):
                message = f"{path} has no {column} for {item.name}; add a row, or set codec.on_error = 'skip'"
                if self.on_error == "stop":
                    raise DataError(message)
                self.skipped.append(message)
                continue
            out.append(Item(item.value, label[item.name], item.name))
        return out

    def _arrays(self, path: Path) -> list[Item]:
        try:
            loaded = np.load(path, allow_pickle=False)
            arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            if "allow_pickle" in str(error):
                raise DataError(_pickled(path)) from error
            raise DataError(f"cannot read {path}: {error}; check that the file is whole") from error
        pictures = [k for k in ("x", "images", "frames") if k in arrays]
        pictures += [k for k, a in arrays.items() if a.ndim in (3, 4) and k not in pictures]
        if not pictures:
            raise DataError(f"{path} holds no array of pictures, only {', '.join(arrays) or 'nothing'}; call it 'x'")
        x = arrays[pictures[0]]
        if x.dtype != np.uint8:
            raise DataError(f"{path}: {pictures[0]!r} is {x.dtype}; store pictures as uint8, 0 to 255")
        labels = next((arrays[k] for k in ("y", "labels", "label") if k in arrays), None)
        return self._stack(path, x, None if labels is None else labels.reshape(-1).tolist())

    def _idx(self, path: Path, data: bytes) -> list[Item]:
        x = _idx_array(path, data)
        beside = (
            path.name.removesuffix(".gz").replace("images", "labels").replace("image", "label").replace("idx3", "idx1")
        )
        found = [
            p for p in (path.with_name(beside), path.with_name(beside + ".gz")) if beside != path.name and p.exists()
        ]
        labels = _idx_array(found[0], read_bytes(found[0])).tolist() if found else None
        return self._stack(path, x, labels)

    def _stack(self, path: Path, x: Pixels, labels: list[Any] | None) -> list[Item]:
        """Items from ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``."""
        if x.ndim == 3:
            x = x[..., None]
        if x.ndim != 4:
            raise DataError(f"{path}: pictures have shape {x.shape}; use (N, height, width, channels)")
        if x.shape[-1] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
            x = x.transpose(0, 2, 3, 1)
        if x.shape[-1] not in (1, 3, 4):
            raise DataError(f"{path}: pictures have {x.shape[-1]} channels; use 1 (grey), 3 (colour) or 4 (with alpha)")
        if labels is not None and len(labels) != len(x):
            raise DataError(f"{path}: {len(x)} pictures but {len(labels)} labels; they must be as many")
        conds = [None] * len(x) if labels is None or self.labels == "none" else [str(v) for v in labels]
        return [Item(self._prepared(v), c, f"{path.name}#{i}") for i, (v, c) in enumerate(zip(x, conds, strict=True))]

    def _cifar(self, name: str, where: str, data: bytes, classes: list[str]) -> list[Item]:
        """Rows of one label byte and 3,072 colour planes (Krizhevsky 2009)."""
        if not data or len(data) % 3073:
            raise DataError(f"{where} has {len(data)} bytes, not a multiple of 3073; it is truncated or not CIFAR-10")
        rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
        x = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        known = [classes[k] if k < len(classes) else str(k) for k in rows[:, 0].tolist()]
        conds = [None] * len(rows) if self.labels == "none" else known
        return [Item(self._prepared(v), c, f"{name}#{i}") for i, (v, c) in enumerate(zip(x, conds, strict=True))]

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn the size and channels of the data and the names of its classes.

        Raises:
            DataError: no pictures, or pictures of different sizes while ``size`` is 0.
        """
        if not items:
            raise DataError("there are no pictures to learn from; give at least one")
        height, width = (self.size, self.size) if self.size else self._common_size(items)
        channels = self.channels or (1 if all(_channels(i) <= 2 for i in items) else 3)
        known = [] if self.labels == "none" else [str(i.cond) for i in items if i.cond is not None]
        self.classes = self.words = []
        if self.cond == "words":
            self.words = sorted({word for caption in known for word in caption.lower().split()})
            self.longest = max((len(caption.split()) for caption in known), default=0)
        else:
            names = set(known)
            self.classes = sorted(names, key=_numbers_first) if len(names) > 1 else []
        self._set_spec((channels, height, width))
        return self

    def _common_size(self, items: Sequence[Item]) -> tuple[int, int]:
        height, width = items[0].value.shape[:2]
        for item in items:
            if item.value.shape[:2] != (height, width):
                h, w = item.value.shape[:2]
                raise DataError(
                    f"pictures differ in size: {items[0].name or 'the first'} is {width}x{height}, "
                    f"{item.name or 'another'} is {w}x{h}; set codec.size to bring them to one"
                )
        return height, width

    def _set_spec(self, shape: tuple[int, int, int]) -> None:
        cond = None
        if self.words:
            cond = Spec((self.longest,), vocab=len(self.words) + 1)  # word 0 is silence
        elif self.classes:
            cond = Spec((), vocab=len(self.classes))
        self.spec = Spec(shape, vocab=self.levels, ordinal=self.levels > 0, cond=cond)

    def _prepared(self, value: Pixels) -> Pixels:
        """Opaque, at ``size`` when one is set, and grey when ``channels`` is 1: ``(H, W, 1 or 3)``."""
        if value.shape[-1] in (2, 4):
            value = _opaque(value, self.background)
        if self.size and value.shape[:2] != (self.size, self.size):
            value = _resized(value, self.size, self.framing, self.background)
        if self.channels == 1 and value.shape[-1] == 3:
            value = np.asarray(Image.fromarray(value).convert("L"))[..., None]
        return value

    def _pixels(self, items: Sequence[Item]) -> Tensor:
        """uint8 ``(N, C, H, W)``."""
        channels, height, width = self.spec.shape
        out = np.empty((len(items), height, width, channels), np.uint8)
        for i, item in enumerate(items):
            if item.value.ndim != 3 or item.value.shape[-1] not in (1, 2, 3, 4):
                raise DataError(
                    f"{item.name or f'picture {i}'} has shape {item.value.shape}; use (height, width, channels) with "
                    "1 (grey), 3 (colour) or 4 (with alpha) channels"
                )
            value = self._prepared(item.value)
            if value.shape[:2] != (height, width):
                h, w = value.shape[:2]
                raise DataError(
                    f"{item.name or f'picture {i}'} is {w}x{h}, but this codec was fitted on {width}x{height}; "
                    "resize it, or set codec.size before training"
                )
            if value.shape[-1] > channels:
                raise DataError(
                    f"{item.name or f'picture {i}'} is in colour, but this codec was fitted on grey pictures; "
                    "set codec.channels to 1 (all to grey) or 3 (all in colour) before training"
                )
            out[i] = value  # one channel spreads over three
        if self.levels == 2:
            out = _drawn(out) if self.binarise == "draw" else (out >= 128).astype(np.uint8) * 255
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    def _numbers(self, pixels: Tensor) -> Tensor:
        """uint8 to what the spec says: real in [-1, 1] float32, or the nearest level int64."""
        if not self.levels:
            return pixels.float() / 127.5 - 1
        return (pixels.long() * (2 * (self.levels - 1)) + 255) // 510

    def _conds(self, items: Sequence[Item]) -> Tensor | None:
        if self.spec.cond is None:
            return None
        try:
            return self.encode_cond([i.cond for i in items])
        except RecipeError as error:
            raise DataError(f"a picture's label is new: {error}") from error

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(B, C, H, W)``, one row for each picture; resized with antialiasing (Lanczos) where needed."""
        return Batch(self._numbers(self._pixels(items)), self._conds(items))

    def source(self, items: Sequence[Item], *, train: bool) -> _Rows:
        """All pictures as bytes in memory, made numbers when taken; the same for training and judging."""
        return _Rows(self, self._pixels(items), self._conds(items))

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Class names as int64 ``(B,)``, None as -1 (unknown); captions as ``(B, longest)`` word numbers, 0 is silence.

        Raises:
            RecipeError: a class or word that was never seen, with the nearest that was.
        """
        if self.spec.cond is None:
            raise RecipeError("this codec knows no classes: the data it was fitted on had none")
        if self.words:
            place = {word: k + 1 for k, word in enumerate(self.words)}
            rows = [self._caption(v, place) for v in values]
            return torch.tensor(rows, dtype=torch.long).reshape(len(values), self.longest)
        number = {name: k for k, name in enumerate(self.classes)} | {None: -1}
        for value in values:
            if value is not None and str(value) not in number:
                raise RecipeError(f"unknown class {str(value)!r}{nearest(str(value), self.classes)}")
        return torch.tensor([number[None if v is None else str(v)] for v in values], dtype=torch.long)

    def _caption(self, value: Any, place: dict[str, int]) -> list[int]:
        words = [] if value is None else str(value).lower().split()
        for word in words:
            if word not in place:
                raise RecipeError(f"unknown word {word!r} in the caption {str(value)!r}{nearest(word, self.words)}")
        if len(words) > self.longest:
            raise RecipeError(
                f"the caption {str(value)!r} has {len(words)} words; the most that was learned is {self.longest}"
            )
        return [place[w] for w in words] + [0] * (self.longest - len(words))

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The inverse of ``encode``; numbers beyond [-1, 1] are clipped."""
        if self.levels:
            most = self.levels - 1
            up = most // 2 if most > 127 else 0  # steps of under two greys come back only from the nearest
            pixels = (x.long().clamp(0, most) * 255 + up) // most
        else:
            pixels = ((x.float() + 1) * 127.5).round().clamp(0, 255).nan_to_num(0)
        arrays = pixels.to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        said: list[str | None] = [None] * len(arrays)
        if cond is not None and self.words:
            said = [" ".join(self.words[k - 1] for k in row if k) or None for row in cond.tolist()]
        elif cond is not None:
            said = [self.classes[k] if k >= 0 else None for k in cond.tolist()]
        return [Item(value, c) for value, c in zip(arrays, said, strict=True)]

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A picture to change and which parts to keep: ``(1, C, H, W)`` and bool of the same shape.

        Args:
            source: a picture file, or a piece.
            mask: a picture whose white parts are made anew; None makes the lower half anew.
        """
        item = source if isinstance(source, Item) else self.read(source)[0]
        batch = self.encode([item if self.spec.cond is None else Item(item.value, self._known(item.cond), item.name)])
        channels, height, width = self.spec.shape
        anew = np.zeros((height, width), bool)
        if mask is None:
            anew[height // 2 :] = True
        else:
            grey = Image.fromarray(_opaque(_rgb(self._decode_plain(mask)), (0, 0, 0))).convert("L")
            anew = np.asarray(grey.resize((width, height), Image.Resampling.NEAREST)) >= 128
        return batch, torch.from_numpy(~anew).expand(1, channels, height, width).clone()

    def _known(self, cond: Any) -> Any:
        """A folder's name is a condition only where it is one of the classes."""
        return cond if self.words or str(cond) in self.classes else None

    def _decode_plain(self, path: Path) -> Pixels:
        try:
            return _pixels(Image.open(io.BytesIO(read_bytes(Path(path))), formats=FORMATS))
        except _UNREADABLE as error:
            raise DataError(
                f"{path} is not a readable picture ({error}); give a PNG whose white parts are made anew"
            ) from error

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One picture as PNG. ``mark`` goes into a ``bottega`` text chunk and into XMP with IPTC's DigitalSourceType.

        Raises:
            OutputError: the place cannot be written.
        """
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        info = PngImagePlugin.PngInfo()
        if mark is not None:
            info.add_itxt("bottega", json.dumps(mark, ensure_ascii=False))
            info.add_itxt("XML:com.adobe.xmp", _xmp(mark))
            if "software" in mark:
                info.add_text("Software", mark["software"])
        return _save(_image(item.value), path, info)

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A contact sheet about 800 pixels wide: small pictures enlarged pixel by pixel, captions where there are any."""
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        return _save(_sheet(items), path, None)

    def state(self) -> dict[str, Any]:
        """Shape, classes and caption words."""
        out: dict[str, Any] = {"shape": list(self.spec.shape), "classes": self.classes}
        return out | ({"words": self.words, "longest": self.longest} if self.words else {})

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.classes, self.words = list(state["classes"]), list(state.get("words", []))
        self.longest = state.get("longest", 0)
        channels, height, width = state["shape"]
        self._set_spec((channels, height, width))
        return self


@dataclass(frozen=True)
class _Rows:
    """Pictures as bytes, a quarter of the memory of numbers."""

    codec: ImageCodec
    pixels: Tensor
    cond: Tensor | None

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: Tensor) -> Batch:
        return Batch(self.codec._numbers(self.pixels[rows]), None if self.cond is None else self.cond[rows])


def _pickled(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code when loaded; take the set's binary form (for CIFAR-10 the "
        "'binary version', data_batch_*.bin) or plain uint8 arrays"
    )


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]


def _numbers_first(name: str) -> tuple[bool, int, str]:
    return (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)


def _idx_array(path: Path, data: bytes) -> Pixels:
    """The array of an IDX file: two zero bytes, the kind (8 is uint8), the number of axes, each axis, the values."""
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes; it should begin with 00 00 08")
    axes = data[3]
    head = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", data[4:head]) if len(data) >= head else ()
    if len(data) - head != math.prod(shape) or not shape:
        raise DataError(f"{path} is truncated: {len(data)} bytes, but its head announces {head + math.prod(shape)}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _channels(item: Item) -> int:
    return item.value.shape[-1] if item.value.ndim == 3 else 3


def _pixels(picture: Image.Image) -> Pixels:
    """A decoded picture as uint8 ``(H, W, C)``: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return (np.asarray(picture, np.int64) >> 8).clip(0, 255).astype(np.uint8)[..., None]
    see_through = "transparency" in picture.info or picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"}
    grey = picture.mode in {"1", "L", "LA", "La"}
    mode = {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[grey, see_through]
    value = np.asarray(picture.convert(mode))
    return value if value.ndim == 3 else value[..., None]


def _opaque(value: Pixels, background: tuple[int, ...]) -> Pixels:
    """Laid on ``background``: ``(H, W, 2 or 4) -> (H, W, 1 or 3)``."""
    if value.shape[-1] in (1, 3):
        return value
    under = Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0)) if value.shape[-1] == 2 else background
    alpha = value[..., -1:].astype(np.float32) / 255
    return (value[..., :-1] * alpha + np.asarray(under, np.float32) * (1 - alpha) + 0.5).astype(np.uint8)


def _rgb(value: Pixels) -> Pixels:
    """``(H, W, any) -> (H, W, 3 or 4)``."""
    if value.shape[-1] > 2:
        return value
    return np.concatenate([value[..., :1].repeat(3, -1), value[..., 1:]], -1)


def _image(value: Pixels) -> Image.Image:
    return Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value)


def _resized(value: Pixels, size: int, framing: str, background: tuple[int, ...]) -> Pixels:
    picture = _image(value)
    width, height = picture.size
    if framing == "pad":
        scale = size / max(width, height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        inner = picture.resize(small, Image.Resampling.LANCZOS)
        picture = Image.new("RGB", (size, size), background).convert(picture.mode)
        picture.paste(inner, ((size - small[0]) // 2, (size - small[1]) // 2))
    else:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side) if framing == "crop" else None
        picture = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
    out = np.asarray(picture)
    return out if out.ndim == 3 else out[..., None]


def _drawn(pixels: Pixels) -> Pixels:
    """Static binarisation: each picture's draws come from a stream seeded by its pixels, so rows stay independent."""
    out = np.empty_like(pixels)
    for i, value in enumerate(pixels):
        u = Rng(zlib.crc32(value.tobytes())).uniform(*value.shape).numpy()
        out[i] = np.where(u * 255 < value, 255, 0)
    return out


def _xmp(mark: dict[str, str]) -> str:
    """An XMP packet that says a machine made the picture (IPTC Photo Metadata 2023.1, Digital Source Type)."""
    said = "".join(
        f"<bottega:{k}>{escape(v)}</bottega:{k}>" for k, v in mark.items() if re.fullmatch(r"[A-Za-z_]\w*", k)
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:bottega="https://bottega.example/ns/1.0/">'
        "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
        f"</Iptc4xmpExt:DigitalSourceType><xmp:CreatorTool>{escape(mark.get('software', 'bottega'))}</xmp:CreatorTool>"
        f'{said}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def read_mark(path: Path) -> dict[str, str]:
    """What ``write`` said of a PNG's making; empty when it says nothing.

    Raises:
        DataError: not a readable picture.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            picture.load()
            mark = json.loads(getattr(picture, "text", {}).get("bottega", "{}"))
    except (*_UNREADABLE, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a readable picture ({error}); give a PNG") from error
    return {str(k): str(v) for k, v in mark.items()}


def _save(picture: Image.Image, path: Path, info: PngImagePlugin.PngInfo | None) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, "PNG", pnginfo=info, optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    return path


_PAPER, _INK = (250, 249, 246), (86, 84, 80)


def _sheet(items: Sequence[Item], width: int = 800) -> Image.Image:
    pictures = [_image(_opaque(item.value, (255, 255, 255))).convert("RGB") for item in items]
    n = len(pictures)
    if not n:
        raise DataError("there are no pictures to show; give at least one")
    columns = _columns(n)
    margin, gap = 20, 6
    room = (width - 2 * margin - gap * (columns - 1)) / columns
    widest, tallest = max(p.width for p in pictures), max(p.height for p in pictures)
    scale = room / max(widest, tallest)
    scale = float(round(scale)) if scale >= 1 else scale  # whole pixels stay crisp
    tile_w, tile_h = max(1, round(widest * scale)), max(1, round(tallest * scale))
    captions = [None if item.cond is None else str(item.cond) for item in items]
    line = 20 if any(captions) else 0
    font = _font(13)
    if line:  # short names on small tiles need room to be read
        step_w = max(tile_w, min(64, round(room)))
    else:
        step_w = tile_w
    rows = math.ceil(n / columns)
    sheet = Image.new(
        "RGB",
        (2 * margin + columns * step_w + gap * (columns - 1), 2 * margin + rows * (tile_h + line) + gap * (rows - 1)),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        left = margin + (k % columns) * (step_w + gap) + (step_w - tile_w) // 2
        top = margin + (k // columns) * (tile_h + line + gap)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
        sheet.paste(picture.resize(size, how), (left + (tile_w - size[0]) // 2, top + (tile_h - size[1]) // 2))
        if captions[k]:
            text = _shortened(captions[k] or "", font, step_w)
            draw.text((left + tile_w / 2, top + tile_h + 3), text, _INK, font, anchor="ma")
    return sheet


def _columns(n: int) -> int:
    """Columns of a sheet: near a square, full rows where a nearby number allows them."""
    near = math.ceil(math.sqrt(n))
    if n <= 4:
        return n
    return next((c for c in range(near, 2 * near + 1) if n % c == 0 and c <= 12), min(near, 16))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and covers more writing systems than Pillow's own font."""
    from matplotlib import get_data_path

    return ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    text = " ".join(text.split())
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
