"""A contact sheet: pictures side by side, with their captions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bottega.codecs._pixels import Pixels, to_pil
from bottega.core import DataError, Item

__all__ = ["draw_beside", "draw_sheet"]

_PAPER, _INK = (250, 249, 246), (86, 84, 80)
_CHECKS = np.array([[255, 214], [214, 255]], np.uint8)  # greys of the checkerboard under transparent pictures


def draw_sheet(items: Sequence[Item], width: int = 800) -> Image.Image:
    """The items' pictures in rows, about ``width`` pixels wide: small ones enlarged pixel by pixel, captions below.

    Transparent pictures lie on a checkerboard. A picture that was known of one stands to its left.

    Raises:
        DataError: there are no pictures.
    """
    if any(isinstance(item.cond, np.ndarray) for item in items):
        return draw_beside([{"given": item.cond, "made": item.value} for item in items], width)
    captions = [None if item.cond is None else str(item.cond) for item in items]
    return _drawn([item.value for item in items], captions, width, together=1)


def draw_beside(rows: Sequence[Mapping[str, Pixels]], width: int = 800) -> Image.Image:
    """Pictures that belong together side by side, each with its name below; smaller ones are enlarged to the largest.

    Raises:
        DataError: there are no pictures.
    """
    pictures = []
    for row in rows:
        tall, wide = (max(value.shape[axis] for value in row.values()) for axis in (0, 1))
        pictures += [_enlarged(value, tall, wide) for value in row.values()]
    return _drawn(pictures, [name for row in rows for name in row], width, together=len(rows[0]) if rows else 1)


def _enlarged(value: Pixels, tall: int, wide: int) -> Pixels:
    """Pixel by pixel."""
    rows = np.arange(tall) * value.shape[0] // tall
    columns = np.arange(wide) * value.shape[1] // wide
    return value[rows][:, columns]


def _on_checks(value: Pixels) -> Image.Image:
    """A picture as it is seen, the transparent parts on a checkerboard of eight fields a side, or fields of one pixel."""
    if value.shape[-1] in (1, 3):
        return to_pil(value).convert("RGB")
    height, width = value.shape[:2]
    field = max(1, max(height, width) // 8)
    grey = _CHECKS[np.arange(height)[:, None] // field % 2, np.arange(width) // field % 2][..., None]
    alpha = value[..., -1:].astype(np.float32) / 255
    seen = (value[..., :-1] * alpha + grey * (1 - alpha) + 0.5).astype(np.uint8)
    return to_pil(seen).convert("RGB")


def _drawn(values: Sequence[Pixels], captions: Sequence[str | None], width: int, together: int) -> Image.Image:
    """``together``: so many neighbours stay in one row, with more room between them and the next."""
    pictures = [_on_checks(value) for value in values]
    n = len(pictures)
    if not n:
        raise DataError("there are no pictures to show; give at least one")
    columns = _columns(n) if together == 1 else together * _groups(n // together)
    margin, gap = 20, 6
    room = (width - 2 * margin - gap * (columns - 1)) / columns
    widest, tallest = max(p.width for p in pictures), max(p.height for p in pictures)
    scale = room / max(widest, tallest)
    scale = float(round(scale)) if scale >= 1 else scale  # whole pixels stay crisp
    tile_w, tile_h = max(1, round(widest * scale)), max(1, round(tallest * scale))
    line = 20 if any(captions) else 0
    font = _font(13)
    if line:  # short names on small tiles need room to be read
        step_w = max(tile_w, min(64, round(room)))
    else:
        step_w = tile_w
    rows = math.ceil(n / columns)
    apart = 2 * gap * (together > 1)
    sheet = Image.new(
        "RGB",
        (
            2 * margin + columns * step_w + gap * (columns - 1) + apart * (columns // together - 1),
            2 * margin + rows * (tile_h + line) + gap * (rows - 1),
        ),
        _PAPER,
    )
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        left = margin + (k % columns) * (step_w + gap) + (step_w - tile_w) // 2 + apart * (k % columns // together)
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


def _groups(n: int) -> int:
    """Groups in a row: about twice as many rows as groups in one, for a group is wide."""
    return max(1, min(n, round(math.sqrt(n / 2))))


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
