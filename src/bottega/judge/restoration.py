"""How near a picture made of a given one comes to the real one: super-resolution, restoring, translation of pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bottega.core import Batch, Measure, mean_interval
from bottega.judge._case import Case

__all__ = ["measure", "psnr", "ssim"]

needs: tuple[str, ...] = ("model", "given")
media: tuple[str, ...] = ("image",)

_MOST = 128  # held-out pictures that are made again
_CHUNK = 64
_NEVER = 100.0  # dB; what two equal pictures count as


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1], ``(N, C, H, W), (N, C, H, W) -> (N,)``; at most 100.

    >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.2)).round().item()
    20.0
    """
    error = (a - b).double().square().flatten(1).mean(1)
    return (10 * torch.log10(4 / error.clamp_min(1e-30))).clamp_max(_NEVER)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of pictures in [-1, 1], ``(N, C, H, W), (N, C, H, W) -> (N,)``; 1 for equal ones.

    Wang et al. 2004, IEEE TIP 13(4), equation 13: a Gaussian window of 11 pixels and standard deviation 1.5 (a smaller
    one where the picture is), K1 = 0.01, K2 = 0.03, the mean over windows inside the picture and over channels.
    """
    side = min(11, min(a.shape[2:]) // 2 * 2 - 1)
    place = torch.arange(side, device=a.device, dtype=torch.float64) - side // 2
    line = torch.exp(-(place**2) / (2 * 1.5**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None].expand(a.shape[1], 1, side, side)
    x, y = (a.double() + 1) / 2, (b.double() + 1) / 2

    def mean(t: Tensor) -> Tensor:
        return F.conv2d(t, window, groups=t.shape[1])

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    like = (2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return like.flatten(1).mean(1)


def measure(case: Case) -> list[Measure]:
    """Each held-out picture is made once from what is known of it, and compared with the real one.

    ``restored_psnr_db`` and ``restored_ssim``; ``restored_gain_db`` is the PSNR above that of the given picture itself,
    brought to size by bicubic interpolation: what was gained over doing nothing (a sketch gains by being coloured at
    all). Where several pictures fit what is given, their mean has the highest PSNR and looks blurred: read these
    figures beside the Fréchet distance.
    """
    assert case.model is not None
    rows = case.rng("restoration rows").permutation(len(case.held))[:_MOST]
    held = case.held.take(rows.to(case.held.x.device)).to(case.device)
    rng, was = case.rng("restoration"), case.model.training
    case.model.eval()
    parts = [case.model.sample(len(b), rng, b.cond) for b in _chunks(held)]
    case.model.train(was)
    made = case.spec.as_real(torch.cat(parts)).clamp(-1, 1)
    real = case.spec.as_real(held.x)
    assert held.cond is not None
    nothing = psnr(_brought(held.cond, real), real)
    note = f"{len(real)} held-out pictures, each made once from the picture that is known of it"
    out = []
    gain = "PSNR above that of the given picture itself, enlarged (bicubic) where it is smaller: "
    for name, each, about in (
        ("restored_psnr_db", psnr(made, real), ""),
        ("restored_ssim", ssim(made, real), ""),
        ("restored_gain_db", psnr(made, real) - nothing, f"{gain}{nothing.mean().item():.2f} dB; "),
    ):
        value, low, high = mean_interval(each)
        out.append(Measure(name, value, low, high, n=len(real), seed=case.seed, better="higher", note=f"{about}{note}"))
    return out


def _chunks(batch: Batch) -> list[Batch]:
    return batch.split(-(-len(batch) // _CHUNK))


def _brought(given: Tensor, like: Tensor) -> Tensor:
    """The given picture with the sides and channels of another."""
    if given.shape[2:] != like.shape[2:]:
        given = F.interpolate(given, size=like.shape[2:], mode="bicubic", align_corners=False).clamp(-1, 1)
    if given.shape[1] == 1:
        return given.expand_as(like)
    return given if given.shape[1] == like.shape[1] else given.mean(1, keepdim=True).expand_as(like)
