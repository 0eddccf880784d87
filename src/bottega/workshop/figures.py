"""How measured numbers are written, everywhere the same: in tables, pages, cards and the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from bottega.workshop.evidence import MeasurePart

__all__ = ["figure", "figure_with_unit", "interval", "rows_of", "span", "title", "unit"]

_UNITS = {
    "_nats": "nats", "_bits": "bits", "_ms": "ms", "_seconds": "s", "_hz": "Hz", "_bytes": "bytes", "_percent": "%", "_db": "dB",
}  # fmt: skip
_ACRONYMS = {"nll": "NLL", "fid": "FID", "iwae": "IWAE", "elbo": "ELBO", "kl": "KL", "f1": "F1", "auc": "AUC",
             "auroc": "AUROC", "tstr": "TSTR", "trtr": "TRTR", "gan": "GAN", "vae": "VAE", "ks": "KS", "js": "JS", "frechet": "Fréchet",
             "psnr": "PSNR", "ssim": "SSIM", "bleu": "BLEU", "chrf": "chrF", "rouge": "ROUGE"}  # fmt: skip


def figure(value: float | None) -> str:
    """A number with four significant digits, without an exponent where it reads well without.

    >>> figure(0.94321), figure(1234567.0), figure(12.0), figure(0.000012345), figure(None)
    ('0.9432', '1,234,567', '12', '1.234e-05', '–')
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) >= 10000 or value == int(value) else f"{value:,.1f}"
    return f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """A 95 % interval.

    >>> interval(0.9, 0.95), interval(None, None)
    ('0.9 to 0.95', '–')
    """
    return "–" if low is None or high is None else f"{figure(low)} to {figure(high)}"


def unit(name: str) -> str:
    """The unit that a measure's name carries, or nothing.

    >>> unit("nll_nats"), unit("precision")
    ('nats', '')
    """
    return next((word for suffix, word in _UNITS.items() if name.endswith(suffix)), "")


def title(name: str) -> str:
    """A measure's name as people read it, without its unit.

    >>> title("nll_nats"), title("tstr_f1"), title("bits_per_dim")
    ('NLL', 'TSTR F1', 'Bits per dim')
    """
    for suffix in _UNITS:
        name = name.removesuffix(suffix)
    words = [_ACRONYMS.get(word, word) for word in name.split("_")]
    return " ".join(words)[:1].upper() + " ".join(words)[1:]


def figure_with_unit(measure: MeasurePart) -> str:
    """A measure's value with its unit, and the bound it is, when it is one."""
    text = " ".join(part for part in (figure(measure.value), unit(measure.name)) if part)
    return f"{text} ({measure.bound})" if measure.bound else text


def span(seconds: float) -> str:
    """A length of time.

    >>> span(0.25), span(75), span(3725), span(200000)
    ('0.25 s', '1 min 15 s', '1 h 2 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = whole // 60
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def rows_of(part: BaseModel, *, without: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """A part of the evidence as ``(label, text)``, field by field, so that nothing in it can be left out by mistake.

    >>> from bottega.workshop.evidence import CostPart
    >>> rows_of(CostPart(seconds=75.0, parameters=1234))[:3]
    [('seconds', '1 min 15 s'), ('steps', '0'), ('rows seen', '0')]
    """
    out = []
    for name in type(part).model_fields:
        value = getattr(part, name)
        if name in without:
            continue
        if name.endswith("seconds"):
            text = span(value)
        elif isinstance(value, float):
            text = figure(value)
        elif isinstance(value, int):
            text = f"{value:,}"
        else:
            text = str(value) or "–"
        out.append((name.replace("_", " "), text))
    return out
