"""Pieces on their way out and in: the codec's own files, marked, as text or base64; and back to pieces."""

from __future__ import annotations

import base64
import binascii
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bottega.core import BottegaError, Item
from bottega.serve.errors import ApiError
from bottega.workshop.pieces import watermarked_piece
from bottega.workshop.run import Run

__all__ = ["Given", "file_of", "item_of", "mask_file", "picture", "wrapped"]

TYPES = {".png": "image/png", ".wav": "audio/wav", ".flac": "audio/flac", ".mid": "audio/midi", ".musicxml": "application/vnd.recordare.musicxml+xml",
         ".txt": "text/plain", ".csv": "text/csv", ".json": "application/json", ".svg": "image/svg+xml"}  # fmt: skip
"""Endings of the files that codecs write."""
_ENDINGS = {
    "image": ".png",
    "audio": ".wav",
    "music": ".mid",
    "text": ".txt",
    "table": ".csv",
    "points": ".csv",
    "labels": ".txt",
}
PIXELS = 1 << 24


class Given(BaseModel):
    """A piece that a caller sends: its text, or a file in base64."""

    model_config = ConfigDict(extra="ignore")

    data: Any
    encoding: Literal["utf-8", "base64"] = "utf-8"
    media_type: str | None = Field(None, max_length=100)


def file_of(run: Run, item: Item, seed: int, ending: str = "") -> tuple[bytes, str]:
    """The file of a piece with the maker's mark in it, and its media type."""
    with tempfile.TemporaryDirectory(prefix="bottega-") as folder:
        path = run.codec.write(watermarked_piece(run, item), Path(folder) / f"piece{ending}", run.mark(seed))
        return path.read_bytes(), TYPES.get(path.suffix.lower(), "application/octet-stream")


def wrapped(run: Run, item: Item, seed: int, form: str | None) -> dict[str, Any]:
    """A piece as an answer holds it: ``media_type``, ``encoding``, ``data``.

    Args:
        run: that made it.
        item: the piece.
        seed: whose it is.
        form: an ending (``"mid"``, ``"musicxml"``, ``"wav"``, ``"csv"`` ...), ``"json"``, or None: rows, points and labels as JSON, all else as the
            codec's own file.

    Raises:
        ApiError: the medium is not written so.
    """
    medium = run.codec.medium
    if form == "json" or form is None and medium not in ("image", "audio", "music", "text"):
        if medium in ("image", "audio", "music"):
            raise ApiError(400, f"format is 'json', but {medium} is written as a file; leave it out", "format")
        return {
            "media_type": "application/json",
            "encoding": "utf-8",
            "data": json.dumps(_plain(item.value), ensure_ascii=False),
        }
    if medium == "text" and form in (None, "txt"):
        return {"media_type": "text/plain", "encoding": "utf-8", "data": str(item.value)}
    ending = f".{form.lower()}" if form else ""
    data, kind = file_of(run, item, seed, ending if ending in TYPES else "")
    if form and TYPES.get(ending) != kind:
        raise ApiError(400, f"format is {form[:20]!r}, and {medium} is written as {kind}; leave it out", "format")
    if kind.startswith("text/") or kind.endswith(("json", "xml")):
        return {"media_type": kind, "encoding": "utf-8", "data": data.decode("utf-8")}
    return {"media_type": kind, "encoding": "base64", "data": base64.b64encode(data).decode()}


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def bytes_of(text: Any, param: str) -> bytes:
    """What base64 says; a data URL too."""
    if not isinstance(text, str):
        raise ApiError(400, f"{param} is no text of base64", param)
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{param} is not base64", param) from None


def picture(data: bytes, param: str) -> Any:
    """Pixels ``(H, W, C)`` uint8 of a picture file."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as found:
            if found.width * found.height > PIXELS:
                raise ApiError(400, f"{param} is {found.width}x{found.height}; at most {PIXELS:,} pixels", param)
            mode = (
                "L"
                if found.mode in ("1", "L")
                else "RGBA"
                if "A" in found.getbands() or "transparency" in found.info
                else "RGB"
            )
            pixels = np.asarray(found.convert(mode))
    except ApiError:
        raise
    except Exception:  # Pillow raises many kinds for files that are no pictures
        raise ApiError(400, f"{param} is no picture that can be read; send a PNG", param) from None
    return pixels[..., None] if pixels.ndim == 2 else pixels


@contextmanager
def mask_file(data: bytes | None, param: str = "mask") -> Iterator[Path | None]:
    """A mask as codecs take it, white where all is made anew. A transparent place of a mask with alpha is such a place."""
    if data is None:
        yield None
        return
    from PIL import Image

    pixels = picture(data, param)
    if pixels.shape[2] == 4:
        pixels = np.where(pixels[..., 3:] < 128, 255, 0).astype(np.uint8)
    elif pixels.shape[2] == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    with tempfile.TemporaryDirectory(prefix="bottega-") as folder:
        path = Path(folder) / "mask.png"
        Image.fromarray(np.repeat(pixels, 3, 2)).save(path)
        yield path


def item_of(run: Run, given: Given, param: str = "piece") -> Item:
    """The piece that a caller sent, never by a path.

    Raises:
        ApiError: it cannot be read as such a piece.
    """
    medium = run.codec.medium
    if medium == "text":
        text = given.data if given.encoding == "utf-8" else bytes_of(given.data, param).decode("utf-8", "replace")
        if not isinstance(text, str):
            raise ApiError(400, f"{param} is no text", param)
        return Item(text)
    if medium == "image":
        return Item(picture(bytes_of(given.data, param), param))
    if medium in ("table", "points", "labels") and given.encoding == "utf-8":
        value = given.data
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = given.data
        if medium == "points":
            try:
                value = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError):
                raise ApiError(400, f"{param} is no list of numbers", param) from None
        elif medium == "table" and not isinstance(value, dict):
            raise ApiError(400, f"{param} is no row; send an object with a value for each column", param)
        return Item(value)
    data = bytes_of(given.data, param) if given.encoding == "base64" else str(given.data).encode()
    with tempfile.TemporaryDirectory(prefix="bottega-") as folder:
        path = Path(folder) / f"piece{_ENDINGS.get(medium, '')}"
        path.write_bytes(data)
        try:
            return run.codec.read(path)[0]
        except (BottegaError, IndexError) as error:
            why = str(error).replace(str(path), "it").replace(folder, "")
            raise ApiError(400, f"{param} cannot be read as {medium}: {why}", param) from None
