"""Pictures as their files have them: alone, in folders and archives, or packed as NumPy, IDX and CIFAR sets."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bottega.codecs._files import ARCHIVES, contents, is_archive, read_bytes
from bottega.codecs._labels import labelled, no_empty_class
from bottega.codecs._pixels import FORMATS, UNREADABLE, Pixels, from_pil
from bottega.core import DataError, Item

__all__ = ["SUFFIXES", "decoded", "read_mask", "read_pairs", "read_pictures", "size_of"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
_IDX = re.compile(r"images?[.-]idx3-ubyte(\.gz)?$")
_CIFAR = re.compile(r"(data|test)_batch(_\d+)?\.bin$")
_SIDES = ("input", "target")
_ROTATED = 5  # from here on EXIF's orientations exchange width and height
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_pictures(
    source: Path, prepared: Callable[[Pixels], Pixels], *, size: int, labels: str, skipped: list[str] | None
) -> list[Item]:
    """Pictures with their class names, sorted by name; sets of arrays in their order.

    Args:
        source: a picture, a folder or archive of them, a packed set, or a folder with one packed set.
        prepared: what each picture goes through as soon as it is read, ``(H, W, C)`` uint8 with 1 to 4 channels.
        size: of the side that ``prepared`` leaves; large photographs are decoded at a fraction. 0 decodes all pixels.
        labels: of ``ImageCodec``, which says what there is.
        skipped: takes the message of each picture that cannot be read; None stops at the first.

    Raises:
        DataError: nothing there, no picture in it, an unreadable picture, a wrong number of channels, a pickle.
    """
    if not source.exists():
        raise DataError(f"there is no {source}; give a folder of pictures, an archive, IDX, CIFAR or .npz file")

    def read(path: Path) -> list[Item]:
        reader = _pictures if path.is_dir() or is_archive(path) else _file
        return reader(path, prepared, size, labels, skipped)

    items = read(source)
    if not items and not skipped and source.is_dir():
        packed = _packed(source)
        items = [] if packed is None else read(packed)
    if not items:
        lost = f" ({len(skipped)} unreadable)" if skipped else ""
        raise DataError(f"{source} holds no picture{lost}; supported: {', '.join(sorted(SUFFIXES))}, IDX, CIFAR, .npz")
    if source.is_dir() and labels in {"auto", "folder"}:
        no_empty_class(source, items, skipped, "picture")
    return items


def read_pairs(
    source: Path,
    target: Callable[[Pixels], Pixels],
    given: Callable[[Pixels], Pixels],
    *,
    size: int,
    skipped: list[str] | None,
) -> list[Item]:
    """Pairs of a folder or archive, sorted by name: ``target/`` the pictures, ``input/`` what is known of each.

    Two files are a pair when their names below the two folders are the same, whatever their endings.

    Args:
        source: holds folders called ``input`` and ``target``, at any depth.
        target: what each picture goes through as soon as it is read.
        given: the same for what is known of each.
        size: as in ``read_pictures``.
        skipped: takes the message of each pair that cannot be had; None stops at the first.

    Raises:
        DataError: no such folders, a picture without the other of its pair, or two of different proportions.
    """
    if not source.exists() or not (source.is_dir() or is_archive(source)):
        raise DataError(f"{source} is no folder or archive of pairs; give one that holds input/ and target/")
    found: dict[str, dict[str, tuple[str, Pixels, float]]] = {}
    failed = set()
    for name, data in contents(source, lambda name: PurePosixPath(name).suffix.lower() in SUFFIXES):
        path = PurePosixPath(name)
        side = next((part for part in path.parts[:-1] if part in _SIDES), None)
        if side is None:
            continue
        at = path.parts.index(side)
        key = PurePosixPath(*path.parts[:at], *path.parts[at + 1 :]).with_suffix("").as_posix()
        shape = [1, 1]

        def framed(value: Pixels, shape: list[int] = shape, side: str = side) -> Pixels:
            shape[:] = value.shape[:2]
            return target(value) if side == "target" else given(value)

        for item in _picture(name, f"{source}/{name}", data, framed, size, skipped):
            found.setdefault(key, {})[side] = (name, item.value, shape[1] / shape[0])
            break
        else:
            failed.add(key)
    if not found:
        raise DataError(f"{source} holds no folders input/ and target/ with pictures; make them, or set codec.degrade")
    items = []
    for key, pair in sorted(found.items()):
        if why := "" if key in failed else _unpaired(source, pair):
            if skipped is None:
                raise DataError(why)
            skipped.append(why)
        elif key not in failed:
            (name, value, _), (_, known, _) = pair["target"], pair["input"]
            items.append(Item(value, known, name))
    if not items:
        raise DataError(
            f"{source} holds no whole pair ({len(skipped or ())} left out); see its folders input/ and target/"
        )
    return items


def _unpaired(source: Path, pair: dict[str, tuple[str, Pixels, float]]) -> str:
    """What is wrong with a pair; nothing when it is whole."""
    for side, other in (_SIDES, _SIDES[::-1]):
        if other not in pair:
            return f"{source}/{pair[side][0]} has no picture of the same name in {other}/; add it, or remove this one"
    wide = {side: pair[side][2] for side in _SIDES}
    if not 0.95 < wide["input"] / wide["target"] < 1.05:
        return (
            f"{source}/{pair['input'][0]} is {wide['input']:.2f} times as wide as high and its target {wide['target']:.2f} "
            "times; both must show the same part of the scene"
        )
    return ""


def _packed(folder: Path) -> Path | None:
    """The one packed set of a folder."""
    inside = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    packed = [p for p in inside if is_archive(p) or p.suffix in {".npz", ".npy"} or _IDX.search(p.name)]
    if any(_IDX.search(p.name) for p in packed):  # the training side, where both lie here
        packed = [p for p in packed if p.name.startswith("train")] or packed
    if len(packed) > 1:
        names = ", ".join(p.name for p in packed)
        raise DataError(f"{folder} holds no pictures but several packed sets ({names}); name one of them")
    return packed[0] if packed else None


def _file(
    path: Path, prepared: Callable[[Pixels], Pixels], size: int, labels: str, skipped: list[str] | None
) -> list[Item]:
    """One picture, or one packed set."""
    if path.suffix.lower() in SUFFIXES:
        items = _picture(path.name, str(path), read_bytes(path), prepared, size, skipped, alone=True)
        return labelled(path.parent, items, labels, skipped, "picture", one=True)
    if path.suffix in {".npz", ".npy"}:
        return _stacked(path, *_arrays(path), prepared, labels)
    data = read_bytes(path)
    if data[:2] in _PICKLES:
        raise DataError(_pickled(path))
    if _CIFAR.search(path.name):
        names = path.with_name("batches.meta.txt")
        classes = _lines(read_bytes(names)) if names.exists() else []
        return _cifar(path.name, str(path), data, classes, prepared, labels)
    if data[:4] == b"\x00\x00\x08\x03":
        return _stacked(path, *_idx(path, data), prepared, labels)
    known = ", ".join([*sorted(SUFFIXES), *ARCHIVES, ".npz", "IDX", "CIFAR-10 binary"])
    raise DataError(f"{path} is no picture and no set of pictures that is known; supported: {known}")


def _pictures(
    source: Path, prepared: Callable[[Pixels], Pixels], size: int, labels: str, skipped: list[str] | None
) -> list[Item]:
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
            items += _picture(name, f"{source}/{name}", data, prepared, size, skipped)
    if batches and not items:
        return [
            item
            for name, data in sorted(batches)
            for item in _cifar(name, f"{source}/{name}", data, names, prepared, labels)
        ]
    root = source if source.is_dir() else source.parent
    return labelled(root, sorted(items, key=lambda i: i.name), labels, skipped, "picture")


def _picture(
    name: str,
    where: str,
    data: bytes,
    prepared: Callable[[Pixels], Pixels],
    size: int,
    skipped: list[str] | None,
    alone: bool = False,
) -> list[Item]:
    """The picture, or nothing where it is skipped; one that is ``alone`` is not told that it can be."""
    try:
        return [Item(decoded(data, where, prepared, size), name=name)]
    except DataError as error:
        if skipped is None:
            also = "" if alone else "; training passes over it with codec.on_error = 'skip'"
            raise DataError(f"{error}{also}") from error
        skipped.append(str(error))
        return []


def decoded(
    data: bytes, where: str, prepared: Callable[[Pixels], Pixels] = lambda value: value, size: int = 0
) -> Pixels:
    """The picture in ``data``, turned as its camera said, after ``prepared``; the first of an animation.

    Raises:
        DataError: names ``where``; empty, no known format, damaged, or more pixels than may be decoded.
    """
    if not data:
        raise DataError(f"{where} is empty; replace or remove it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            if size and picture.format == "JPEG":  # decode large photographs at a fraction, still >= 2x too large
                picture.draft(picture.mode, (2 * size, 2 * size))
            return prepared(from_pil(ImageOps.exif_transpose(picture)))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(where, error) from error
    except UNREADABLE as error:
        why = "not a known picture format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{where} is not a readable picture ({why}); replace or remove it") from error


def too_large(where: object, error: Exception) -> DataError:
    """What is said of a picture that Pillow refuses for its size; ``error`` is a DecompressionBombError or -Warning."""
    found = re.search(r"\d+", str(error))  # Pillow says the number, but two limits
    return DataError(
        f"{where} has {int(found[0]) if found else 0:,} pixels and one picture may have {Image.MAX_IMAGE_PIXELS:,}; make "
        "it smaller, or cut it into tiles"
    )


def _arrays(path: Path) -> tuple[Pixels, list[Any] | None]:
    """Pictures and labels of a NumPy file."""
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
    return x, None if labels is None else labels.reshape(-1).tolist()


def _idx(path: Path, data: bytes) -> tuple[Pixels, list[Any] | None]:
    """Pictures of an IDX file, and labels where their file lies beside it."""
    x = _idx_array(path, data)
    beside = path.name.removesuffix(".gz").replace("images", "labels").replace("image", "label").replace("idx3", "idx1")
    found = [p for p in (path.with_name(beside), path.with_name(beside + ".gz")) if beside != path.name and p.exists()]
    return x, _idx_array(found[0], read_bytes(found[0])).tolist() if found else None


def _stacked(
    path: Path, x: Pixels, known: list[Any] | None, prepared: Callable[[Pixels], Pixels], labels: str
) -> list[Item]:
    """Items from ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``."""
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4:
        raise DataError(f"{path}: pictures have shape {x.shape}; use (N, height, width, channels)")
    if x.shape[-1] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = x.transpose(0, 2, 3, 1)
    if x.shape[-1] not in (1, 3, 4):
        raise DataError(f"{path}: pictures have {x.shape[-1]} channels; use 1 (grey), 3 (colour) or 4 (with alpha)")
    if known is not None and len(known) != len(x):
        raise DataError(f"{path}: {len(x)} pictures but {len(known)} labels; they must be as many")
    conds = [None] * len(x) if known is None or labels == "none" else [str(v) for v in known]
    return [Item(prepared(v), c, f"{path.name}#{i}") for i, (v, c) in enumerate(zip(x, conds, strict=True))]


def _cifar(
    name: str, where: str, data: bytes, classes: list[str], prepared: Callable[[Pixels], Pixels], labels: str
) -> list[Item]:
    """Rows of one label byte and 3,072 colour planes (Krizhevsky 2009)."""
    if not data or len(data) % 3073:
        raise DataError(f"{where} has {len(data)} bytes, not a multiple of 3073; it is truncated or not CIFAR-10")
    rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    x = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    known = [classes[k] if k < len(classes) else str(k) for k in rows[:, 0].tolist()]
    conds = [None] * len(rows) if labels == "none" else known
    return [Item(prepared(v), c, f"{name}#{i}") for i, (v, c) in enumerate(zip(x, conds, strict=True))]


def read_mask(path: Path) -> Pixels:
    """One picture, ``(H, W, 1 to 4)`` uint8, turned as its camera said; raises DataError where it cannot be read."""
    try:
        return decoded(read_bytes(path), str(path))
    except DataError as error:
        raise DataError(f"no mask: {error}; give a PNG whose white parts are made anew") from error


def size_of(path: Path) -> tuple[int, int] | None:
    """Height and width of a picture file as it is seen, from its head alone; None for what is no picture file."""
    if path.suffix.lower() not in SUFFIXES:
        return None
    with Image.open(path, formats=FORMATS) as picture:
        turned = picture.getexif().get(0x0112, 1) >= _ROTATED
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def _pickled(path: Path) -> str:
    return (
        f"{path} is a pickle, which can run code when loaded; take the set's binary form (for CIFAR-10 the "
        "'binary version', data_batch_*.bin) or plain uint8 arrays"
    )


def _lines(data: bytes) -> list[str]:
    return [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]


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
