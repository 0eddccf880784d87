"""How near a sound made of a given one comes to the real one: what enhancement and repair are measured by."""

from __future__ import annotations

import torch
from torch import Tensor

from bottega.core import Measure, mean_interval
from bottega.judge._case import Case

__all__ = ["measure", "si_sdr_db"]

needs: tuple[str, ...] = ("model", "given_sound")
media: tuple[str, ...] = ("audio",)

_MOST = 64  # held-out sounds that are made again
_CHUNK = 16
_NEVER = 100.0  # dB; what a perfect copy counts as, and a sound with nothing of the real one less that


def si_sdr_db(made: Tensor, real: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, ``(..., n), (..., n) -> (...)``, within -100 and 100.

    Le Roux et al. 2019, "SDR - half-baked or well done?": what of ``made`` is a multiple of ``real``, over the rest. Means
    are taken off first. Of silence there is no multiple: -100.

    >>> at = torch.arange(1000.0)
    >>> clean, other = torch.sin(at * torch.pi / 10), torch.cos(at * torch.pi / 10)
    >>> si_sdr_db(3 * clean + 0.3 * other, clean).round().item()
    20.0
    """
    made, real = made.double(), real.double()
    made, real = made - made.mean(-1, keepdim=True), real - real.mean(-1, keepdim=True)
    energy = real.square().sum(-1, keepdim=True)
    target = (made * real).sum(-1, keepdim=True) / energy.clamp_min(1e-30) * real
    ratio = target.square().sum(-1) / (made - target).square().sum(-1).clamp_min(1e-30)
    ratio = torch.where(target.square().sum(-1) > 0, ratio, torch.zeros_like(ratio))
    return (10 * torch.log10(ratio.clamp_min(1e-30))).clamp(-_NEVER, _NEVER)


def measure(case: Case) -> list[Measure]:
    """Each held-out sound is made once from what is known of it (a noisy recording), and compared with the real one.

    ``si_sdr_db``, and ``si_sdr_gain_db``: how far that is above the given sound itself.
    """
    assert case.model is not None
    assert case.held.cond is not None
    held = case.held.take(slice(0, _MOST)).to(case.device)
    assert held.cond is not None
    rng, was = case.rng("enhancement"), case.model.training
    case.model.eval()
    parts = [case.model.sample(len(b), rng, b.cond) for b in held.split(-(-len(held) // _CHUNK))]
    case.model.train(was)
    real = case.spec.as_real(held.x)[:, 0]
    made = si_sdr_db(case.spec.as_real(torch.cat(parts))[:, 0], real)
    given = si_sdr_db(held.cond[:, 0], real)
    note = f"{len(held)} held-out sounds, each made once from the sound that is known of it"
    out = []
    about = f"above that of the given sound itself, {given.mean().item():.2f} dB; "
    for name, each, more in (("si_sdr_db", made, ""), ("si_sdr_gain_db", made - given, about)):
        value, low, high = mean_interval(each)
        out.append(Measure(name, value, low, high, n=len(held), seed=case.seed, better="higher", note=more + note))
    return out
