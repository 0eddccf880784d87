"""Pictures as arrays of bytes and as Pillow has them: from one to the other, laid on a background, made square."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "FORMATS", "UNREADABLE", "Pixels", "from_pil", "opaque", "resized", "rgb", "straight", "to_pil", "with_alpha",
    "with_alpha_in",
]  # fmt: skip

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")  # nothing else is tried, so no picture can start another program
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip

Pixels = NDArray[np.uint8]


def from_pil(picture: Image.Image) -> Pixels:
    """A decoded picture as uint8 ``(H, W, C)``: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha."""
    if picture.mode.startswith("I;16") or picture.mode == "I":
        return (np.asarray(picture, np.int64) >> 8).clip(0, 255).astype(np.uint8)[..., None]
    see_through = "transparency" in picture.info or picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"}
    grey = picture.mode in {"1", "L", "LA", "La"}
    mode = {(True, False): "L", (True, True): "LA", (False, False): "RGB", (False, True): "RGBA"}[grey, see_through]
    value = np.asarray(picture.convert(mode))
    return value if value.ndim == 3 else value[..., None]


def opaque(value: Pixels, background: tuple[int, ...]) -> Pixels:
    """Laid on ``background``: ``(H, W, 2 or 4) -> (H, W, 1 or 3)``."""
    if value.shape[-1] in (1, 3):
        return value
    under = Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0)) if value.shape[-1] == 2 else background
    alpha = value[..., -1:].astype(np.float32) / 255
    return (value[..., :-1] * alpha + np.asarray(under, np.float32) * (1 - alpha) + 0.5).astype(np.uint8)


def rgb(value: Pixels) -> Pixels:
    """``(H, W, any) -> (H, W, 3 or 4)``."""
    if value.shape[-1] > 2:
        return value
    return np.concatenate([value[..., :1].repeat(3, -1), value[..., 1:]], -1)


def with_alpha(value: Pixels) -> Pixels:
    """``(H, W, any) -> (H, W, 4)``: colour and alpha; what had no alpha is opaque."""
    value = rgb(value)
    if value.shape[-1] == 4:
        return value
    return np.concatenate([value, np.full_like(value[..., :1], 255)], -1)


def with_alpha_in(value: Pixels) -> Pixels:
    """Colour multiplied by alpha (Porter & Duff 1984), ``(..., 4)``: what lies under full transparency is forgotten."""
    alpha = value[..., 3:].astype(np.uint16)
    inside = (value[..., :3] * alpha + 127) // 255
    return np.concatenate([inside.astype(np.uint8), value[..., 3:]], -1)


def straight(value: Pixels) -> Pixels:
    """The inverse of ``with_alpha_in``: colour divided by alpha; colour above alpha is clipped, under alpha 0 it is black.

    >>> inside = with_alpha_in(np.array([[[200, 100, 7, 128]]], np.uint8))
    >>> bool((with_alpha_in(straight(inside)) == inside).all())
    True
    """
    alpha = value[..., 3:].astype(np.uint16)
    inside = np.minimum(value[..., :3], alpha)
    colour = (inside * np.uint32(255) + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([colour.astype(np.uint8), value[..., 3:]], -1)


def to_pil(value: Pixels) -> Image.Image:
    """``(H, W, 1, 3 or 4)`` as a picture."""
    return Image.fromarray(value[..., 0] if value.shape[-1] == 1 else value)


def resized(value: Pixels, size: int, framing: str, background: tuple[int, ...]) -> Pixels:
    """``(H, W, C) -> (size, size, C)`` with antialiasing (Lanczos): ``"crop"``, ``"pad"`` or ``"stretch"``.

    Pictures with alpha are padded with nothing, and their colours are weighed by alpha (as Pillow does).
    """
    picture = to_pil(value)
    width, height = picture.size
    if framing == "pad":
        scale = size / max(width, height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        inner = picture.resize(small, Image.Resampling.LANCZOS)
        clear = picture.mode == "RGBA"
        paper = Image.new("RGBA" if clear else "RGB", (size, size), (0, 0, 0, 0) if clear else background)
        picture = paper.convert(picture.mode)
        picture.paste(inner, ((size - small[0]) // 2, (size - small[1]) // 2))
    else:
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side) if framing == "crop" else None
        picture = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
    out = np.asarray(picture)
    return out if out.ndim == 3 else out[..., None]
