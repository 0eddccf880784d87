"""A made world of tunes over chords: the key, the chords and the entropy of every piece are known."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from bottega.core import DataError, Item, Rng
from bottega.core.score import DEGREES, Key, Note, Part, Score, key_name
from bottega.data._draw import LICENCE, SOURCE, uniforms
from bottega.data.dataset import Dataset

__all__ = ["genre", "mood", "tunes"]

Rhythms = tuple[tuple[tuple[float, ...], float], ...]

TICKS = 4  # of a quarter
TUNE, CHORDS = Part("Tune", 73), Part("Chords", 0)
ROOTS = (0, 3, 4, 5, 1)  # scale degrees of the chords: I, IV, V, VI, II
NEXT = np.array([
    [0.20, 0.30, 0.30, 0.15, 0.05],
    [0.30, 0.10, 0.40, 0.05, 0.15],
    [0.60, 0.05, 0.15, 0.20, 0.00],
    [0.05, 0.35, 0.25, 0.05, 0.30],
    [0.05, 0.00, 0.80, 0.05, 0.10],
])  # fmt: skip  # of a chord the next, row by row
RHYTHMS = (((1, 1, 1, 1), 0.4), ((2, 1, 1), 0.25), ((1, 1, 2), 0.25), ((2, 2), 0.1))  # quarters of a bar
MOODS = {
    "calm": ("major", (54, 72), "sparse"), "sad": ("minor", (54, 72), "sparse"), "happy": ("major", (120, 160), "dense"),
    "tense": ("minor", (120, 160), "dense"),
}  # fmt: skip  # mode, quarters a minute and rhythm (valence and arousal: Russell 1980, doi:10.1037/h0077714)
PACES = {
    "sparse": (((2, 2), 0.5), ((4,), 0.25), ((3, 1), 0.25)),
    "dense": (((0.5,) * 8, 0.3), ((1, 0.5, 0.5, 1, 0.5, 0.5), 0.4), ((0.5, 0.5, 1, 0.5, 0.5, 1), 0.3)),
}  # quarters of a bar
GENRES = {
    "march": ((4, 4), (((1, 1, 1, 1), 0.3), ((1.5, 0.5, 1, 1), 0.3), ((1, 1, 2), 0.2), ((1.5, 0.5, 2), 0.2))),
    "reel": ((4, 4), (((0.5,) * 8, 0.5), ((1, 0.5, 0.5, 1, 0.5, 0.5), 0.3), ((0.5, 0.5, 0.5, 0.5, 1, 1), 0.2))),
    "hornpipe": ((4, 4), (((0.75, 0.25) * 4, 0.5), ((0.75, 0.25, 0.75, 0.25, 1, 1), 0.3), ((1, 0.75, 0.25, 1, 0.75, 0.25), 0.2))),
    "waltz": ((3, 4), (((2, 1), 0.4), ((1, 1, 1), 0.4), ((3,), 0.1), ((1, 2), 0.1))),
    "mazurka": ((3, 4), (((0.75, 0.25, 1, 1), 0.5), ((0.5, 0.5, 1, 1), 0.3), ((0.75, 0.25, 2), 0.2))),
    "jig": ((6, 8), (((0.5,) * 6, 0.4), ((1, 0.5, 0.5, 0.5, 0.5), 0.3), ((1, 0.5, 1, 0.5), 0.3))),
}  # fmt: skip  # metre, and rhythms of a bar in quarters, which no other genre has
PLACES = 15  # of the tune, in steps of the scale from the tonic: two octaves
REACH = {0: 1.0, 1: 3.0, 2: 1.5, 3: 0.5, 4: 0.5}  # weight of a leap of so many steps
FIRST = range(4, 10)


def _leap(chord: int) -> np.ndarray:
    """Of each place the chance of the next one over a chord, ``(15, 15)``."""
    tones = {(ROOTS[chord] + k) % 7 for k in (0, 2, 4)}
    out = np.zeros((PLACES, PLACES))
    for a in range(PLACES):
        for b in range(PLACES):
            out[a, b] = REACH.get(abs(a - b), 0.0) * (4.0 if b % 7 in tones else 1.0)
    return out / out.sum(1, keepdims=True)


_LEAPS = [_leap(k) for k in range(len(ROOTS))]
_START = np.array([(4.0 if p % 7 in {0, 2, 4} else 1.0) * (p in FIRST) for p in range(PLACES)])
_START /= _START.sum()


def _entropy(p: np.ndarray) -> float:
    some = p[p > 0]
    return float(-(some * np.log(some)).sum())


def _entropy_nats(bars: int) -> float:
    """Of one piece: key, chords, rhythms and places, exactly, by the distribution of (chord, place) from note to note."""
    total = math.log(24)
    rhythm = np.array([p for _, p in RHYTHMS])
    state = np.zeros((len(ROOTS), PLACES))
    state[0] = _START
    steps = np.stack([np.array([_entropy(row) for row in leap]) for leap in _LEAPS])  # (chord, place)
    for bar in range(bars - 1):
        total += _entropy(rhythm)
        if bar:
            share = state.sum(1)
            total += float((share * np.array([_entropy(row) for row in NEXT])).sum())
            state = NEXT.T @ state
        after = np.zeros_like(state)
        for pattern, p in RHYTHMS:
            now = state
            for k in range(len(pattern)):
                if bar == 0 and k == 0:
                    total += p * _entropy(_START)
                    continue
                total += p * float((now * steps).sum())
                now = np.stack([now[c] @ _LEAPS[c] for c in range(len(ROOTS))])
            after += p * now
        state = after
    return total


def _pick(p: np.ndarray, u: float) -> int:
    return min(bisect.bisect(list(itertools.accumulate(p.tolist())), u), len(p) - 1)


def _pitch(key: Key, place: int) -> int:
    return _tonic(key) + DEGREES[key.mode][place % 7] + 12 * (place // 7)


def _tonic(key: Key) -> int:
    return 54 + (key.tonic - 6) % 12


def _triad(key: Key, chord: int) -> list[int]:
    return [_pitch(key, ROOTS[chord] + k) - 12 for k in (0, 2, 4)]


def _end(place: int) -> int:
    """The tonic nearest to a place; of two the lower."""
    return min((0, 7, 14), key=lambda t: (abs(t - place), t))


def _make(
    key: Key, bars: int, draw: Iterator[float], rhythms: Rhythms = RHYTHMS, tempo: float = 0.0, genre: str = "tune",
    metre: tuple[int, int] = (4, 4),
) -> Score:  # fmt: skip
    notes: list[Note] = []
    whole = 4 * TICKS * metre[0] // metre[1]
    chord, place = 0, -1
    for bar in range(bars):
        at = whole * bar
        if bar == bars - 1:
            chord = 0
            notes.append(Note(at, whole, _pitch(key, _end(place))))
        else:
            chord = _pick(NEXT[chord], next(draw)) if bar else 0
            pattern = rhythms[_pick(np.array([p for _, p in rhythms]), next(draw))][0]
            for long in (int(quarters * TICKS) for quarters in pattern):
                place = _pick(_START if place < 0 else _LEAPS[chord][place], next(draw))
                notes.append(Note(at, long, _pitch(key, place)))
                at += long
        notes += [Note(whole * bar, whole, p, 64, 1) for p in _triad(key, chord)]
    tempos = {"tempos": ((0, round(60e6 / tempo)),)} if tempo else {}
    return Score.of(
        notes,
        ticks=TICKS,
        parts=(TUNE, CHORDS),
        keys=((0, key),),
        length=whole * bars,
        genre=genre,
        metres=((0, *metre),),
        **tempos,
    )


def _log_prob(bars: int, score: Score) -> float:
    """Log probability of a piece in nats; minus infinity outside the world. Velocities do not count."""
    ratio = score.ticks // TICKS
    if score.ticks % TICKS:
        return -math.inf
    by = {p.program: k for k, p in enumerate(score.parts)}
    if set(by) != {TUNE.program, CHORDS.program}:
        return -math.inf
    tune = [(n.onset / ratio, n.duration / ratio, n.pitch) for n in score.notes if n.part == by[TUNE.program]]
    heard: dict[float, list[int]] = {}
    for n in score.notes:
        if n.part == by[CHORDS.program]:
            if n.duration != 4 * TICKS * ratio:
                return -math.inf
            heard.setdefault(n.onset / ratio, []).append(n.pitch)
    if sorted(heard) != [4 * TICKS * k for k in range(bars)]:
        return -math.inf
    chords = [sorted(heard[4 * TICKS * k]) for k in range(bars)]
    keys = [Key(t, m) for t in range(12) for m in ("major", "minor")]  # type: ignore[arg-type]
    return max((_log_prob_in(key, bars, tune, chords) for key in keys), default=-math.inf)


def _log_prob_in(key: Key, bars: int, tune: list[tuple[float, float, int]], chords: list[list[int]]) -> float:
    triads = {tuple(_triad(key, c)): c for c in range(len(ROOTS))}
    told = [triads.get(tuple(c), -1) for c in chords]
    if min(told) < 0 or told[0] != 0 or told[-1] != 0:
        return -math.inf
    places = {_pitch(key, p): p for p in range(PLACES)}
    rhythms = dict(RHYTHMS)
    total, place, k = -math.log(24), -1, 0
    for bar in range(bars):
        inside = []
        while k < len(tune) and tune[k][0] < 4 * TICKS * (bar + 1):
            inside.append(tune[k])
            k += 1
        if any(pitch not in places for _, _, pitch in inside) or sum(d for _, d, _ in inside) != 4 * TICKS:
            return -math.inf
        if bar == bars - 1:
            return total if len(inside) == 1 and k == len(tune) and places[inside[0][2]] == _end(place) else -math.inf
        p = rhythms.get(tuple(int(d / TICKS) for _, d, _ in inside), 0.0)
        p *= NEXT[told[bar - 1], told[bar]] if bar else 1.0
        for _, _, pitch in inside:
            new = places[pitch]
            p *= _START[new] if place < 0 else _LEAPS[told[bar]][place, new]
            place = new
        if not p > 0:
            return -math.inf
        total += math.log(p)
    return total


def tunes(*, n: int = 1000, bars: int = 8, moods: bool = False, genres: bool = False, seed: int = 0) -> Dataset:
    """Tunes over a chord in each bar, in all 24 keys: chords and notes are Markov chains that end on the tonic.

    ``truth`` has ``entropy_nats`` of a piece, ``log_prob(score)`` in nats, and ``keys``, the key of each piece; with
    ``moods`` in place of the first two ``moods`` (of each piece) and ``read(score)``, the mood of its mode, tempo and rhythm.

    Args:
        n: pieces.
        bars: of each, at least 2.
        genres: each piece is a march, reel, hornpipe, waltz, mazurka or jig: its metre, and rhythms that no other genre has.
            ``truth`` is as with moods: ``genres`` of the pieces, and ``read(score)``, the genre of its rhythms ("" for none).
        moods: each piece is calm, sad, happy or tense (its genre): major or minor, slow and sparse or fast and dense.
        seed: of the draws.
    """
    if n < 1 or bars < 2:
        raise DataError(f"tunes with n={n}, bars={bars}: at least one piece of two bars")
    if moods and genres:
        raise DataError("tunes have moods or genres, not both; set one of the two")
    draw = uniforms(Rng(seed))
    every = [Key(t, m) for t in range(12) for m in ("major", "minor")]  # type: ignore[arg-type]
    keys = [every[min(int(next(draw) * 24), 23)] for _ in range(n)]
    if moods:
        return _moody(keys, bars, draw)
    if genres:
        return _of_genres(keys, bars, draw)
    items = [Item(_make(key, bars, draw), name=f"tune {i}") for i, key in enumerate(keys)]
    truth = {
        "entropy_nats": _entropy_nats(bars), "log_prob": lambda score: _log_prob(bars, score),
        "keys": [key_name(key) for key in keys],
    }  # fmt: skip
    about = f"tunes of {bars} bars over chords, in all keys, of known entropy"
    return Dataset("tunes", "music", items, LICENCE, SOURCE, about, truth)


def _moody(keys: list[Key], bars: int, draw: Iterator[float]) -> Dataset:
    """Pieces of the four moods by turns, each in its mode on the tonic of ``keys``."""
    items, said = [], []
    for i, key in enumerate(keys):
        name = list(MOODS)[i % len(MOODS)]
        mode, (slow, fast), pace = MOODS[name]
        tempo = round(slow + (fast - slow) * next(draw))
        made = Key(key.tonic, mode)  # type: ignore[arg-type]
        items.append(Item(_make(made, bars, draw, PACES[pace], tempo, name), name=f"tune {i}"))
        said.append(key_name(made))
    moods = [item.value.genre for item in items]
    about = f"tunes of {bars} bars over chords, calm, sad, happy or tense"
    truth = {"keys": said, "moods": moods, "read": mood}
    return Dataset("tunes", "music", items, LICENCE, SOURCE, about, truth)


def _of_genres(keys: list[Key], bars: int, draw: Iterator[float]) -> Dataset:
    """Pieces of the six genres by turns."""
    items = []
    for i, key in enumerate(keys):
        name = list(GENRES)[i % len(GENRES)]
        metre, rhythms = GENRES[name]
        items.append(Item(_make(key, bars, draw, rhythms, 0.0, name, metre), name=f"tune {i}"))
    about = f"tunes of {bars} bars over chords: {', '.join(GENRES)}"
    truth = {"keys": [key_name(key) for key in keys], "genres": [i.value.genre for i in items], "read": genre}
    return Dataset("tunes", "music", items, LICENCE, SOURCE, about, truth)


def genre(score: Score) -> str:
    """The genre whose rhythms most bars of the highest part have (the last bar, one long note, apart); ``""`` where none has one.

    The metre is not looked at but for where bars begin, and what the score says of its genre is not either.
    """
    lines = [line for line in score.lines() if line]
    high = max(lines, key=lambda line: sum(n.pitch for n in line) / len(line), default=[])
    own = {rhythm: name for name, (_, rhythms) in GENRES.items() for rhythm, _ in rhythms}
    votes: Counter[str] = Counter()
    for start, long in score.bars()[:-1]:
        inside = [n for n in high if start <= n.onset < start + long]
        edges = [*(n.onset for n in inside), start + long]
        rhythm = tuple((b - a) / score.ticks for a, b in pairwise(edges))
        if rhythm in own:
            votes[own[rhythm]] += 1
    return votes.most_common(1)[0][0] if votes else ""


def mood(score: Score) -> dict[str, str]:
    """Mode (as heard, not as written), tempo (slow or fast) and density (sparse or dense) of a piece, as ``MOODS`` has them.

    Fast is above 93 quarters a minute, dense above 1.1 notes of the highest part a quarter: the middles (geometric) of what
    the moods have.
    """
    heard = replace(score, keys=()).key()
    beat = score.tempos[0][1] if score.tempos else 500_000
    lines = [line for line in score.lines() if line]
    high = max(lines, key=lambda line: sum(n.pitch for n in line) / len(line), default=[])
    quarters = max(1e-9, score.length / score.ticks)
    return {
        "mode": heard.mode, "tempo": "fast" if 60e6 / beat > 93 else "slow",
        "density": "dense" if len(high) / quarters > 1.1 else "sparse",
    }  # fmt: skip
