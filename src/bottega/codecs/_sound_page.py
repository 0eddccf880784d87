"""The picture of sounds: for each its waveform, and below it its spectrum over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bottega.core import DataError, OutputError, Sound
from bottega.nets.spectrogram import LogMel, fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_sounds", "drawn_to"]

MOST = 16  # sounds on one page
RANGE = 80.0  # decibels from white to black
_INK, _WAVE = "#56544f", "#1f77b4"


def drawn_to(path: Path) -> Path:
    """Where a picture goes that was asked for at ``path``: the ending becomes ``.png``."""
    return path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")


def draw_sounds(rows: Sequence[tuple[str, Sound]], path: Path, columns: int = 0) -> Path:
    """A PNG of up to 16 sounds: waveform (full scale or the peak, whichever is more) above a log-mel spectrum of 80 dB.

    Args:
        rows: caption and sound.
        path: where to; the ending becomes ``.png``.
        columns: sounds in one row; 0 chooses.

    Raises:
        DataError: there are no sounds.
        OutputError: the place cannot be written.
    """
    from matplotlib.figure import Figure

    if not rows:
        raise DataError("there are no sounds to show; give at least one")
    rows = rows[:MOST]
    columns = columns or min(len(rows), 4 if len(rows) > 4 else max(1, len(rows)))
    lines = math.ceil(len(rows) / columns)
    figure = Figure(figsize=(max(4.0, 2.5 * columns), 2.1 * lines), layout="constrained")
    cells = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[1, 2] * lines)
    for axis in cells.flat:
        axis.set_axis_off()
    for k, (caption, sound) in enumerate(rows):
        line, column = divmod(k, columns)
        wave, spectrum = cells[2 * line][column], cells[2 * line + 1][column]
        x = torch.from_numpy(sound.mono().copy())
        _draw_wave(wave, x, sound)
        _draw_spectrum(spectrum, x, sound, first=column == 0)
        if caption:
            wave.set_title(caption[:40], fontsize=8, color=_INK, pad=2)
    path = drawn_to(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; choose another place") from error
    return path


def _draw_wave(axis: Axes, x: torch.Tensor, sound: Sound) -> None:
    """Least and most of each of 400 parts, so that no peak is lost."""
    parts = min(400, len(x))
    edges = torch.linspace(0, len(x), parts + 1).long().tolist()
    low = [float(x[a : max(b, a + 1)].min()) for a, b in zip(edges, edges[1:], strict=False)]
    high = [float(x[a : max(b, a + 1)].max()) for a, b in zip(edges, edges[1:], strict=False)]
    seconds = [a / sound.rate for a in edges[:-1]]
    axis.fill_between(seconds, low, high, color=_WAVE, linewidth=0.4)
    reach = max(1.0, sound.peak)
    axis.set_ylim(-reach, reach)
    axis.set_xlim(0, sound.seconds)
    axis.axhline(0, color=_INK, linewidth=0.3)


def _draw_spectrum(axis: Axes, x: torch.Tensor, sound: Sound, first: bool) -> None:
    window = 1 << max(6, round(math.log2(0.064 * sound.rate)))
    mels = min(64, window // 8)
    net = LogMel(sound.rate, window, window // 4, mels)
    db = net(fitted(x, max(len(x), window)))
    top = float(db.max())
    axis.imshow(db, origin="lower", aspect="auto", cmap="magma", vmin=max(top, -60) - RANGE, vmax=max(top, -60),
                extent=(0, sound.seconds, 0, mels), interpolation="nearest")  # fmt: skip
    axis.set_axis_on()
    axis.tick_params(labelsize=6, length=2, colors=_INK, pad=1)
    axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
    ticks = [hz for hz in (250, 1000, 4000, 16000) if hz < sound.rate / 2]
    places = [float((net.filters.argmax(1) * sound.rate / window < hz).sum()) for hz in ticks]
    axis.set_yticks(places, [f"{hz / 1000:g}k" for hz in ticks] if first else [])
    axis.locator_params(axis="x", nbins=4)
