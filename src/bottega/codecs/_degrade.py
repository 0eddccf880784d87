"""Ways to spoil a picture: what super-resolution, colouring, deblurring, denoising and sketch-to-picture learn to undo."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from bottega.codecs._pixels import Pixels, straight, to_pil, with_alpha_in
from bottega.core import DataError, Rng

__all__ = ["DEGRADATIONS", "degraded", "degraded_shape"]

NOISE = 50.0  # standard deviation of "noise", in grey levels: the hardest of the field's usual three (15, 25, 50)
_BLUR = 1 / 20  # standard deviation of "blur", as a part of the shorter side: 1.6 pixels of 32


def _smaller(value: Pixels, factor: int) -> Pixels:
    height, width = value.shape[0] // factor, value.shape[1] // factor
    planes = [
        np.asarray(Image.fromarray(value[..., c]).resize((width, height), Image.Resampling.BICUBIC))
        for c in range(value.shape[-1])
    ]
    return np.stack(planes, -1)


def _grey(value: Pixels) -> Pixels:
    if value.shape[-1] == 1:
        return value
    return np.asarray(to_pil(value[..., :3]).convert("L"))[..., None]


def _blur(value: Pixels) -> Pixels:
    radius = _BLUR * min(value.shape[:2])
    planes = [Image.fromarray(value[..., c]).filter(ImageFilter.GaussianBlur(radius)) for c in range(value.shape[-1])]
    return np.stack([np.asarray(plane) for plane in planes], -1)


def _noise(value: Pixels) -> Pixels:
    """The stream is seeded by the picture's own pixels, so a picture always gets the same noise."""
    drawn = Rng(zlib.crc32(value.tobytes())).normal(*value.shape).numpy()
    return (value + NOISE * drawn).round().clip(0, 255).astype(np.uint8)


def _edges(value: Pixels) -> Pixels:
    """Dark lines on white paper where brightness changes (Sobel & Feldman 1968)."""
    grey = np.pad(_grey(value)[..., 0].astype(np.float32), 1, mode="edge")
    down = grey[2:] - grey[:-2]
    across = grey[:, 2:] - grey[:, :-2]
    y = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    x = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    return (255 - np.hypot(x, y)).clip(0, 255).round().astype(np.uint8)[..., None]


_WAYS: dict[str, tuple[Callable[[Pixels], Pixels], int, bool]] = {  # how, how much smaller, whether colour is lost
    "half": (lambda value: _smaller(value, 2), 2, False),
    "quarter": (lambda value: _smaller(value, 4), 4, False),
    "grey": (_grey, 1, True),
    "blur": (_blur, 1, False),
    "noise": (_noise, 1, False),
    "edges": (_edges, 1, True),
}
DEGRADATIONS = tuple(_WAYS)


def degraded(value: Pixels, way: str) -> Pixels:
    """A picture ``(H, W, C)`` spoilt in one of ``DEGRADATIONS``, the same every time.

    ``"half"`` and ``"quarter"``: smaller, with antialiasing (bicubic). ``"grey"``: without colour, one channel.
    ``"blur"``: a Gaussian of a twentieth of the shorter side. ``"noise"``: normal noise of 50 grey levels, clipped.
    ``"edges"``: the outlines as dark lines on white, one channel. Pictures with alpha are spoilt premultiplied; what
    has one channel is made of them laid on white.

    >>> flat = np.full((8, 8, 3), 100, np.uint8)
    >>> {way: degraded(flat, way).shape for way in ("half", "grey")}, int(degraded(flat, "edges").min())
    ({'half': (4, 4, 3), 'grey': (8, 8, 1)}, 255)
    """
    how, _, colourless = _WAYS[way]
    if value.shape[-1] < 4:
        return how(value)
    inside = with_alpha_in(value)
    return how(inside[..., :3] + (255 - inside[..., 3:])) if colourless else straight(how(inside))


def degraded_shape(shape: tuple[int, int, int], way: str) -> tuple[int, int, int]:
    """Of a degraded picture, ``(C, H, W) -> (C, H, W)``; raises DataError where the sides cannot be divided.

    >>> degraded_shape((3, 32, 32), "half"), degraded_shape((3, 32, 32), "edges")
    ((3, 16, 16), (1, 32, 32))
    """
    channels, height, width = shape
    _, factor, colourless = _WAYS[way]
    if height % factor or width % factor:
        raise DataError(
            f"pictures of {width}x{height} cannot be made {factor} times smaller; set codec.size to a multiple of {factor}"
        )
    return (1 if colourless else channels, height // factor, width // factor)
