"""Texts on a page, as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bottega.core import DataError, Item, OutputError

__all__ = ["page"]

_COLUMNS, _LINES, _PAGE = 92, 16, 72  # of the page: characters in a line, lines of a text, lines in all


def page(items: Sequence[Item], path: Path) -> Path:
    """The first few texts on a page, what is known of each above it, as PNG."""
    import warnings

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not items:
        raise DataError("there is no text to show; give at least one")
    blocks: list[tuple[str | None, list[str]]] = []
    for item in items:
        block = (None if item.cond is None else str(item.cond), _wrapped(item.value))
        if blocks and sum(len(lines) for _, lines in [*blocks, block]) > _PAGE:
            break
        blocks.append(block)
    lead, rule = 0.205, 0.30  # inches: from line to line, between texts
    height = 0.7 + sum(lead * (len(lines) + (cond is not None)) for cond, lines in blocks) + rule * (len(blocks) - 1)
    width = 9.0
    figure = Figure(figsize=(width, height), facecolor="#faf9f6")
    FigureCanvasAgg(figure)
    y = height - 0.35
    for k, (cond, lines) in enumerate(blocks):
        if k:
            figure.add_artist(_rule(0.45 / width, 1 - 0.45 / width, (y - (rule + lead - 0.09) / 2) / height))
            y -= rule
        if cond is not None:
            y -= lead
            figure.text(
                0.45 / width,
                y / height,
                cond,
                fontsize=8.5,
                color="#8a5a2b",
                weight="bold",
                parse_math=False,
                va="baseline",
            )
        for line in lines:
            y -= lead
            figure.text(
                0.45 / width, y / height, line, fontsize=10, family="monospace", color="#2b2926", parse_math=False,
                va="baseline",
            )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a character that the face lacks is drawn as a box
            figure.savefig(path, dpi=110)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
    return path


def _rule(left: float, right: float, y: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([left, right], [y, y], color="#d9d5cc", linewidth=0.8)


def _wrapped(text: str) -> list[str]:
    """Lines of at most ``_COLUMNS`` characters, the first ``_LINES`` of them; control characters as a middle dot."""
    clean = "".join(c if c == "\n" or c.isprintable() else "·" for c in text.strip("\n").expandtabs(4))
    lines = [
        piece
        for line in clean.split("\n")
        for piece in textwrap.wrap(line, _COLUMNS, drop_whitespace=False, replace_whitespace=False) or [""]
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES - 1], "…"]
    return lines or [""]
