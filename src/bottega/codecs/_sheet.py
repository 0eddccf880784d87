"""A contact sheet: pictures side by side, with their captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bottega.codecs._pixels import opaque, to_pil
from bottega.core import DataError, Item

__all__ = ["draw_sheet"]

_PAPER, _INK = (250, 249, 246), (86, 84, 80)


def draw_sheet(items: Sequence[Item], width: int = 800) -> Image.Image:
    """The items' pictures in rows, about ``width`` pixels wide: small ones enlarged pixel by pixel, captions below.

    Raises:
        DataError: there are no pictures.
    """
    pictures = [to_pil(opaque(item.value, (255, 255, 255))).convert("RGB") for item in items]
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
