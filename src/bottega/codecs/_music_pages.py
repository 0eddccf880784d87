"""Pictures of scores: piano rolls, and a plain page of staves."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bottega.core import DataError, Item, OutputError
from bottega.core.score import Note, Score, key_name

__all__ = ["rolls", "staves"]

COLOURS = ("#b3402c", "#c88a2d", "#4c7a51", "#2f5d8a", "#7a4c86", "#5b5b5b", "#1f8f8f", "#9a6b4f")
_PAPER, _INK, _FAINT = "#faf9f6", "#2b2926", "#d9d5cc"
_MOST = 8  # pieces on a page
_BLACK = {1, 3, 6, 8, 10}


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=_PAPER)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path, mark: Mapping[str, str] | None) -> Path:
    path = path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata=None if mark is None else {"bottega": json.dumps(dict(mark))})
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    return path


def rolls(items: Sequence[Item], path: Path, mark: Mapping[str, str] | None = None) -> Path:
    """A piano roll of each of the first few pieces, parts in colours, bars as lines; raises DataError for none.

    The mark is a text of the PNG, as ``trust.mark`` reads it.
    """
    from matplotlib.patches import Rectangle

    some = [item for item in items if isinstance(item.value, Score)][:_MOST]
    if not some:
        raise DataError("there is no piece to show; give at least one")
    figure = _figure(11, 0.4 + 2.4 * len(some))
    axes = figure.subplots(len(some), 1, squeeze=False)[:, 0]
    for item, ax in zip(some, axes, strict=True):
        score: Score = item.value
        ax.set_facecolor("white")
        pitches = [n.pitch for n in score.notes] or [60]
        low, high = min(pitches) - 2, max(pitches) + 2
        for pitch in range(low, high + 1):
            if pitch % 12 in _BLACK:
                ax.axhspan(pitch - 0.5, pitch + 0.5, color="#f3f1ec", lw=0)
        for start, _ in score.bars():
            ax.axvline(start / score.ticks, color=_FAINT, lw=0.8, zorder=1)
        for n in score.notes:
            colour = COLOURS[n.part % len(COLOURS)]
            ax.add_patch(Rectangle((n.onset / score.ticks, n.pitch - 0.42), n.duration / score.ticks, 0.84,
                                   facecolor=colour, edgecolor=_PAPER, lw=0.4, alpha=0.35 + 0.65 * n.velocity / 127, zorder=2))  # fmt: skip
        ax.set_xlim(0, max(1, score.length) / score.ticks)
        ax.set_ylim(low - 0.5, high + 0.5)
        ticks = [p for p in range(low, high + 1) if p % 12 == 0]
        ax.set_yticks(ticks, [f"C{p // 12 - 1}" for p in ticks])
        ax.tick_params(labelsize=7, length=2, colors=_INK)
        ax.set_title(_told(item), fontsize=8, loc="left", color=_INK, parse_math=False)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    axes[-1].set_xlabel("quarter notes", fontsize=8, color=_INK)
    figure.tight_layout()
    return _save(figure, path, mark)


def _told(item: Item) -> str:
    score: Score = item.value
    parts = ", ".join(p.name for p in score.parts if p.name)
    said = [item.name, "" if item.cond is None else str(item.cond), key_name(score.key()), parts]
    return textwrap.shorten(" · ".join(filter(None, said)), 110, placeholder="…")


# diatonic place of each pitch class and its sign, in keys of sharps and of flats
_SHARP = (
    (0, ""),
    (0, "♯"),
    (1, ""),
    (1, "♯"),
    (2, ""),
    (3, ""),
    (3, "♯"),
    (4, ""),
    (4, "♯"),
    (5, ""),
    (5, "♯"),
    (6, ""),
)
_FLAT = (
    (0, ""),
    (1, "♭"),
    (1, ""),
    (2, "♭"),
    (2, ""),
    (3, ""),
    (4, "♭"),
    (4, ""),
    (5, "♭"),
    (5, ""),
    (6, "♭"),
    (6, ""),
)
_BOTTOM = {"G": 30, "F": 18}  # diatonic places (octave * 7 + step) of the lowest line: E4 and G2
_PER_LINE = 24.0  # quarters in a system


def staves(score: Score, path: Path, title: str = "", mark: Mapping[str, str] | None = None) -> Path:
    """A page of staves: heads, stems, dots, signs and bar lines; a G staff for what lies from middle C up, an F staff below.

    Parts are told apart by stems (upper part of a staff up, lower one down). Beams and rests are left out.

    Raises:
        DataError: nothing to draw.
    """
    from matplotlib.patches import Ellipse

    if not score.notes:
        raise DataError("there is no piece to show; give at least one")
    quarters = score.length / score.ticks
    systems = min(12, max(1, -(-int(quarters * 1000) // int(_PER_LINE * 1000))))
    names = _FLAT if score.key().fifths < 0 else _SHARP
    lines = [[n.pitch for n in line] for line in score.lines()]
    middle = [sum(line) / len(line) if line else 60.0 for line in lines]
    staff_of = ["G" if m >= 60 - 0.5 * (len(lines) == 1) else "F" for m in middle]
    both = len(score.parts) == 1

    def seat(n: Note) -> tuple[str, int]:
        """Staff and diatonic place."""
        return ("G" if n.pitch >= 60 else "F") if both else staff_of[n.part], (n.pitch // 12 - 1) * 7 + names[
            n.pitch % 12
        ][0]

    heights = [_y(*seat(n)) for n in score.notes]
    low, high = min(8.0, min(heights) - 3), max(48.0, max(heights) + 3)  # notes far from their staff need room
    figure = _figure(11, 0.7 + 2.5 * systems * (high - low) / 40)
    axes = figure.subplots(systems, 1, squeeze=False)[:, 0]
    for k, ax in enumerate(axes):
        begin = k * _PER_LINE
        ax.set_xlim(begin - 1.6, begin + _PER_LINE + 0.3)
        ax.set_ylim(low, high)
        ax.axis("off")
        for clef, bottom in _BOTTOM.items():
            for line in range(5):
                ax.plot([begin - 1.4, begin + _PER_LINE], [_y(clef, bottom + 2 * line)] * 2, color=_INK, lw=0.5)
            at = bottom + (2 if clef == "G" else 6)  # a clef says on which line its letter lies
            ax.text(
                begin - 1.3, _y(clef, at), clef, fontsize=13, style="italic", family="serif", va="center", color=_INK
            )
        for start, ticks in [*score.bars(), (score.length, 0)]:
            x = start / score.ticks
            if begin < x <= begin + _PER_LINE:
                ax.plot([x - 0.25] * 2, [_y("F", 18), _y("G", 38)], color=_INK, lw=0.6 if ticks else 1.6)
        for n in score.notes:
            x = n.onset / score.ticks
            if not begin <= x < begin + _PER_LINE:
                continue
            sign = names[n.pitch % 12][1]
            clef, place = seat(n)
            y, long = _y(clef, place), n.duration / score.ticks
            bottom = _BOTTOM[clef]
            for ledger in [*range(bottom - 2, place - 1, -2), *range(bottom + 10, place + 1, 2)]:
                ax.plot([x - 0.3, x + 0.3], [_y(clef, ledger)] * 2, color=_INK, lw=0.5)
            ax.add_patch(
                Ellipse(
                    (x, y), 0.36, 1.5, angle=0, facecolor=_INK if long < 2 else _PAPER, edgecolor=_INK, lw=1.0, zorder=3
                )
            )
            if sign:
                ax.text(x - 0.25, y, sign, fontsize=8, ha="right", va="center", color=_INK)
            if long in {0.75, 1.5, 3.0}:
                ax.text(x + 0.3, y + 0.3, "·", fontsize=10, va="center", color=_INK)
            if long < 4:
                mates = [p for p in range(len(lines)) if staff_of[p] == clef and lines[p]]
                up = place < bottom + 4 if both or len(mates) == 1 else n.part == mates[0]
                side = 0.17 if up else -0.17
                ax.plot([x + side] * 2, [y, y + (6 if up else -6)], color=_INK, lw=0.8)
                for flag in range({0.5: 1, 0.75: 1, 0.25: 2}.get(long, 0)):
                    tip = y + (6 - 1.4 * flag if up else -6 + 1.4 * flag)
                    ax.plot([x + side, x + side + 0.25], [tip, tip + (-1.6 if up else 1.6)], color=_INK, lw=1.1)
    if title:
        figure.suptitle(title, fontsize=10, color=_INK, parse_math=False)
    figure.tight_layout()
    return _save(figure, path, mark)


def _y(clef: str, place: int) -> float:
    """Height of a diatonic place; the staves stand a little apart."""
    return place + (4.0 if clef == "G" else -4.0)
