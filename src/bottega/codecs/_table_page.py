"""A page of small charts: how often each column of a table has each of its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bottega.codecs._column import FEW, Column
from bottega.core import Item

__all__ = ["draw_marginals"]


def draw_marginals(columns: Sequence[Column], items: Sequence[Item], against: Sequence[Item], path: Path) -> Path:
    """Write a PNG with the marginal of each column; real rows ``against`` stand behind the generated ``items``."""
    from matplotlib.figure import Figure

    across = min(5, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(2.6 * across, 2.1 * down), layout="constrained")
    axes = np.atleast_1d(figure.subplots(down, across)).ravel()
    for axis, column in zip(axes, columns, strict=False):
        name = column.name
        _marginal(axis, column, [i.value.get(name) for i in items], [i.value.get(name) for i in against])
    for axis in axes[len(columns) :]:
        axis.set_axis_off()
    if against:
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return path


def _marginal(axis: Any, column: Column, made: list[Any], real: list[Any]) -> None:
    """Bars where values are few, a histogram where they are many."""
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

    axis.set_title(column.name, fontsize=9, loc="left", parse_math=False)  # dollars are money here
    axis.tick_params(labelsize=6, length=2)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.set_yticks([])
    series = [(real, "#b9c0c8", "real")] if real else []
    series.append((made, "#1f77b4", "generated"))
    if column.numeric and (column.code == "modes" or len(column.values) > FEW):
        numbers = [column.to_numbers([v for v in values if v is not None]) for values, _, _ in series]
        known = np.concatenate(numbers)
        low, high = (known.min(), known.max()) if len(known) else (column.low, column.high)
        edges = np.linspace(low, high, 31) if np.nextafter(low, np.inf) < high else np.array([low - 0.5, high + 0.5])
        for known, (_, colour, label) in zip(numbers, series, strict=True):
            line = {"histtype": "step", "linewidth": 1.4} if real and label == "generated" else {"alpha": 0.9}
            weights = np.full(len(known), 1 / max(1, len(known)))
            axis.hist(known, edges, weights=weights, color=colour, label=label, **line)
        if column.kind in {"date", "datetime"}:
            ticks = np.clip(np.linspace(edges[0], edges[-1], 3), column.low, column.high)
            axis.set_xticks(ticks, [column.text(v)[:10] for v in column.to_values(ticks)])
        else:
            axis.xaxis.set_major_locator(MaxNLocator(4))
            if edges[-1] >= 10_000:
                axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        return
    counts = [Counter("missing" if v is None else column.text(v) for v in values) for values, _, _ in series]
    common = [name for name, _ in sum(counts, Counter()).most_common(8)]
    if column.numeric:  # in their order, not by how often
        order = [column.text(v) for v in sorted({v for values, _, _ in series for v in values if v is not None})]
        common.sort(key=lambda name: order.index(name) if name in order else len(order))
    height = 0.8 / len(series)
    for k, (count, (values, colour, label)) in enumerate(zip(counts, series, strict=True)):
        places = np.arange(len(common)) + (k - (len(series) - 1) / 2) * height
        shares = [count[name] / max(1, len(values)) for name in common]
        axis.barh(places, shares, height * 0.9, color=colour, label=label)
    labels = [name if len(name) <= 14 else f"{name[:13]}…" for name in common]
    axis.set_yticks(range(len(common)), labels, parse_math=False)
    axis.set_ylim(max(len(common), 4) - 0.5, -0.5)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
