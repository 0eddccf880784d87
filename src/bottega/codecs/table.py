"""Tables: rows of numbers, names, truth values and dates, with gaps, to tensors and back without losing their kinds."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor

from bottega.codecs._column import FEW, KINDS, Column, Kind, kind_of
from bottega.codecs._csvw import write_csv
from bottega.codecs._table_files import read_columns
from bottega.codecs._table_page import draw_marginals
from bottega.core import Batch, Block, DataError, Item, RecipeError, Source, Spec, nearest

__all__ = ["TableCodec", "Column"]

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "?")
FINE = 32  # levels inside one bin


class TableCodec:
    """Rows as tokens (one position for each column) or as mixed vectors (numbers and one-hot choices).

    The inverse is exact in kinds, ranges, category sets, decimals and gaps, whatever tensor is decoded. A column whose
    values never vary takes no coordinate and is put back by ``decode``.

    ``form="tokens"`` is for models of sequences. A category is a token. A numeric column whose values are few or repeat
    (at most ``4 * bins`` of them, each seen 20 times on average) has one token for each value. Any other has two
    positions: a bin of about equal mass, and one of up to 32 quantile levels inside it, so that what is decoded follows
    from tokens alone; a value common enough to fill a bin (the 0 of a capital gain) is a bin of its own. A gap is a
    token of its own. Position *i* takes tokens in ``[block.start, block.start + block.width)`` of ``spec.blocks[i]``.
    The Kolmogorov-Smirnov distance between a column and its decoding is below ``1 / (32 * bins)`` on fitted rows.

    ``form="mixed"`` is for VAE, GAN and diffusion: mode-specific normalisation (Xu et al. 2019, arXiv:1907.00503, section
    4.2) by a variational Gaussian mixture, with a gap and each value that fills a tenth of the rows as modes of their own
    (Zhao et al. 2021, arXiv:2102.08369, section 3.2). The mode is the likeliest one, and its scale covers all that is
    assigned to it, so the number lies in [-1, 1] and nothing is clipped.

    Args:
        form: ``"tokens"`` or ``"mixed"``.
        bins: bins of a continuous column (``tokens``); fewer when there are fewer than ``bins ** 2`` rows.
        modes: most Gaussian modes of a numeric column (``mixed``).
        target: the column that a utility judge predicts; it is moved to the end, where a sequence model has seen the
            rest. Empty for none.
        cond: a categorical, boolean or few-valued column that becomes the condition instead of a modelled part.
        drop: columns to leave out (identifiers).
        kinds: kinds that the values do not show, as ``"name:kind"`` (``"zip:category"``, ``"day:date %d/%m/%Y"``).
        separator: between fields; empty means a comma in .csv and a tab in .tsv.
        missing: how a gap is written.
        most: most categories of one column.

    Raises:
        RecipeError: an argument is out of range.

    >>> rows = [Item({"age": 20 + i % 30, "job": "ab"[i % 2], "paid": None if i % 5 == 0 else i / 4}) for i in range(60)]
    >>> codec = TableCodec(form="mixed").fit(rows)
    >>> codec.decode(codec.encode(rows[:3]).x)[2].value
    {'age': 22, 'job': 'a', 'paid': 0.5}
    """

    medium = "table"
    spec: Spec

    def __init__(
        self,
        *,
        form: str = "tokens",
        bins: int = 64,
        modes: int = 10,
        target: str = "",
        cond: str = "",
        drop: Sequence[str] = (),
        kinds: Sequence[str] = (),
        separator: str = "",
        missing: Sequence[str] = MISSING,
        most: int = 1000,
    ) -> None:
        if form not in {"tokens", "mixed"}:
            raise RecipeError(f"codec.form is {form!r}; use 'tokens' or 'mixed'")
        if bins < 2 or modes < 1 or most < 2:
            raise RecipeError(f"codec.bins={bins}, modes={modes}, most={most}; they must be at least 2, 1 and 2")
        if len(separator) > 1:
            raise RecipeError(f"codec.separator is {separator!r}; it must be one character")
        self.form, self.bins, self.modes, self.target, self.cond = form, bins, modes, target, cond
        self.drop, self.separator, self.missing, self.most = tuple(drop), separator, frozenset(missing), most
        self.said: dict[str, tuple[str, str]] = {}
        for entry in kinds:
            name, _, what = entry.rpartition(":") if " %" not in entry else entry.partition(":")
            kind, _, pattern = what.partition(" ")
            if not name or kind not in KINDS:
                raise RecipeError(f"codec.kinds has {entry!r}; write 'name:kind' with a kind of {', '.join(KINDS)}")
            self.said[name] = (kind, pattern)
        self.columns: list[Column] = []
        self.notes: list[str] = []
        self._texts: dict[str, str] = {}  # how booleans and dates were written where `read` met them

    # ---- files -> items -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Rows of a CSV, TSV, Parquet or JSON Lines file (also .gz), or of every such file of a folder.

        ``Item.value`` maps column names to int, float, str, bool, date, datetime or None. Once fitted, values are read
        as the fitted kinds.

        Raises:
            DataError: names the file, the line or the column, and the mend.
        """
        path = Path(source)
        fitted = {c.name: (c.kind, c.format) for c in self.columns}
        columns, written = read_columns(
            path, separator=self.separator, missing=self.missing, kinds={**self.said, **fitted}
        )
        self._texts |= {name: how for name, how in written.items() if name not in fitted}
        return [
            Item(dict(zip(columns, row, strict=True)), name=f"{path.name} row {i}")
            for i, row in enumerate(zip(*columns.values(), strict=True), 1)
        ]

    # ---- fit ------------------------------------------------------------------------------------------------------

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn kinds, categories, bins or modes, and ranges; returns self.

        Raises:
            DataError: no rows, a column without a value, a column of identifiers, no such target, nothing that varies.
        """
        table = self._table(items)
        if len(items) < 2:
            raise DataError(f"the table has {len(items)} rows; at least 2 are needed to learn from")
        for what, name in (("target", self.target), ("cond", self.cond)):
            if name and name not in table:
                raise DataError(
                    f"the table has no column {name!r} for codec.{what}{nearest(name, table)}; name one, or none by "
                    f"--set codec.{what}="
                )
        self.notes = []
        order = sorted(table, key=lambda name: name == self.target)  # stable: only the target moves, to the end
        self.columns = [self._learn(name, table[name]) for name in order]
        self.header = list(table)
        self._lay_out()
        return self

    def _table(self, items: Sequence[Item]) -> dict[str, list[Any]]:
        """The rows column by column, in the first row's order."""
        if not items:
            raise DataError("the table has no rows; give a file with a header and at least two rows")
        rows = [item.value for item in items]
        if not all(isinstance(row, dict) for row in rows):
            raise DataError("an item of a table must be a dict of column -> value; this one is of another medium")
        names = (
            list(dict.fromkeys(chain.from_iterable(rows))) if any(len(r) != len(rows[0]) for r in rows) else [*rows[0]]
        )
        for name in self.drop:
            if name not in names:
                raise DataError(f"the table has no column {name!r} to drop{nearest(name, names)}")
        return {name: [_plain(row.get(name)) for row in rows] for name in names if name not in self.drop}

    def _learn(self, name: str, values: list[Any]) -> Column:
        known = [v for v in values if v is not None]
        if not known:
            raise DataError(f"column {name!r} has no values at all; leave it out with --set codec.drop='[\"{name}\"]'")
        said, pattern = self.said.get(name, ("", ""))
        kind = cast(Kind, said) if said else kind_of(name, known)
        column = Column(name, kind, self._texts.get(name, pattern), missing=len(known) < len(values))
        if not column.numeric:
            self._learn_names(column, known)
        else:
            numbers = column.to_numbers(known)
            column.low, column.high = float(numbers.min()), float(numbers.max())
            if column.kind == "number":
                column.decimals = _decimals(numbers)
            elif column.kind == "datetime":
                column.decimals = max(0, _decimals(numbers, most=6))
            self._learn_numbers(column, numbers)
        return column

    def _learn_names(self, column: Column, known: list[Any]) -> None:
        if column.kind == "boolean":
            counts = Counter(bool(v) for v in known)
        else:
            counts = Counter(str(v) for v in known)
        if column.kind == "category" and len(counts) > max(20, len(known) // 2):
            raise DataError(
                f"column {column.name!r} has {len(counts)} different texts in {len(known)} rows, so it names rows rather "
                f"than kinds and would be memorised; leave it out with --set codec.drop='[\"{column.name}\"]'"
            )
        if len(counts) > self.most:
            raise DataError(
                f"column {column.name!r} has {len(counts)} categories, more than {self.most}; leave it out with --set "
                f"codec.drop='[\"{column.name}\"]', or allow it with --set codec.most={len(counts)}"
            )
        column.values = sorted(counts)
        column.rare = min(range(len(column.values)), key=lambda i: counts[column.values[i]])
        if len(counts) == 1 and not column.missing:
            self._constant(column, column.values[0])

    def _constant(self, column: Column, value: Any) -> None:
        column.code, column.values = "constant", [value]
        shown = column.to_values(np.array([value]))[0] if column.numeric else value
        self.notes.append(f"column {column.name!r} is always {shown!r}: kept as it is, not modelled")

    def _learn_numbers(self, column: Column, numbers: np.ndarray) -> None:
        values, counts = np.unique(numbers, return_counts=True)
        if len(values) == 1 and not column.missing:
            return self._constant(column, float(values[0]))
        column.usual = float(np.median(numbers))
        if self.form == "mixed" and len(values) > FEW:
            return self._learn_modes(column, numbers, values, counts)
        column.code = "levels"
        bins = min(self.bins, max(2, math.isqrt(len(numbers))))
        repeat = len(values) <= 4 * self.bins and len(numbers) >= 20 * len(values)
        if self.form == "mixed" or len(values) <= bins or repeat:
            bin_of = level_of = np.arange(len(values))
        else:
            bin_of, level_of = _cut(counts, bins, min(FINE, bins))
        starts = np.flatnonzero(np.diff(level_of, prepend=-1))
        column.values = [
            _middle(values[a:b], counts[a:b]) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)
        ]
        column.edges = ((values[starts[1:]] + values[starts[1:] - 1]) / 2).tolist()
        column.first = np.flatnonzero(np.diff(bin_of[starts], prepend=-1)).tolist()
        return None

    def _learn_modes(self, column: Column, numbers: np.ndarray, values: np.ndarray, counts: np.ndarray) -> None:
        """Values that fill a tenth of the rows, then the Gaussian modes of the rest."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import BayesianGaussianMixture

        column.code = "modes"
        points = values[counts >= len(numbers) / 10]
        rest = np.sort(numbers[~np.isin(numbers, points)])
        center, width = float(rest.mean()), float(rest.std()) or 1.0
        part = (rest[np.linspace(0, len(rest) - 1, min(len(rest), 5000)).round().astype(int)] - center) / width
        mixture = BayesianGaussianMixture(
            n_components=min(self.modes, len(np.unique(part))), weight_concentration_prior=1e-3, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture that still moves is as good a normalisation
            mixture.fit(part[:, None])
        keep = np.flatnonzero(mixture.weights_ > 0.005)
        means = mixture.means_[keep, 0] * width + center
        spreads = np.sqrt(mixture.covariances_[keep, 0, 0]) * width
        weights = mixture.weights_[keep]
        mode = _mode(rest, means, spreads, weights)
        used = np.unique(mode)
        scales = [max(4 * spreads[k], np.abs(rest[mode == k] - means[k]).max()) for k in used]
        column.means = [*points.tolist(), *means[used].tolist()]
        column.scales = [*[0.0] * len(points), *map(float, scales)]
        column.spreads = [*[0.0] * len(points), *spreads[used].tolist()]
        column.weights = [*[0.0] * len(points), *weights[used].tolist()]

    def _lay_out(self) -> None:
        """Which coordinates or tokens each column takes: ``spec``."""
        blocks: list[Block] = []
        start = 0
        given = None
        self._places: list[int] = []  # the first block of each column; -1 when it has none
        for column in self.columns:
            self._places.append(-1)
            if column.code == "constant":
                continue
            if column.name == self.cond:
                if column.code not in {"names", "levels"} or column.fine > 1:
                    raise DataError(
                        f"codec.cond={self.cond!r} has too many values to ask for; use a column of few values"
                    )
                given = Spec((), vocab=self._choices(column))
                continue
            self._places[-1] = len(blocks)
            if column.code == "modes":
                modes = len(column.means) + column.missing
                block = (
                    Block(column.name, "mixture", start, 1 + modes)
                    if modes > 1
                    else Block(column.name, "scalar", start, 1)
                )
            else:
                block = Block(column.name, "choice", start, self._choices(column))
            blocks.append(block)
            start += block.width
            if column.fine > 1:
                blocks.append(Block(f"{column.name} (within its bin)", "choice", start, column.fine))
                start += column.fine
        if not blocks:
            raise DataError(
                "no column of the table varies, so there is nothing to model; give a table with varied rows"
            )
        if self.form == "tokens":
            self.spec = Spec((len(blocks),), vocab=start, blocks=tuple(blocks), cond=given)
        else:
            self.spec = Spec((start,), blocks=tuple(blocks), cond=given)

    def _choices(self, column: Column) -> int:
        return (len(column.first) if column.code == "levels" else len(column.values)) + column.missing

    # ---- rows <-> tensors -----------------------------------------------------------------------------------------

    def encode(self, items: Sequence[Item]) -> Batch:
        """Rows as ``x``: int64 ``(B, positions)`` tokens, or float32 ``(B, D)``; ``cond`` int64 ``(B,)`` where asked for.

        A number outside the fitted range counts as the nearest end. A category never seen in fitting counts as the rarest
        one (so that likelihoods are not flattered) and a gap never seen as the usual value, each with a warning.

        Raises:
            DataError: a column is absent, or a value is of another kind.
        """
        rows = [item.value for item in items]
        cond = None
        out = torch.zeros(len(rows), *self.spec.shape, dtype=torch.int64 if self.spec.is_tokens else torch.float32)
        for column, place in zip(self.columns, self._places, strict=True):
            if place < 0 and column.name != self.cond:
                continue
            try:
                values = [_plain(row[column.name]) for row in rows]
            except KeyError:
                raise DataError(
                    f"a row lacks column {column.name!r}, which the model was trained with; add it"
                ) from None
            if place < 0:
                cond = torch.from_numpy(self._index(column, values)[0])
                continue
            block = self.spec.blocks[place]
            if column.code == "modes":
                out[:, block.start : block.start + block.width] = torch.from_numpy(self._mixture(column, values))
                continue
            index, within = self._index(column, values)
            if not self.spec.is_tokens:
                out[torch.arange(len(rows)), block.start + torch.from_numpy(index)] = 1.0
                continue
            out[:, place] = torch.from_numpy(index) + block.start
            if column.fine > 1:
                out[:, place + 1] = torch.from_numpy(within) + self.spec.blocks[place + 1].start
        return Batch(out, cond)

    def _index(self, column: Column, values: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Name or bin of each value, and the level within the bin; a gap is the last index."""
        gap = self._choices(column) - 1
        if column.code == "names":
            known: dict[Any, int] = {v: i for i, v in enumerate(column.values)}
            if column.missing:
                known[None] = gap
            as_known = (lambda v: v) if column.kind == "boolean" else (lambda v: None if v is None else str(v))
            index = np.array([known.get(as_known(v), -1) for v in values], np.int64)
            if (index < 0).any():
                self._unseen(
                    column, values[int(np.flatnonzero(index < 0)[0])], int((index < 0).sum()), "the rarest one"
                )
                index[index < 0] = column.rare
            return index, np.zeros_like(index)
        numbers = self._filled(column, values)
        level = np.searchsorted(np.asarray(column.edges), numbers)
        bin_of = np.searchsorted(np.asarray(column.first), level, side="right") - 1
        within = level - np.asarray(column.first)[bin_of]
        gaps = np.isnan(numbers)
        return np.where(gaps, gap, bin_of), np.where(gaps, 0, within)

    def _mixture(self, column: Column, values: list[Any]) -> np.ndarray:
        """``(B, width)``: the number in [-1, 1], then the one-hot of its mode (where there is more than one)."""
        numbers = np.clip(self._filled(column, values), column.low, column.high)
        gaps = np.isnan(numbers)
        means, scales, spreads = (np.asarray(v) for v in (column.means, column.scales, column.spreads))
        points = int((scales == 0).sum())
        mode = np.zeros(len(numbers), np.int64)
        mode[~gaps] = points + _mode(
            numbers[~gaps], means[points:], spreads[points:], np.asarray(column.weights[points:])
        )
        for k in range(points):
            mode[numbers == means[k]] = k
        number = np.clip((numbers - means[mode]) / np.where(scales[mode] > 0, scales[mode], np.inf), -1, 1)
        number[gaps] = 0
        mode[gaps] = len(means)
        width = len(means) + column.missing
        if width == 1:
            return number[:, None].astype(np.float32)
        return np.concatenate([number[:, None], np.eye(width)[mode]], 1).astype(np.float32)

    def _filled(self, column: Column, values: list[Any]) -> np.ndarray:
        numbers = column.to_numbers(values)
        gaps = np.isnan(numbers)
        if gaps.any() and not column.missing:
            self._unseen(column, None, int(gaps.sum()), "its median")
            numbers[gaps] = column.usual
        return numbers

    def _unseen(self, column: Column, value: Any, count: int, taken: str) -> None:
        what = "a gap" if value is None else repr(value)
        warnings.warn(
            f"column {column.name!r} has {what} ({count} such rows), never seen in fitting; it counts as {taken}",
            stacklevel=4,
        )

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """The encoded rows."""
        return self.encode(items)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Values of the ``cond`` column, as a person types them, as int64 ``(B,)``; None is unknown (-1).

        Raises:
            RecipeError: nothing can be asked for, or there is no such value.
        """
        column = next((c for c in self.columns if c.name == self.cond), None)
        if column is None or self.spec.cond is None:
            raise RecipeError("this model was trained without a condition; leave --cond out, or train with codec.cond")
        shown = [column.text(v) for v in self._meanings(column)]
        out = []
        for value in values:
            text = value if isinstance(value, str) else column.text(value)
            if value is not None and text not in shown:
                raise RecipeError(f"column {column.name!r} has no value {text!r}{nearest(text, shown)}")
            out.append(-1 if value is None else shown.index(text))
        return torch.tensor(out, dtype=torch.int64)

    def conditions(self) -> list[str]:
        """All that ``encode_cond`` can be asked for, as a person types it; a gap is left out."""
        given = [c for c in self.columns if c.name == self.cond and self.spec.cond is not None]
        return [c.text(v) for c in given for v in self._meanings(c) if v is not None]

    def _meanings(self, column: Column) -> list[Any]:
        """The value that each index of a column without finer levels stands for; None for a gap."""
        values = column.to_values(np.asarray(column.values)) if column.numeric else list(column.values)
        return [*values, None] if column.missing else values

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """``(B, *spec.shape)`` to rows of Python values, columns in the file's order.

        Every tensor decodes to a valid row: tokens are held to their block, choices are the largest entry, numbers are
        held to the range seen in fitting. The ``cond`` column is None where ``cond`` is None or -1.
        """
        array = x.detach().to("cpu").numpy()
        columns: dict[str, list[Any]] = {}
        for column, place in zip(self.columns, self._places, strict=True):
            if column.code == "constant":
                value = column.to_values(np.array(column.values))[0] if column.numeric else column.values[0]
                columns[column.name] = [value] * len(array)
            elif place < 0:
                meanings = [*self._meanings(column), None]  # -1 picks the last
                columns[column.name] = [None] * len(array) if cond is None else [meanings[i] for i in cond.tolist()]
            else:
                columns[column.name] = self._values(column, place, array)
        given = columns.get(self.cond, [None] * len(array))
        names = self.header
        table = zip(*(columns[name] for name in names), strict=True)
        return [Item(dict(zip(names, row, strict=True)), cond=c) for row, c in zip(table, given, strict=True)]

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A row to complete and which numbers to keep: ``(1, *spec.shape)``; empty and absent columns are made anew.

        Args:
            source: a table of one row, or a row.
            mask: has no meaning for rows.

        Raises:
            RecipeError: a mask was given.
            DataError: not one row, nothing empty in it, or a name that was never seen.
        """
        if mask is not None:
            raise RecipeError(f"the empty cells of a row are made anew, so --mask {mask} means nothing; leave it out")
        row = self._one_row(source)
        filled = dict(row)
        keep = torch.ones(1, *self.spec.shape, dtype=torch.bool)
        for column, place in zip(self.columns, self._places, strict=True):
            value = row[column.name]
            if value is None:
                filled[column.name] = (
                    column.to_values(np.array([column.low]))[0] if column.numeric else column.values[0]
                )
            elif column.code == "names" and value not in column.values:
                known = ", ".join(column.text(v) for v in column.values[:8]) + (
                    ", ..." if len(column.values) > 8 else ""
                )
                raise DataError(
                    f"column {column.name!r} has {value!r}, never seen in training; leave it empty, or give one of {known}"
                )
            if value is None and place >= 0:
                blocks = self.spec.blocks[place : place + 1 + (column.fine > 1)]
                first = place if self.spec.is_tokens else blocks[0].start
                width = len(blocks) if self.spec.is_tokens else blocks[0].width
                keep[:, first : first + width] = False
        if keep.all():
            raise DataError("no cell of the row is empty, so there is nothing to make; leave those empty")
        batch = self.encode([Item(filled)])
        if batch.cond is not None and row[self.cond] is None:
            batch = Batch(batch.x, torch.full_like(batch.cond, -1))
        return batch, keep

    def restore(self, items: Sequence[Item], source: str | Path | Item) -> list[Item]:
        """Edited rows with the cells of ``source`` as they stood there, not as the model's levels have them."""
        given = {name: value for name, value in self._one_row(source).items() if value is not None}
        return [Item({**item.value, **given}, item.cond, item.name) for item in items]

    def _one_row(self, source: str | Path | Item) -> dict[str, Any]:
        """The one row of a table, with every column of the model; what is absent is None."""
        rows = [source] if isinstance(source, Item) else self.read(source)
        if len(rows) != 1:
            raise DataError(f"{source} has {len(rows):,} rows; give a table of one row to complete")
        for name in rows[0].value:
            if name not in self.header and name not in self.drop:
                raise DataError(f"the model has no column {name!r}{nearest(name, self.header)}")
        return {name: _plain(rows[0].value.get(name)) for name in self.header}

    def _values(self, column: Column, place: int, array: np.ndarray) -> list[Any]:
        block = self.spec.blocks[place]
        if self.spec.is_tokens:
            index = np.clip(array[:, place] - block.start, 0, block.width - 1)
        else:
            part = array[:, block.start : block.start + block.width].astype(np.float64)
            if column.code == "modes":
                mode = part[:, 1:].argmax(1) if block.kind == "mixture" else np.zeros(len(part), np.int64)
                means, scales = np.asarray([*column.means, np.nan]), np.asarray([*column.scales, 0.0])  # last: a gap
                return column.to_values(means[mode] + np.clip(part[:, 0], -1, 1) * scales[mode])
            index = part.argmax(1)
        if column.code == "names" or column.fine == 1:
            meanings = self._meanings(column)
            return [meanings[i] for i in index.tolist()]
        fine = self.spec.blocks[place + 1]
        first = np.asarray([*column.first, len(column.values)])
        gaps = index >= len(column.first)
        held = np.where(gaps, 0, index)
        within = np.clip(array[:, place + 1] - fine.start, 0, (first[held + 1] - first[held]) - 1)
        return column.to_values(np.where(gaps, np.nan, np.asarray(column.values)[first[held] + within]))

    # ---- items -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One row as a CSV file; see ``write_all``."""
        return self.write_all([item], path, mark)

    def write_all(self, items: Sequence[Item], path: Path, mark: dict[str, str] | None = None) -> Path:
        """All rows as one CSV file, with ``<file>-metadata.json`` (CSVW) beside it, which holds kinds and ``mark``.

        Raises:
            OutputError: the file cannot be written.
        """
        columns = {c.name: c for c in self.columns}
        words = {"number": "decimal", "category": "string"}  # the other kinds are called so in CSVW too
        kinds = {name: words.get(columns[name].kind, columns[name].kind) for name in self.header}
        rows = ([columns[n].text(item.value.get(n)) for n in self.header] for item in items)
        return write_csv(path, kinds, rows, mark)

    def show(self, items: Sequence[Item], path: Path, *, against: Sequence[Item] = ()) -> Path:
        """A PNG of every column's marginal; ``against`` draws real rows behind the generated ones."""
        columns = {c.name: c for c in self.columns}
        return draw_marginals([columns[name] for name in self.header], items, against, path.with_suffix(".png"))

    # ---- state ----------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, JSON-ready."""
        empty = asdict(Column("", "number"))
        columns = [{k: v for k, v in asdict(c).items() if k in {"name", "kind"} or v != empty[k]} for c in self.columns]
        return {"columns": columns, "header": self.header, "notes": self.notes}

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``; returns self."""
        self.columns = [Column(**c) for c in state["columns"]]
        self.header, self.notes = list(state["header"]), list(state["notes"])
        self._lay_out()
        return self


# ---- learning -----------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A NumPy scalar as a Python value; NaN as None."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and value != value else value


def _decimals(numbers: np.ndarray, most: int = 12) -> int:
    """Digits after the point that write all numbers exactly (at least 1), or -1 when more than ``most`` are needed."""
    for digits in range(1, most + 1):
        if np.array_equal(numbers.round(digits), numbers):
            return digits
    return -1


def _cut(counts: np.ndarray, bins: int, fine: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin and level of each distinct value (ascending), from how often each occurs.

    A value that fills a bin is a bin; runs of others between them are cut at equal mass. Levels cut a bin at equal mass
    again, into single values where it has no more than ``fine``.
    """
    heavy = counts >= counts.sum() / bins
    light = np.where(heavy, 0, counts)
    share = light.sum() / max(1, bins - int(heavy.sum()))
    middle = np.cumsum(light) - light / 2
    piece = np.where(heavy, -1, middle // share)
    run = np.cumsum(np.diff(heavy.astype(int), prepend=int(heavy[0])) != 0)
    new_bin = heavy | (np.diff(piece, prepend=-2) != 0) | (np.diff(run, prepend=-1) != 0)
    bin_of = np.cumsum(new_bin) - 1
    start = np.flatnonzero(new_bin)[bin_of]
    before = np.concatenate([[0], np.cumsum(counts)])
    end = np.concatenate([np.flatnonzero(new_bin)[1:], [len(counts)]])[bin_of]
    done = (before[:-1] + counts / 2 - before[start]) / (before[end] - before[start])
    rank = np.arange(len(counts)) - start
    level = np.where(end - start <= fine, rank, np.floor(done * fine).astype(int))
    new_level = new_bin | (np.diff(level, prepend=-1) != 0)
    return bin_of, np.cumsum(new_level) - 1


def _middle(values: np.ndarray, counts: np.ndarray) -> float:
    """The median, counted with multiplicity; one of the values."""
    return float(values[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])


def _mode(numbers: np.ndarray, means: np.ndarray, spreads: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The likeliest Gaussian of each number."""
    away = (numbers[:, None] - means) / spreads
    return (np.log(weights) - np.log(spreads) - away**2 / 2).argmax(1)
