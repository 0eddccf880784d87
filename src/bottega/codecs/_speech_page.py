"""A page of one utterance: its waveform, its mel bands with F0, and where each sound lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from bottega.codecs._sound_page import _INK, RANGE, _draw_wave
from bottega.core import OutputError, Sound
from bottega.nets.spectrogram import mel_filters

__all__ = ["draw_speech"]


def draw_speech(
    sound: Sound, db: Tensor, f0: Tensor, sounds: Sequence[tuple[str, int]], path: Path, *, hop: int, window: int, title: str = ""
) -> Path:  # fmt: skip
    """Draw as PNG; returns the path.

    Args:
        sound: the samples.
        db: mel bands in decibels ``(mels, t)``.
        f0: Hz of each frame ``(t,)``, 0 where nothing is voiced.
        sounds: names and frames of what is said, in order.
        path: where to; ``.png`` is added where there is no ending.
        hop: samples of a frame.
        window: samples that a frame looks at.
        title: above the page.

    Raises:
        OutputError: the place cannot be written.
    """
    import torch
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    mels, t = db.shape
    seconds = t * hop / sound.rate
    figure = Figure(figsize=(max(6.0, min(14.0, 3.2 * seconds)), 3.6), dpi=130)
    FigureCanvasAgg(figure)
    wave, bands = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 2.4], "hspace": 0.05})
    _draw_wave(wave, torch.from_numpy(np.ascontiguousarray(sound.mono())), sound)
    wave.set_axis_off()
    if title:
        wave.set_title(title, fontsize=8, color=_INK, loc="left")
    top = float(db.max())
    bands.imshow(db, origin="lower", aspect="auto", cmap="magma", vmin=top - RANGE, vmax=top, extent=(0, seconds, 0, mels),
                 interpolation="nearest")  # fmt: skip
    places = mel_filters(sound.rate, window, mels).argmax(1) * sound.rate / window
    at = (np.arange(t) + 0.5) * hop / sound.rate
    height = np.array([float((places < float(hz)).sum()) if hz > 0 else np.nan for hz in f0])
    bands.plot(at, height, color="#7fe3ff", linewidth=1.2)
    end = 0.0
    for name, frames in sounds:
        begin, end = end, end + frames * hop / sound.rate
        if not frames:
            continue
        bands.axvline(end, color="white", linewidth=0.4, alpha=0.6)
        if name.strip():
            bands.text(
                (begin + end) / 2, mels * 1.01, name, fontsize=6, ha="center", va="bottom", color=_INK, rotation=0
            )
    ticks = [hz for hz in (200, 500, 1000, 2000, 4000) if hz < sound.rate / 2]
    bands.set_yticks([float((places < hz).sum()) for hz in ticks], [f"{hz / 1000:g}k" for hz in ticks])
    bands.tick_params(labelsize=6, length=2, colors=_INK, pad=1)
    bands.set_xlim(0, seconds)
    bands.set_xlabel("seconds", fontsize=6, color=_INK)
    path = path if path.suffix else path.with_suffix(".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return path
