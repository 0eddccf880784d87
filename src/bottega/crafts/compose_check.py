"""Is a tune a copy? Passages that two tunes share, in whatever key and at whatever pace, and how unlikely that is by chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bottega.core import DataError, Item
from bottega.core.score import Note, Score
from bottega.workshop.build import find_data
from bottega.workshop.run import Run
from bottega.workshop.training import divide

__all__ = ["Library", "Match", "learned", "tune"]

FEWEST = 6  # notes of a tune, below which nothing is said
ALARM = 12.0  # nats by which a shared passage must exceed what chance gives; of 300 folk tunes one reaches it beside the chorales
_UNLIKE, _GAP, _OTHER_RHYTHM = 4.0, 4.0, 1.0
_APART = 1e5


@dataclass(frozen=True)
class Match:
    """The passage that a tune shares most tellingly with another piece.

    Attributes:
        name: of the other piece.
        evidence: nats by which its information exceeds that of a passage which chance would make alike; above
            ``ALARM`` it is called a copy.
        notes: how long it is.
        at, there: where it begins, in notes of the tune and of the other.
        transposed: by how many semitones the tune lies above the other.
        pace: how much longer its notes last than the other's.
    """

    name: str
    evidence: float
    notes: int
    at: int
    there: int
    transposed: int
    pace: float

    @property
    def copy(self) -> bool:
        """Whether it is more than chance."""
        return self.evidence >= ALARM


def tune(score: Score) -> list[Note]:
    """The highest line: of the part (drums apart) that lies highest, the highest note of each onset."""
    heights = []
    for k, line in enumerate(score.lines()):
        if line and not score.parts[k].drums:
            heights.append((sum(n.pitch * n.duration for n in line) / sum(n.duration for n in line), k))
    if not heights:
        return []
    _, best = max(heights)
    top: dict[int, Note] = {}
    for n in score.lines()[best]:
        if n.onset not in top or top[n.onset].pitch < n.pitch:
            top[n.onset] = n
    return [top[t] for t in sorted(top)]


def _steps(line: Sequence[Note]) -> NDArray[np.int64]:
    """Interval to the next note, -24 to 24, and how its length compares with the one before, in eighths of a doubling, ``(N, 2)``."""
    onset = np.array([n.onset for n in line] + [line[-1].onset + line[-1].duration])
    longs = np.log2(np.maximum(1, np.diff(onset)))
    ratio = np.clip(np.round(8 * np.diff(longs)), -24, 24)
    interval = np.clip(np.diff([n.pitch for n in line]), -24, 24)
    return np.stack([interval, ratio], 1).astype(np.int64)


def learned(run: Run) -> list[Item]:
    """The pieces that a run was trained on.

    Raises:
        DataError: the data is gone, or is no music.
    """
    if run.codec.medium != "music":
        raise DataError(f"{run.path} was trained on {run.codec.medium}, not on music; give a run of music")
    found = find_data(run.recipe, run.header["data_argument"] or None, run.codec)
    return list(divide(run.recipe, found).train)


class Library:
    """Tunes to compare with.

    A tune is its steps from note to note: intervals, and ratios of lengths, which neither transposing nor another tempo
    changes. Passages are found by local alignment (Smith & Waterman 1981) in which a step that is alike counts its own
    information, in nats, given the step before it, as frequent as it is among the tunes of the library: common runs say
    little. Chance makes a best passage of about ``ln(m n)`` nats among m times n places (Karlin & Altschul 1990); what
    exceeds that is the evidence.

    Args:
        items: pieces; those whose tune has fewer than six notes are left out.

    Raises:
        DataError: none is left.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        self.names: list[str] = []
        self.lines: list[list[Note]] = []
        parts = []
        for item in items:
            line = tune(item.value)
            if len(line) >= FEWEST:
                self.names.append(item.name or f"piece {len(self.names) + 1}")
                self.lines.append(line)
                parts.append(_steps(line))
        if not parts:
            raise DataError("there is no tune of six notes to compare with; give other pieces")
        self.steps = np.concatenate(parts)
        self.owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        self.begin = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
        firsts = np.isin(np.arange(len(self.steps)), self.begin[:-1])
        self.pairs = Counter(zip(self.steps[:-1, 0].tolist(), self.steps[1:, 0].tolist(), strict=True))
        self.single = Counter(self.steps[:, 0].tolist())
        self.rhythms = Counter(self.steps[:, 1].tolist())
        self.first = firsts
        self.place = _GAP * np.arange(len(self.steps)) + _APART * self.owner

    def _information(self, steps: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nats of each interval given the one before it, and of each ratio."""
        total = len(self.steps)
        seen = steps.tolist()
        out, rhythm = [], []
        for k, (interval, ratio) in enumerate(seen):
            p = (self.single[interval] + 0.5) / (total + 25)
            if k:
                before = seen[k - 1][0]
                p = (self.pairs[before, interval] + 5 * p) / (self.single[before] + 5)
            out.append(-math.log(p))
            rhythm.append(-math.log((self.rhythms[ratio] + 0.5) / (total + 25)))
        return np.array(out), np.array(rhythm)

    def compare(self, score: Score, leave: str = "") -> Match | None:
        """The most telling passage that a piece shares with the library; None for a piece without a tune.

        Args:
            score: the piece.
            leave: the name of a piece that does not count (itself).
        """
        line = tune(score)
        if len(line) < FEWEST:
            return None
        steps = _steps(line)
        information, rhythm = self._information(steps)
        h = np.zeros(len(self.steps))
        best = np.zeros(len(self.names))
        for i, (interval, ratio) in enumerate(steps.tolist()):
            like = self.steps[:, 0] == interval
            beat = np.where(np.abs(self.steps[:, 1] - ratio) <= 1, rhythm[i], -_OTHER_RHYTHM)
            s = np.where(like, information[i] + beat, -_UNLIKE)
            before = np.concatenate([[0.0], h[:-1]])
            before[self.first] = 0.0
            t = np.maximum(0.0, np.maximum(before + s, h - _GAP))
            h = np.maximum(t, np.maximum.accumulate(t + self.place) - self.place)
            np.maximum.at(best, self.owner, h)
        if leave in self.names:
            best[[k for k, name in enumerate(self.names) if name == leave]] = -math.inf
        which = int(best.argmax())
        if not np.isfinite(best[which]):
            return None
        evidence = float(best[which]) - math.log(len(steps) * len(self.steps))
        return self._traced(which, evidence, line, steps, information, rhythm)

    def _traced(
        self, which: int, evidence: float, line: Sequence[Note], steps: NDArray[np.int64],
        information: NDArray[np.float64], rhythm: NDArray[np.float64],
    ) -> Match:  # fmt: skip
        other, theirs = self.lines[which], self.steps[self.begin[which] : self.begin[which + 1]]
        h = np.zeros((len(steps) + 1, len(theirs) + 1))
        back = np.zeros(h.shape, np.int8)
        for i in range(len(steps)):
            for j in range(len(theirs)):
                s = -_UNLIKE
                if steps[i, 0] == theirs[j, 0]:
                    s = information[i] + (rhythm[i] if abs(steps[i, 1] - theirs[j, 1]) <= 1 else -_OTHER_RHYTHM)
                ways = (0.0, h[i, j] + s, h[i, j + 1] - _GAP, h[i + 1, j] - _GAP)
                back[i + 1, j + 1] = int(np.argmax(ways))
                h[i + 1, j + 1] = max(ways)
        i, j = (int(k) for k in np.unravel_index(int(h.argmax()), h.shape))
        last = (i, j)
        pairs = []
        while back[i, j]:
            if back[i, j] == 1:
                pairs.append((i - 1, j - 1))
            i, j = (i - (back[i, j] != 3), j - (back[i, j] != 2))
        moved = Counter(line[a].pitch - other[b].pitch for a, b in pairs).most_common(1)
        mine = line[min(last[0], len(line) - 1)].onset - line[i].onset
        his = other[min(last[1], len(other) - 1)].onset - other[j].onset
        return Match(
            self.names[which],
            evidence,
            last[0] - i + 1,
            i,
            j,
            moved[0][0] if moved else 0,
            mine / his if his > 0 else 1.0,
        )
