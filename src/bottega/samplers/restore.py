"""Diffusion where something is given already: parts of an example, a rough draft, or a spoilt picture.

``samplers.diffusion`` says what ``denoise`` is. A denoiser that was trained on whole, clean examples serves for all of
these; nothing is trained for the task.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bottega.core import Rng
from bottega.samplers.diffusion import Denoise
from bottega.samplers.solvers import ddim

__all__ = ["BLUR", "NOISE", "WAYS", "Measurement", "begin_at", "measurement", "repaint", "restore"]

WAYS = ("half", "quarter", "grey", "blur", "noise")
NOISE = 50 / 127.5  # standard deviation of "noise": 50 of 256 grey levels
BLUR = 1 / 20  # standard deviation of "blur", as a part of the shorter side
_LEAST = 0.05  # singular values below this part of the greatest are not undone: 8-bit rounding would be all they hold


def repaint(
    denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, known: Tensor, keep: Tensor, tries: int = 5
) -> Tensor:
    """Fill what is not kept: ancestral steps with the known part, noised, put back before each (RePaint).

    Every step is made ``tries`` times, going back up in noise between them, so that both parts agree (Lugmayr et al.
    2022, arXiv:2201.09865, Alg. 1). The result equals ``known`` wherever ``keep`` is True.
    """
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        for again in reversed(range(tries if then > 0 else 1)):
            x = torch.where(keep, known + now * rng.normal(*x.shape), x)
            x = ddim(denoise, x, torch.stack([now, then]), rng, eta=1.0)
            if again:
                x = x + (now**2 - then**2).sqrt() * rng.normal(*x.shape)
    return torch.where(keep, known, x)


def begin_at(sigmas: Tensor, strength: float) -> Tensor:
    """The last ``strength`` of the steps, for a draft to be noised to and worked out from (SDEdit).

    Meng et al. 2022, arXiv:2108.01073: the draft keeps what the first noise level does not drown. At 1 these are all
    the levels, at 0 only the last one, which leaves the draft as it is.

    >>> begin_at(torch.tensor([80.0, 9.0, 1.0, 0.1, 0.0]), 0.5)
    tensor([1.0000, 0.1000, 0.0000])
    """
    return sigmas[round((1 - strength) * (len(sigmas) - 1)) :]


class Measurement:
    """A linear map ``A`` of pictures, a matrix for each axis, with its pseudo-inverse: ``(B, C, H, W) -> (B, c, h, w)``.

    Args:
        axes: ``(c, C)``, ``(h, H)`` and ``(w, W)``.
    """

    def __init__(self, *axes: Tensor) -> None:
        self.axes, self.inverse = axes, [torch.linalg.pinv(matrix, rtol=_LEAST) for matrix in axes]

    def of(self, x: Tensor) -> Tensor:
        """``A x``."""
        return _along(x, *self.axes)

    def back(self, y: Tensor) -> Tensor:
        """``A^+ y``, the least picture that is measured as ``y`` (up to singular values too small to undo)."""
        return _along(y, *self.inverse)


def _along(x: Tensor, colour: Tensor, down: Tensor, across: Tensor) -> Tensor:
    return torch.einsum("bchw,dc,ih,jw->bdij", x, colour, down, across)


def _resampling(size: int, new: int, kernel: Callable[[float], float], reach: float) -> Tensor:
    """The matrix ``(new, size)`` that resizes a line of pixels as Pillow does: the kernel is as wide as a new pixel or more."""
    scale = size / new
    wide = max(scale, 1.0)
    rows = []
    for i in range(new):
        centre = (i + 0.5) * scale
        apart = [(j + 0.5 - centre) / wide for j in range(size)]
        row = torch.tensor([kernel(d) if abs(d) < reach else 0.0 for d in apart], dtype=torch.float64)
        rows.append(row / row.sum())
    return torch.stack(rows).float()


def _cubic(d: float) -> float:
    d = abs(d)
    return 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2


def _lanczos(d: float) -> float:
    return 1.0 if d == 0 else 3 * math.sin(math.pi * d) * math.sin(math.pi * d / 3) / (math.pi * d) ** 2


def _gaussian(size: int, std: float) -> Tensor:
    """A Gaussian blur of a line of pixels, the edge repeated."""
    places = torch.arange(size)
    rows = torch.zeros(size, size)
    for step in range(-math.ceil(4 * std), math.ceil(4 * std) + 1):
        rows[places, (places + step).clamp(0, size - 1)] += math.exp(-0.5 * (step / std) ** 2)
    return rows / rows.sum(1, keepdim=True)


def measurement(way: str, shape: tuple[int, int, int], given: Tensor) -> tuple[Measurement, Tensor]:
    """What was measured in one of ``WAYS`` but ``"noise"``, and the measured numbers ``y``.

    Args:
        way: ``"half"`` and ``"quarter"``: made smaller (bicubic, antialiased) and brought to its size again (Lanczos);
            ``"grey"``: brightness only, and alpha where there is any; ``"blur"``: a Gaussian of a twentieth of the shorter side.
        shape: ``(C, H, W)`` of a picture.
        given: spoilt pictures of that shape, ``(B, C, H, W)``.
    """
    channels, *sides = shape
    lines = [torch.eye(side, device=given.device) for side in sides]
    colours = torch.eye(channels, device=given.device)
    if way == "grey":
        weights = [0.299, 0.587, 0.114] if channels >= 3 else [1.0] * channels  # of brightness (ITU-R BT.601)
        rows = torch.block_diag(torch.tensor([weights]), torch.eye(channels - len(weights))).to(given.device)
        seen = Measurement(rows, *lines)
        return seen, seen.of(given)
    if way == "blur":
        return Measurement(colours, *(_gaussian(s, BLUR * min(sides)).to(given.device) for s in sides)), given
    factor = {"half": 2, "quarter": 4}[way]
    small = [side // factor for side in sides]
    seen = Measurement(
        colours, *(_resampling(a, b, _cubic, 2).to(given.device) for a, b in zip(sides, small, strict=True))
    )
    enlarged = Measurement(
        colours, *(_resampling(b, a, _lanczos, 3).to(given.device) for a, b in zip(sides, small, strict=True))
    )
    return seen, enlarged.back(given)


def restore(
    denoise: Denoise, x: Tensor, sigmas: Tensor, rng: Rng, seen: Measurement, y: Tensor, tries: int = 1
) -> Tensor:
    """An example whose measurement is ``y``: ancestral steps whose ``x0`` is set right where it was measured (DDNM).

    Wang et al. 2022, arXiv:2212.00490, Alg. 1 (``tries`` 1) and 2 (time travel): ``x0 - A^+ (A x0 - y)`` leaves what the
    measurement does not see to the denoiser. Chosen over DPS (Chung et al. 2022) and PiGDM (Song et al. 2023) because
    the measurement then holds exactly and no gradient passes the network, which halves time and memory.
    """
    fixed = seen.back(y)
    for now, then in zip(sigmas, sigmas[1:], strict=False):
        for again in reversed(range(tries if then > 0 else 1)):

            def right(x: Tensor, sigma: Tensor) -> Tensor:
                x0 = denoise(x, sigma)
                return x0 + fixed - seen.back(seen.of(x0))

            x = ddim(right, x, torch.stack([now, then]), rng, eta=1.0)
            if again:
                x = x + (now**2 - then**2).sqrt() * rng.normal(*x.shape)
    return x
