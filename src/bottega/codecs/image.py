"""Pictures: folders, archives and the classic binary sets outside; ``(C, H, W)`` numbers or levels inside."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from xml.sax.saxutils import escape

import numpy as np
import torch
from PIL import Image, ImageColor, PngImagePlugin
from torch import Tensor

from bottega.codecs._degrade import DEGRADATIONS, degraded, degraded_shape
from bottega.codecs._labels import class_numbers, numbers_first, word_numbers
from bottega.codecs._picture_files import SUFFIXES, decoded, read_mask, read_pairs, read_pictures, size_of
from bottega.codecs._pixels import (
    FORMATS,
    UNREADABLE,
    Pixels,
    opaque,
    resized,
    rgb,
    straight,
    to_pil,
    with_alpha,
    with_alpha_in,
)  # fmt: skip
from bottega.codecs._sheet import draw_beside, draw_sheet
from bottega.core import Batch, DataError, Item, OutputError, RecipeError, Rng, Spec, nearest

__all__ = ["ImageCodec", "read_mark", "SUFFIXES"]


class ImageCodec:
    """Pictures as ``(C, H, W)``: real numbers in [-1, 1], or ordered levels.

    ``read`` takes a folder of PNG, JPEG, WebP, BMP or GIF (first frame) at any depth, one such file, a zip or tar of
    them (never unpacked to disk), IDX files (MNIST; with or without ``.gz``, labels found beside them by name), CIFAR-10
    in its binary form, or ``.npz`` / ``.npy`` with ``(N, H, W)`` or ``(N, H, W, C)`` uint8 under ``x`` or ``images`` and
    labels under ``y`` or ``labels``. Pickles are refused. Pictures are turned as their camera said, laid on
    ``background`` where they are transparent, and brought to ``size`` at once, so a folder of photographs fits in memory.

    Args:
        size: height and width in pixels; 0 keeps the data's own size, which must then be the same for all.
        channels: 1 grey, 3 colour, 4 colour and alpha (premultiplied inside, so that what lies under transparency cannot
            be seen; PNG with alpha outside); 0 takes grey when every picture is stored grey, else colour.
        levels: 0 for real numbers ``v / 127.5 - 1``; k for whole numbers ``0 .. k-1``, the nearest of k even steps.
        binarise: how ``levels = 2`` is reached: ``"threshold"`` (on from mid-grey up), ``"draw"`` (on with
            probability v / 255 from a stream seeded by the picture's own pixels: static binarisation after
            Salakhutdinov & Murray 2008) or ``"anew"`` (training draws again each time a picture comes by, dynamic
            binarisation as in Burda et al. 2015, arXiv:1509.00519; all else sees the static draw).
        labels: ``"auto"`` (names of class folders, or what the data says), ``"folder"`` (the same, and an error where a
            picture stands in none), ``"none"``, or a CSV relative to the data with the columns ``file`` and ``label``;
            ``"captions.csv:category"`` names another column.
        cond: what is known of a picture: ``"class"`` (its label, one of the names seen), ``"words"`` (its label is a
            caption, word by word) or ``"picture"``: the data are pairs, two folders ``input/`` and ``target/`` with the
            same file names, and what is known of each target is its input (grey or colour, as it is stored).
        degrade: what is known is the picture itself, spoilt: ``"half"``, ``"quarter"`` (smaller: super-resolution),
            ``"grey"``, ``"blur"``, ``"noise"`` or ``"edges"`` (a sketch); labels are then left aside.
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
        binarise: Literal["threshold", "draw", "anew"] = "threshold",
        labels: str = "auto",
        cond: Literal["class", "words", "picture"] = "class",
        degrade: Literal["", "half", "quarter", "grey", "blur", "noise", "edges"] = "",
        fit: Literal["crop", "pad", "stretch"] = "crop",
        background: str = "white",
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        if size < 0:
            raise RecipeError(f"codec.size is {size}; give pixels, or 0 to keep the data's own size")
        if channels not in (0, 1, 3, 4):
            raise RecipeError(
                f"codec.channels is {channels}; use 1 (grey), 3 (colour), 4 (with alpha) or 0 (grey or colour as the data is)"
            )
        if levels == 1 or not 0 <= levels <= 256:
            raise RecipeError(f"codec.levels is {levels}; use 0 (real numbers) or 2 to 256")
        for name, value, known in (
            ("binarise", binarise, ("threshold", "draw", "anew")),
            ("cond", cond, ("class", "words", "picture")),
            ("degrade", degrade, ("", *DEGRADATIONS)),
            ("fit", fit, ("crop", "pad", "stretch")),
            ("on_error", on_error, ("stop", "skip")),
        ):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        if degrade and cond == "words":
            raise RecipeError(f"codec.degrade is {degrade!r}, so a picture is what is known; leave codec.cond out")
        try:
            self.background = ImageColor.getrgb(background)[:3]
        except ValueError:
            raise RecipeError(
                f"codec.background is {background!r}; use a colour such as 'white' or '#20304f'"
            ) from None
        self.size, self.channels, self.levels, self.binarise = size, channels, levels, binarise
        self.labels, self.cond, self.framing, self.on_error = labels, cond, fit, on_error
        self.degrade, self.pairs = degrade, cond == "picture" and not degrade
        self.classes: list[str] = []
        self.words: list[str] = []
        self.skipped: list[str] = []

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Pictures as uint8 ``(H, W, C)`` with their class names, sorted by name.

        Raises:
            DataError: nothing there, no picture in it, an unreadable picture, a wrong number of channels, a pickle, a
                class folder without pictures, a picture without the other of its pair.
        """
        self.skipped = []
        skipped = self.skipped if self.on_error == "skip" else None
        if self.pairs and not (Path(source).is_file() and Path(source).suffix.lower() in SUFFIXES):
            return read_pairs(Path(source), self._prepared, self._framed, size=self.size, skipped=skipped)
        return read_pictures(Path(source), self._prepared, size=self.size, labels=self.labels, skipped=skipped)

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
        given = None
        if self.degrade:
            given = degraded_shape((channels, height, width), self.degrade)
        elif self.pairs:
            given = self._common_given(items)
        elif self.cond == "words":
            self.words = sorted({word for caption in known for word in caption.lower().split()})
            self.longest = max((len(caption.split()) for caption in known), default=0)
        else:
            names = set(known)
            self.classes = sorted(names, key=numbers_first) if len(names) > 1 else []
        self._set_spec((channels, height, width), given)
        return self

    def uneven_classes(self, items: Sequence[Item]) -> str:
        """Why one class cannot be said in another: one is stored grey and the other is not, and no channels were set."""
        seen = {k: [i for i in items if str(i.cond) == k] for k in self.classes}
        grey = [k for k, own in seen.items() if own and all(_channels(i) <= 2 for i in own)]
        colour = [k for k, own in seen.items() if own and k not in grey]
        if self.channels or not grey or not colour:
            return ""
        return (
            f"pictures of {grey[0]!r} have 1 channel and of {colour[0]!r} 3, so colour is no part of what they share; "
            "set codec.channels to 1 (all to grey) or 3 (all in colour)"
        )

    def _common_given(self, items: Sequence[Item]) -> tuple[int, int, int]:
        """``(C, H, W)`` of what is known of the pictures."""
        known = [Item(_pair_of(item), name=item.name) for item in items]
        height, width = (self.size, self.size) if self.size else self._common_size(known)
        return (1 if all(_channels(i) <= 2 for i in known) else 3, height, width)

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

    def _set_spec(self, shape: tuple[int, int, int], given: tuple[int, int, int] | None) -> None:
        cond = None
        if given is not None:
            cond = Spec(given)
        elif self.words:
            cond = Spec((self.longest,), vocab=len(self.words) + 1)  # word 0 is silence
        elif self.classes:
            cond = Spec((), vocab=len(self.classes))
        self.spec = Spec(shape, vocab=self.levels, ordinal=self.levels > 0, cond=cond)

    def _prepared(self, value: Pixels) -> Pixels:
        """At ``size`` when one is set, with as many channels as were asked for: ``(H, W, 1, 3 or 4)``."""
        value = self._framed(with_alpha(value) if self.channels == 4 else opaque(value, self.background))
        if self.channels == 1 and value.shape[-1] == 3:
            value = np.asarray(Image.fromarray(value).convert("L"))[..., None]
        return value

    def _framed(self, value: Pixels) -> Pixels:
        """At ``size`` when one is set; opaque, but where alpha was asked for."""
        if self.channels != 4:
            value = opaque(value, self.background)
        if self.size and value.shape[:2] != (self.size, self.size):
            value = resized(value, self.size, self.framing, self.background)
        return value

    def _pixels(self, items: Sequence[Item], grey: bool = False) -> Tensor:
        """uint8 ``(N, C, H, W)``; colour multiplied by alpha where there is alpha, not yet binarised if ``grey``."""
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
            out[i] = with_alpha_in(value) if channels == 4 else value  # one channel spreads over three
        if self.levels == 2 and not grey:
            out = (out >= 128).astype(np.uint8) * 255 if self.binarise == "threshold" else _drawn(out)
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    def _numbers(self, pixels: Tensor) -> Tensor:
        """uint8 to what the spec says: real in [-1, 1] float32, or the nearest level int64."""
        if not self.levels:
            return pixels.float() / 127.5 - 1
        return (pixels.long() * (2 * (self.levels - 1)) + 255) // 510

    def _conds(self, items: Sequence[Item]) -> Tensor | None:
        if self.spec.cond is None:
            return None
        if self.spec.given_picture:
            return self._given_numbers(self._given_pixels([self._given(item) for item in items]))
        try:
            return self.encode_cond([i.cond for i in items])
        except RecipeError as error:
            raise DataError(
                f"a picture's label is new: {error}; give more pictures of that class, or set codec.labels = 'none'"
            ) from error

    def _given(self, item: Item) -> Pixels:
        """What is known of a picture, when that is a picture; raises DataError where it has none."""
        return degraded(self._prepared(item.value), self.degrade) if self.degrade else self._framed(_pair_of(item))

    def _given_pixels(self, values: Sequence[Pixels]) -> Tensor:
        """uint8 ``(N, *spec.cond.shape)``: grey, colour or alpha, and sides, brought to what the model takes."""
        assert self.spec.cond is not None
        channels, height, width = self.spec.cond.shape
        out = np.empty((len(values), height, width, channels), np.uint8)
        for i, value in enumerate(values):
            value = with_alpha(value) if channels == 4 else opaque(value, self.background)
            if value.shape[:2] != (height, width):
                if height != width:
                    h, w = value.shape[:2]
                    raise DataError(f"a given picture is {w}x{h}, but this codec takes {width}x{height}; resize it")
                value = resized(value, height, self.framing, self.background)
            if channels == 1 and value.shape[-1] == 3:
                value = np.asarray(Image.fromarray(value).convert("L"))[..., None]
            out[i] = with_alpha_in(value) if channels == 4 else value
        return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()

    @staticmethod
    def _given_numbers(pixels: Tensor) -> Tensor:
        return pixels.float() / 127.5 - 1

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(B, C, H, W)``, one row for each picture; resized with antialiasing (Lanczos) where needed."""
        return Batch(self._numbers(self._pixels(items)), self._conds(items))

    def source(self, items: Sequence[Item], *, train: bool) -> _Rows:
        """All pictures as bytes in memory, made numbers when taken; the same for training and judging, but for ``"anew"``."""
        if train and self.levels == 2 and self.binarise == "anew" and not self.spec.given_picture:
            return _Greys(self, self._pixels(items), self._conds(items), self._pixels(items, grey=True))
        if not self.spec.given_picture:
            return _Rows(self, self._pixels(items), self._conds(items))
        return _Rows(self, self._pixels(items), self._given_pixels([self._given(item) for item in items]))

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Class names as int64 ``(B,)``, None as -1 (unknown); captions as ``(B, longest)`` word numbers, 0 is silence.

        Pictures as ``(B, C, H, W)`` float32 in [-1, 1]: each is a file, an array ``(H, W, C)`` uint8 or a ``data:``
        address, taken as what is known (it is not degraded) and brought to the size the model takes; a piece stands for
        what is known of it.

        Raises:
            RecipeError: a class or word that was never seen, with the nearest that was; something that is no picture.
            DataError: a picture that cannot be read.
        """
        if self.spec.cond is None:
            raise RecipeError("this codec knows no classes: the data it was fitted on had none")
        if self.spec.given_picture:
            return self._given_numbers(self._given_pixels([self._shown(value) for value in values]))
        if self.words:
            return word_numbers(values, self.words, self.longest)
        return class_numbers(values, self.classes)

    def _shown(self, value: Any) -> Pixels:
        if isinstance(value, Item):
            return self._given(value)
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, str) and value.startswith(_DATA):
            return decoded(base64.b64decode(value.removeprefix(_DATA)), "the given picture")
        if isinstance(value, str | Path) and Path(value).is_file():
            return decoded(Path(value).read_bytes(), str(value))
        raise RecipeError(f"what is known here is a picture, and there is none at {str(value)!r}; give a picture file")

    def given_examples(self, items: Sequence[Item], most: int = 16) -> list[str]:
        """Pictures that are known of some of ``items``, evenly chosen, as ``data:`` addresses that ``encode_cond`` reads.

        They go into the weights file, so that it can be sampled from alone.
        """
        chosen = [items[i * len(items) // min(most, len(items))] for i in range(min(most, len(items)))]
        pixels = self._given_pixels([self._given(item) for item in chosen])
        out = []
        for value in _arrays(pixels):
            file = io.BytesIO()
            to_pil(value).save(file, "PNG", optimize=True)
            out.append(_DATA + base64.b64encode(file.getvalue()).decode())
        return out

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The inverse of ``encode``; numbers beyond [-1, 1] are clipped. A picture that was given comes back as one."""
        if self.levels:
            most = self.levels - 1
            up = most // 2 if most > 127 else 0  # steps of under two greys come back only from the nearest
            pixels = (x.long().clamp(0, most) * 255 + up) // most
        else:
            pixels = _bytes(x)
        arrays = _arrays(pixels)
        said: list[Any] = [None] * len(arrays)
        if cond is not None and self.spec.given_picture:
            said = list(_arrays(_bytes(cond)))
        elif cond is not None and self.words:
            said = [" ".join(self.words[k - 1] for k in row if k) or None for row in cond.tolist()]
        elif cond is not None:
            said = [self.classes[k] if k >= 0 else None for k in cond.tolist()]
        return [Item(value, c) for value, c in zip(arrays, said, strict=True)]

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A picture to change and which parts to keep: ``(1, C, H, W)`` and bool of the same shape.

        Args:
            source: a picture file, or a piece.
            mask: a picture whose white parts are made anew, of the size of ``source`` (then it is cropped as that is) or
                of the model's; None makes the lower half anew.

        Raises:
            DataError: the mask is of another size, or cannot be read.
        """
        item = source if isinstance(source, Item) else self.read(source)[0]
        if self.spec.given_picture and not self.degrade and not isinstance(item.cond, np.ndarray):
            batch = Batch(self._numbers(self._pixels([item])))
        else:
            known = (
                item
                if self.spec.cond is None or self.spec.given_picture
                else Item(item.value, self._known(item.cond), item.name)
            )
            batch = self.encode([known])
        channels, height, width = self.spec.shape
        anew = np.zeros((height, width), bool)
        if mask is None:
            anew[height // 2 :] = True
        else:
            anew = self._anew(Path(mask), item.value.shape[:2] if isinstance(source, Item) else size_of(Path(source)))
        return batch, torch.from_numpy(~anew).expand(1, channels, height, width).clone()

    def _anew(self, mask: Path, size: tuple[int, int] | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """``(H, W)``: white parts of a mask of the model's size, or of ``size``, that of the picture before it was framed."""
        _, height, width = self.spec.shape
        value = opaque(rgb(read_mask(mask)), (0, 0, 0))
        grey = np.asarray(Image.fromarray(value).convert("L"))[..., None]
        if grey.shape[:2] == (height, width):
            return grey[..., 0] >= 128
        if grey.shape[:2] != size:
            h, w = grey.shape[:2]
            also = "" if size is None or size == (height, width) else f" or {size[1]}x{size[0]} as the picture"
            raise DataError(f"the mask {mask} is {w}x{h}; draw it {width}x{height}{also}")
        return resized(grey, height, self.framing, (0, 0, 0))[..., 0] >= 128

    def keep_bytes(self, items: Sequence[Item], source: str | Path | Item, keep: Tensor) -> list[Item]:
        """Edited pictures with the bytes of ``source`` where all of ``keep`` ``(C, H, W)`` is True.

        They differ only where there is alpha: colours are rounded when they are multiplied by it.
        """
        if self.spec.shape[0] != 4 or self.spec.is_tokens:
            return list(items)
        value = with_alpha(self._prepared((source if isinstance(source, Item) else self.read(source)[0]).value))
        kept = keep.all(0)[..., None].numpy()
        return [Item(np.where(kept, value, item.value), item.cond, item.name) for item in items]

    def given(self, batch: Batch, keep: Tensor) -> Item:
        """What an edit starts from, to look at: the first picture, grey where it is made anew."""
        (item,) = self.decode(batch.x[:1])
        kept = keep[0].permute(1, 2, 0).expand(item.value.shape).numpy()
        return Item(np.where(kept, item.value, 128).astype(np.uint8), "given")

    def _known(self, cond: Any) -> Any:
        """A folder's name is a condition only where it is one of the classes."""
        return cond if self.words or str(cond) in self.classes else None

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
        return _save(to_pil(item.value), path, info)

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """A contact sheet about 800 pixels wide: small pictures enlarged pixel by pixel, captions where there are any.

        Transparent pictures lie on a checkerboard; where a picture was given, it stands to the left of what was made.
        """
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        return _save(draw_sheet(items), path, None)

    def show_beside(self, made: Sequence[Item], real: Sequence[Item], path: Path) -> Path:
        """A sheet of what was given, what was made of it, and the real picture at the same size and in the same channels.

        ``made`` knows what it was given.
        """
        real = self.decode(self.encode(list(real)).x)
        path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
        rows = [{"given": m.cond, "made": m.value, "real": r.value} for m, r in zip(made, real, strict=True)]
        return _save(draw_beside(rows), path, None)

    def state(self) -> dict[str, Any]:
        """Shape, classes and caption words; the shape of what is given, where that is a picture."""
        out: dict[str, Any] = {"shape": list(self.spec.shape), "classes": self.classes}
        if self.spec.cond is not None and self.spec.given_picture:
            out["given"] = list(self.spec.cond.shape)
        return out | ({"words": self.words, "longest": self.longest} if self.words else {})

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.classes, self.words = list(state["classes"]), list(state.get("words", []))
        self.longest = state.get("longest", 0)
        channels, height, width = state["shape"]
        self._set_spec((channels, height, width), tuple(state["given"]) if "given" in state else None)
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
        cond = None if self.cond is None else self.cond[rows]
        if cond is not None and self.codec.spec.given_picture:
            cond = self.codec._given_numbers(cond)
        return Batch(self.codec._numbers(self.pixels[rows]), cond)


@dataclass(frozen=True)
class _Greys(_Rows):
    """The same with the greys that pixels are drawn from."""

    greys: Tensor

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        """Rows whose pixels are on with the probability of their grey, ``v / 255``."""
        greys = self.greys[rows]
        on = rng.uniform(*greys.shape) * 255 < greys
        return Batch(on.long(), None if self.cond is None else self.cond[rows])


_DATA = "data:image/png;base64,"


def _pair_of(item: Item) -> Pixels:
    """The picture that is known of a picture."""
    if not isinstance(item.cond, np.ndarray):
        raise DataError(
            f"{item.name or 'a picture'} has no picture that is known of it; give two folders, input/ and target/, with the "
            "same file names, or set codec.degrade"
        )
    return item.cond


def _bytes(x: Tensor) -> Tensor:
    """[-1, 1] as 0 to 255, clipped."""
    return ((x.float() + 1) * 127.5).round().clamp(0, 255).nan_to_num(0)


def _arrays(pixels: Tensor) -> Pixels:
    """``(N, C, H, W)`` of 0 to 255 as uint8 ``(N, H, W, C)``, colour divided by alpha where there is alpha."""
    out: Pixels = pixels.to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return straight(out) if out.shape[-1] == 4 else out


def _channels(item: Item) -> int:
    return item.value.shape[-1] if item.value.ndim == 3 else 3


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
    except (*UNREADABLE, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not a readable picture ({error}); give a PNG") from error
    return {str(k): str(v) for k, v in mark.items()}


def _save(picture: Image.Image, path: Path, info: PngImagePlugin.PngInfo | None) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, "PNG", pnginfo=info, optimize=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    return path
