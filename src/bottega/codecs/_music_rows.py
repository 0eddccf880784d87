"""Rows of tokens of scores: how pieces are cut into them, moved for training, and read back from their words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bottega.core import Batch, Rng
from bottega.core.score import HIGHEST, LOWEST, Note, Part, Score

__all__ = [
    "KEYS88",
    "Moved",
    "MovedRolls",
    "Row",
    "cuts",
    "of_events",
    "of_frames",
    "of_voices",
    "opened",
    "split",
    "thinned",
]

KEYS88 = HIGHEST - LOWEST + 1


@dataclass(frozen=True)
class Row:
    """One piece or a part of one as tokens.

    Attributes:
        tokens: without padding.
        score: what they say, on the grid, as it was before it was moved to a common key.
        whole: whether it ends with the end of the piece.
        shift: by how many semitones its pitches were moved.
    """

    tokens: list[int]
    score: Score
    whole: bool
    shift: int


@dataclass(frozen=True)
class Moved:
    """Rows of tokens as wide as the longest of a batch, their pitches moved by a drawn interval that all of them bear."""

    batch: Batch
    moves: dict[int, Tensor]

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: Tensor) -> Batch:
        batch = self.batch.take(rows)
        assert batch.mask is not None  # ``_padded`` gives one
        width = max(1, int(batch.mask.sum(1).max()))  # what lies behind is padding of all of them
        return Batch(batch.x[:, :width], None, batch.mask[:, :width])

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        batch = self.take(rows)
        each = torch.stack([table[batch.x] for table in self.moves.values()])  # (moves, B, width)
        fits = (each >= 0).all(2).T  # (B, moves)
        u = rng.uniform(len(rows))[:, None].double() * fits.sum(1, keepdim=True)
        pick = (fits.double().cumsum(1) > u).double().argmax(1)
        return Batch(each[pick, torch.arange(len(rows))], None, batch.mask)


@dataclass(frozen=True)
class MovedRolls:
    """Rolls that training moves up or down by a drawn interval, as far as no key falls off."""

    batch: Batch
    most: int

    def __len__(self) -> int:
        return len(self.batch)

    def take(self, rows: Tensor) -> Batch:
        return self.batch.take(rows)

    def draw(self, rows: Tensor, rng: Rng) -> Batch:
        batch = self.batch.take(rows)
        by = rng.integers(2 * self.most + 1, len(rows)) - self.most
        out = []
        for x, k in zip(batch.x, by.tolist(), strict=True):
            used = x.any(dim=1)[0].nonzero()[:, 0]
            low, high = (int(used[0]), int(used[-1])) if len(used) else (0, KEYS88 - 1)
            out.append(x.roll(max(-low, min(k, KEYS88 - 1 - high)), 2))
        return Batch(torch.stack(out), None, batch.mask)


def of_frames(words: Sequence[str], ticks: int, parts: tuple[Part, ...]) -> Score:
    """The score of words of frames, each step ``ticks`` in a quarter; of all parts the first plays."""
    notes: list[Note] = []
    sounding: dict[int, int] = {}
    now: set[int] = set()
    at = 0
    for word in words:
        if word.isdecimal():
            now.add(int(word))
        elif word == "next":
            for pitch in [p for p in sounding if p not in now]:
                del sounding[pitch]
            for pitch in now:
                if pitch in sounding:
                    i = sounding[pitch]
                    notes[i] = notes[i]._replace(duration=notes[i].duration + 1)
                else:
                    sounding[pitch] = len(notes)
                    notes.append(Note(at, 1, pitch))
            now = set()
            at += 1
    return Score.of(notes, ticks=ticks, parts=parts[:1] or (Part(),), tempos=(), length=at)


def of_voices(words: Sequence[str], ticks: int, parts: tuple[Part, ...], voices: int) -> Score:
    """The score of words of voices, a line for each."""
    notes: list[Note] = []
    last: dict[int, int | None] = {}
    metres: dict[int, tuple[int, int]] = {}
    step = -1
    bar_at = 0
    voice = voices - 1  # of the last token
    for word in words:
        if word.startswith("metre="):
            metres[bar_at] = _metre(word)
        elif word == "bar":
            bar_at = step + 1
        elif ":" in word:
            v, what = word.split(":")
            if int(v) <= voice:
                step += 1
            voice = int(v)
            if what == "hold" and last.get(voice) is not None and notes[last[voice]].onset + notes[last[voice]].duration == step:  # type: ignore[index]  # fmt: skip
                i = last[voice]
                assert i is not None
                notes[i] = notes[i]._replace(duration=notes[i].duration + 1)
            elif what == "rest" or what == "hold":
                last[voice] = None
            else:
                last[voice] = len(notes)
                notes.append(Note(step, 1, int(what), 80, voice))
    return Score.of(notes, ticks=ticks, parts=parts, tempos=(), metres=_metres(metres), length=step + 1)


def of_events(words: Sequence[str], ticks: int, parts: tuple[Part, ...]) -> Score:
    """The score of words of events."""
    notes: list[Note] = []
    metres: dict[int, tuple[int, int]] = {}
    tempos: dict[int, int] = {}
    begin, long, at = 0, 0, 0
    metre = (4, 4)
    player, velocity = 0, 80
    pitch: int | None = None
    bars = 0
    for word in words:
        head, _, value = word.partition("=")
        if word == "bar":
            begin += long
            long = max(1, 4 * metre[0] * ticks // metre[1])
            at, bars = begin, bars + 1
        elif head == "metre":
            metre = _metre(word)
            metres[begin] = metre
            if bars:
                long = max(1, 4 * metre[0] * ticks // metre[1])
        elif head == "at":
            at = begin + int(value)
        elif head == "bpm":
            tempos[at] = round(60e6 / int(value))
        elif head == "play":
            player = int(value)
        elif head == "v":
            velocity = int(value)
        elif word.isdecimal():
            pitch = int(word)
        elif head == "long" and pitch is not None:
            notes.append(Note(at, int(value), pitch, velocity, player))
            pitch = None
    length = begin + long
    notes = [n._replace(duration=min(n.duration, max(1, length - n.onset))) for n in notes]
    return Score.of(notes, ticks=ticks, parts=parts, tempos=tuple(tempos.items()), metres=_metres(metres), length=length)  # fmt: skip


def _metre(word: str) -> tuple[int, int]:
    n, _, d = word.removeprefix("metre=").partition("/")
    return int(n), int(d)


def _metres(found: dict[int, tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
    """Metres at ticks, those left out that say what holds already."""
    out: list[tuple[int, int, int]] = []
    for t, m in sorted(found.items()):
        if not out or out[-1][1:] != m:
            out.append((t, *m))
    return tuple(out) if out and out[0][0] == 0 else ((0, 4, 4), *out)


def thinned(score: Score) -> Score:
    """Single lines again, where notes shorter than a step have come to begin together: the longest stays, of two the last."""
    kept: dict[tuple[int, int], Note] = {}
    for n in score.notes:
        old = kept.get((n.part, n.onset))
        if old is None or old.duration <= n.duration:
            kept[n.part, n.onset] = n
    out: list[Note] = []
    for n in sorted(kept.values(), key=lambda n: (n.part, n.onset)):
        if out and out[-1].part == n.part:
            out[-1] = out[-1]._replace(duration=min(out[-1].duration, n.onset - out[-1].onset))
        out.append(n)
    return score.with_notes(out)


def split(score: Score) -> list[list[Note]] | None:
    """The parts of a score as single lines, those of chords from the top down; None where a part's chords differ in size."""
    out: list[list[Note]] = []
    for notes in score.lines():
        if not notes:
            continue
        edges = sorted({t for n in notes for t in (n.onset, n.onset + n.duration)})
        sounding = [
            (a, b, sorted((n for n in notes if n.onset <= a < n.onset + n.duration), key=lambda n: -n.pitch))
            for a, b in zip(edges, edges[1:], strict=False)
        ]
        sizes = {len(now) for _, _, now in sounding if now}
        if len(sizes) != 1:
            return None
        lines: list[list[Note]] = [[] for _ in range(sizes.pop())]
        for a, b, now in sounding:
            for line, n in zip(lines, now, strict=False):
                last = line[-1] if line else None
                if last and last.pitch == n.pitch and n.onset < a and last.onset + last.duration == a:
                    line[-1] = last._replace(duration=b - last.onset)
                else:
                    line.append(n._replace(onset=a, duration=b - a))
        out += lines
    return [[n._replace(part=v) for n in line] for v, line in enumerate(out)]


def opened(head: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each bar as it is said where a row begins with it: with the metre, tempo and player that bars before it left behind."""
    metre = usual = next((w for w in head if w.startswith("metre=")), "")
    pace, player, out = "", "play=0", []
    for group in groups:
        words = list(group)
        if metre != usual and not any(w.startswith("metre=") for w in words):
            words.insert(1, metre)
        if pace and not any(w.startswith("bpm=") for w in words[:4]):
            at = next((i for i, w in enumerate(words) if w.startswith("at=")), len(words))
            words[at:at] = ["at=0", pace]
        note = next((i for i, w in enumerate(words) if w.isdecimal()), -1)
        if player != "play=0" and note >= 0 and not words[note - 1].startswith("play="):
            words.insert(note, player)
        out.append(words)
        for w in group:
            kind = w.partition("=")[0]
            metre = w if kind == "metre" else metre
            pace = w if kind == "bpm" else pace
            player = w if kind == "play" else player
    return out


def cuts(sizes: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Runs of groups that have room together, one after another."""
    out, first, used = [], 0, 0
    for k, size in enumerate(sizes):
        if used + size > room:
            out.append((first, k))
            first, used = k, 0
        used += size
    out.append((first, len(sizes)))
    return out
