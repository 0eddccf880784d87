"""Arrange a tune: its melody, its chords and a bass as parts for named instruments, by the rules, in several ways."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np

from bottega.core import BottegaError, DataError, RecipeError, nearest
from bottega.core.score import Key, Note, Part, Score, key_name
from bottega.core.voicing import Fault, leaps, moments, parallels
from bottega.crafts._chords import Chord, chords
from bottega.crafts._instruments import Instrument, instrument
from bottega.crafts._patterns import GENRES, STYLES, pattern
from bottega.crafts.compose_check import tune

__all__ = ["ENSEMBLES", "ROLES", "STYLES", "Arranged", "Player", "arrange", "chart", "faults", "melody_of", "players"]

ROLES = ("melody", "double", "harmony", "bass", "drums")
ENSEMBLES = {
    "folk trio": "fiddle, guitar, double bass",
    "string quartet": "violin, violin=harmony, viola=harmony, cello=bass",
    "brass quintet": "trumpet, trumpet=harmony, horn=harmony, trombone=harmony, tuba=bass",
    "piano": "piano=melody, piano=harmony, piano=bass",
    "band": "alto sax, flute=double, guitar, electric bass, drums",
}
"""Who plays, by a name of several."""

ROUNDS = 8
_LOW = 43  # what reaches down to it can play a bass
_HARD = 100.0  # cost of a broken rule
_MOST = 24  # voicings of one chord that are looked at
_SPAN = 12  # semitones that one hand takes
_LOUD = {"bass": 70, "harmony": 58, "drums": 60}
_TALLEST = 127


class Player(NamedTuple):
    """Who plays what: an instrument, and one of ``ROLES``."""

    instrument: Instrument
    role: str


@dataclass(frozen=True)
class Arranged:
    """One arrangement.

    Attributes:
        score: a part for each player, in their order.
        players: of the parts.
        seed: of this way.
        style: of ``STYLES``.
        chords: of the piece, cut at bar lines.
        moved: by how many semitones the melody was moved, a whole number of octaves.
        faults: rules that it breaks.
    """

    score: Score
    players: tuple[Player, ...]
    seed: int
    style: str
    chords: list[Chord]
    moved: int = 0
    faults: list[Fault] = field(default_factory=list)

    @property
    def said(self) -> dict[str, Any]:
        """Figures for people and programs."""
        used = Counter(n.part for n in self.score.notes)
        pitches = [[n.pitch for n in line] for line in self.score.lines()]
        return {
            "seed": self.seed, "style": self.style, "key": key_name(self.score.key()), "seconds": round(self.score.seconds, 2),
            "faults": len(self.faults), "melody_moved": self.moved, "parts": [
                {"instrument": p.instrument.name, "role": p.role, "notes": used[k], "lowest": min(pitches[k], default=None),
                 "highest": max(pitches[k], default=None)}
                for k, p in enumerate(self.players)
            ],
        }  # fmt: skip


def players(text: str) -> list[Player]:
    """Who plays: names with commas between, each with its role where it should have another than it gets, or an ensemble.

    Drums play drums; of those without a role the first has the melody, the lowest of the others the bass (where it reaches down to G2),
    the rest harmony.

    Raises:
        RecipeError: an unknown name or role; no melody, or more than one of melody or bass.

    >>> [p.role for p in players("violin, guitar, flute=double, cello")]
    ['melody', 'harmony', 'double', 'bass']
    """
    said = ENSEMBLES.get(" ".join(text.lower().replace("-", " ").split()), text)
    found: list[tuple[Instrument, str]] = []
    for entry in filter(None, (e.strip() for e in said.split(","))):
        name, equals, role = (part.strip() for part in entry.partition("="))
        if equals and role not in ROLES:
            raise RecipeError(f"{name} has the role {role!r}{nearest(role, ROLES)}")
        who = instrument(name)
        if who.drums and role not in {"", "drums"} or role == "drums" and not who.drums:
            raise RecipeError(f"{name} cannot have the role {role!r}; drums play drums, and nothing else does")
        found.append((who, "drums" if who.drums else role))
    roles = [role for _, role in found]
    if "melody" not in roles and "" in roles:
        roles[roles.index("")] = "melody"
    left = [k for k, role in enumerate(roles) if not role]
    if "bass" not in roles and left:
        lowest = min(left, key=lambda k: (found[k][0].low, -k))
        if found[lowest][0].low <= _LOW:
            roles[lowest] = "bass"
    roles = [role or "harmony" for role in roles]
    for role in ("melody", "bass"):
        if roles.count(role) > 1:
            raise RecipeError(
                f"{roles.count(role)} players have the role {role}; give it to one, and others double or harmony"
            )
    if "melody" not in roles:
        raise RecipeError(f"{text.strip() or 'nobody'!r} has nobody for the melody; give NAME=melody")
    if not {"harmony", "bass"} & set(roles):
        raise RecipeError(f"{text.strip()!r} has nobody beside the melody; add one for harmony or bass, such as guitar")
    return [Player(who, role) for (who, _), role in zip(found, roles, strict=True)]


# ---- the melody ----------------------------------------------------------------------------------------------------


def melody_of(score: Score) -> list[Note]:
    """The tune as a single line: of the highest part the highest note that sounds, drums left out; a held one goes on behind an ornament.

    Raises:
        DataError: there is none.
    """
    notes = tune(score)
    edges = sorted({t for n in notes for t in (n.onset, n.onset + n.duration)})
    out: list[Note] = []
    last = None
    for a, b in pairwise(edges):
        top = max(
            (n for n in notes if n.onset <= a < n.onset + n.duration), key=lambda n: (n.pitch, n.onset), default=None
        )
        if top is not None and top is last:
            out[-1] = out[-1]._replace(duration=b - out[-1].onset)
        elif top is not None:
            out.append(top._replace(onset=a, duration=b - a))
        last = top
    if not out:
        raise DataError("the piece has no melody: nothing but drums sounds; give one with a tune")
    return out


def _placed(line: Sequence[Note], who: Instrument, first: Sequence[int]) -> tuple[list[Note], int]:
    """A line in the range of an instrument, moved by octaves: the first of those that are wished, else the fewest."""
    low, high = min(n.pitch for n in line), max(n.pitch for n in line)
    for by in dict.fromkeys([*first, *sorted(range(-60, 61, 12), key=abs)]):
        if who.low <= low + by and high + by <= who.high:
            return [n._replace(pitch=n.pitch + by) for n in line], by
    fits = [by for by in range(-11, 12) if any(who.low <= low + by + o and high + by + o <= who.high for o in range(-60, 61, 12))]  # fmt: skip
    mend = (
        f"transpose it by {min(fits, key=abs):+d} (--transpose {min(fits, key=abs)})"
        if fits
        else "take one with a wider range"
    )
    raise DataError(f"the melody goes from {low} to {high}, and {who.name} plays {who.low} to {who.high}; {mend}")


class _Line:
    """Notes of a single line, asked what sounds when."""

    def __init__(self, notes: Sequence[Note]) -> None:
        self.notes = list(notes)
        self.onsets = [n.onset for n in notes]

    def at(self, tick: int) -> int:
        """The pitch that sounds at a tick, -1 where none does."""
        k = bisect_right(self.onsets, tick) - 1
        return self.notes[k].pitch if k >= 0 and tick < self.notes[k].onset + self.notes[k].duration else -1

    def lowest(self, start: int, end: int) -> int:
        """The lowest pitch that sounds from ``start`` on and before ``end``; above all MIDI pitches where none does."""
        k = max(0, bisect_right(self.onsets, start) - 1)
        found = _TALLEST + 1
        while k < len(self.notes) and self.onsets[k] < end:
            n = self.notes[k]
            if n.onset + n.duration > start:
                found = min(found, n.pitch)
            k += 1
        return found


# ---- ways through pitches ------------------------------------------------------------------------------------------

State = tuple[int, ...]  # pitches from the top down


def _way(own: Sequence[dict[State, float]], move: Callable[[int, State, State], float]) -> list[State]:
    """The cheapest way through states (Viterbi 1967): ``own`` costs of each step, and what a move to step ``k`` costs."""
    best = dict(own[0])
    back: list[dict[State, State]] = []
    for k in range(1, len(own)):
        now, came = {}, {}
        ordered = sorted(best.items(), key=lambda pair: pair[1])
        for state, cost in own[k].items():
            least = math.inf
            for source, before in ordered:
                if before >= least:  # a move costs nothing at best
                    break
                if (total := before + move(k, source, state)) < least:
                    least, came[state] = total, source
            now[state] = least + cost
        best = now
        back.append(came)
    path = [min(best, key=lambda b: best[b])]
    for came in reversed(back):
        path.append(came[path[-1]])
    return path[::-1]


def _follow(before: State, now: State, tick: int, others: Sequence[_Line]) -> int:
    """How many perfect fifths and octaves the voices of a state make in parallel with each other and with other lines."""
    pairs = list(zip(before, now, strict=False))
    pairs_of_others = [(line.at(tick - 1), line.at(tick)) for line in others]
    found = 0
    for i, (a, b) in enumerate(pairs):
        if a == b:
            continue
        for c, d in [*pairs[i + 1 :], *pairs_of_others]:
            interval = abs(b - d) % 12
            found += c != d and min(c, d) >= 0 and interval in {0, 7} and abs(a - c) % 12 == interval
    return found


def _bass_way(
    events: Sequence[tuple[int, int, Chord, bool]],
    who: Instrument,
    melody: _Line,
    habit: str,
    chance: np.random.Generator,
) -> list[int]:
    """The pitch of each note of the bass: the root where a chord begins, then the root again or by turns the fifth."""
    aim = who.low + 0.3 * (min(who.high, 60) - who.low) + chance.uniform(-3, 3)
    first, later = (0.0, 2.0, 6.0, 6.0), ((1.5, 1.8, 0.0, 4.0) if habit == "alternate" else (0.0, 1.8, 1.2, 4.0))
    own: list[dict[State, float]] = []
    for start, end, chord, begins in events:
        ceiling, costs = melody.lowest(start, end), {}
        for pitch in range(who.low, min(who.high, 67) + 1):
            if pitch % 12 in chord.tones:
                cost = (first if begins else later)[chord.tones.index(pitch % 12)]
                cost += 0.05 * abs(pitch - aim) + 0.3 * chance.random() + _HARD * (pitch > ceiling)
                costs[(pitch,)] = cost
        own.append(costs)

    def move(k: int, a: State, b: State) -> float:
        step = abs(b[0] - a[0])
        return 0.06 * step + _HARD * (leaps(step) + _follow(a, b, events[k][0], [melody]))

    return [state[0] for state in _way(own, move)]


def _tones(chord: Chord, low: int, high: int, ceiling: int) -> list[State]:
    """Voicings of a chord for one hand, from the top down: three tones, of seventh chords third, seventh and another; or two of them, the third with one; or one."""
    pitches = [p for p in range(low, high + 1) if p % 12 in chord.tones and ceiling - 26 <= p]
    need = {chord.tones[1], chord.tones[-1]}
    out = []
    for size in (3, 2, 1):
        for some in combinations(reversed(pitches), size):
            classes = {p % 12 for p in some}
            full = size == 1 or (need <= classes if size == 3 else chord.tones[1] in classes)
            if len(classes) == size and full and some[0] - some[-1] <= _SPAN:
                out.append(some)
    return out


def _harmony_way(
    cut: Sequence[Chord], who: Instrument, melody: _Line, inner: Sequence[_Line], bass: _Line | None, last: bool,
    chance: np.random.Generator,
) -> list[State]:  # fmt: skip
    """Of each chord what a player of harmony has: a voicing where the instrument plays chords, else one note below ``inner``."""
    lines = [melody, *([] if who.chords else inner), *([bass] if bass else [])]
    above = inner[-1] if inner and not who.chords else None
    shift = chance.uniform(-4, 3)
    own: list[dict[State, float]] = []
    for chord in cut:
        top = min(melody.lowest(chord.start, chord.end), above.at(chord.start) if above else _TALLEST)
        floor = 0
        if bass is not None:
            floor = max((n.pitch for n in bass.notes if chord.start <= n.onset < chord.end), default=0)
        have = {line.at(chord.start) % 12 for line in lines[1:] if line.at(chord.start) >= 0}
        aim = min(top if top <= _TALLEST else 72, 76) - (9 if who.chords else 5) + shift
        states = _tones(chord, who.low, min(who.high, 88), min(top, who.high)) if who.chords else []
        states = states or [(p,) for p in range(who.low, who.high + 1) if p % 12 in chord.tones]
        costs = {}
        for state in states:
            middle = sum(state) / len(state)
            cost = 0.06 * abs(middle - aim) + 0.3 * chance.random()
            cost += 3.0 * (3 - len(state)) * who.chords
            cost += _HARD * ((state[0] > top) + (state[-1] < floor))
            if len(state) == 1 and not who.chords:
                new = state[0] % 12
                third = chord.tones[1]
                cost += (third not in have and new != third) * (6.0 if last else 2.5) + 0.8 * (new in have) + 0.8 * (new in have and new == third)  # fmt: skip
                cost += 0.1 * max(0, top - state[0] - 12)
            costs[state] = cost
        own.append(dict(sorted(costs.items(), key=lambda pair: pair[1])[:_MOST]))

    def move(k: int, a: State, b: State) -> float:
        steps = [abs(y - x) for x, y in zip(a, b, strict=False)]
        jump = sum(leaps(s) for s in steps) if not who.chords else 0
        return 0.08 * sum(steps) + _HARD * (jump + _follow(a, b, cut[k].start, lines))

    return _way(own, move)


# ---- the arrangement -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """What all ways share: the piece on fine ticks, its melody, its bars, and its chords cut at bar lines."""

    score: Score
    melody: list[Note]
    moved: int
    bars: list[tuple[int, int, int, int]]  # start, ticks, beats and unit, from the first whole bar on
    cut: list[Chord]


def _frame(score: Score, who: Instrument, key: Key) -> _Frame:
    piece = score if score.ticks % 12 == 0 else score.rescaled(math.lcm(score.ticks, 12))
    melody, moved = _placed(melody_of(piece), who, [0])
    metres = {t: (n, d) for t, n, d in piece.metres}
    now, bars = piece.metres[0][1:], []
    for start, long in piece.bars():
        now = metres.get(start, now)
        if start < piece.length:
            bars.append((start, min(long, piece.length - start), *now))
    if len(bars) > 1 and (2 * bars[0][1] <= bars[1][1] or bars[0][1] < bars[1][1] == bars[0][1] + bars[-1][1]):
        bars = bars[1:]  # an upbeat, short or completed by the last bar, is left to the melody
    cut = []
    for chord in chords(piece, key):
        for start, long, *_ in bars:
            a, b = max(chord.start, start), min(chord.end, start + long)
            if a < b:
                cut.append(replace(chord, start=a, end=b))
    return _Frame(piece, melody, moved, bars, sorted(cut, key=lambda c: c.start))


def arrange(
    score: Score, who: Sequence[Player], *, n: int = 1, seed: int = 0, style: str = "", genre: str = ""
) -> list[Arranged]:
    """Parts for players: the melody of a piece, its chords as ``_chords.chords`` finds them, and a bass.

    Each line is the cheapest way through the chords' tones of which none breaks a rule: the notes lie in their instrument's range,
    belong to the chord that sounds, no part lies above the melody and none below the bass, bass and single inner lines make no leap of
    a seventh or of more than an octave, and no two of melody, bass and inner lines (nor the voices of one player's chords with each other, with the
    melody or the bass) move in parallel fifths or octaves. Doubling the melody is no fault. All of it is checked again on
    the result (``faults``), and what breaks a rule is not given.

    Args:
        score: a melody with chords, or any piece: its highest line is taken, the rest says the chords. An upbeat stays alone.
        who: of ``players``; the melody is moved by octaves into its instrument's range.
        n: how many different ways.
        seed: of the first; each way has its own, which makes it again. Ways differ in bass, voicing and, unless ``style`` names
            it, in style: those of seeds that three divides have the genre's own.
        style: of ``STYLES``.
        genre: of ``GENRES``; as the piece says by default.

    Raises:
        DataError: no melody, or one wider than its instrument's range.
        RecipeError: an unknown style or genre, or ``n`` below 1.
        BottegaError: fewer than ``n`` ways keep the rules.
    """
    if n < 1:
        raise RecipeError(f"n is {n}; ask for at least one arrangement")
    if style and style not in STYLES:
        raise RecipeError(f"no style called {style!r}{nearest(style, STYLES)}")
    if genre and genre.lower() not in GENRES:
        raise RecipeError(f"no style is known of the genre {genre!r}{nearest(genre.lower(), GENRES)}, or give --style")
    lead = next(p.instrument for p in who if p.role == "melody")
    key = score.key()
    frame = _frame(score, lead, key)
    usual = style or GENRES.get((genre or score.genre).lower(), "")
    if not usual:
        plain = all(not p.instrument.chords for p in who if p.role != "melody") and not any(
            p.role == "drums" for p in who
        )
        usual = "held" if plain else "oompah"
    found: dict[tuple[Note, ...], Arranged] = {}
    broken: Counter[str] = Counter()
    for turn in range(ROUNDS * n):
        if len(found) == n:
            break
        chance = np.random.default_rng((seed + turn) % 2**63)  # of this way alone: its seed makes it again
        others = [s for s in STYLES if s != usual]
        how = usual if style or (seed + turn) % 3 == 0 else others[int(chance.integers(len(others)))]
        made = _made(frame, who, how, key, seed + turn, chance)
        if made.faults:
            broken.update(f.text for f in made.faults[:1])
        else:
            found.setdefault(made.score.notes, made)
    if len(found) < n:
        why = f"; most often: {broken.most_common(1)[0][0]}" if broken else "; the others were the same"
        raise BottegaError(
            f"{len(found)} of {n} arrangements keep the rules and differ{why}: take other instruments, --transpose, another --seed, or ask for fewer"
        )
    return list(found.values())


def _made(
    frame: _Frame, who: Sequence[Player], style: str, key: Key, seed: int, chance: np.random.Generator
) -> Arranged:
    melody, cut = _Line(frame.melody), frame.cut
    score = frame.score
    starts = [c.start for c in cut]
    plans = []
    for start, long, beats, unit in frame.bars:
        final = start + long >= score.length
        plans.append((start, long, pattern("held" if final else style, beats, unit, score.ticks, long)))
    notes: list[Note] = []
    bass: _Line | None = None
    order = sorted(range(len(who)), key=lambda k: ("bass", "harmony", "melody", "double", "drums").index(who[k].role))
    inner: list[_Line] = []
    singles = [k for k in order if who[k].role == "harmony" and not who[k].instrument.chords]
    for k in order:
        player = who[k]
        range_ = player.instrument
        if player.role == "bass":
            events = _bass_events(plans, cut, starts)
            habit = "alternate" if chance.random() < 0.6 and style in {"oompah", "offbeat"} else "root"
            pitches = _bass_way(events, range_, melody, habit, chance)
            line = [Note(a, b - a, p, _LOUD["bass"], k) for (a, b, _, _), p in zip(events, pitches, strict=True)]
            notes += line
            bass = _Line(line)
        elif player.role == "harmony":
            voiced = _harmony_way(cut, range_, melody, inner, bass, k == (singles or [-1])[-1], chance)
            notes += _strokes(plans, cut, starts, voiced, k)
            if not range_.chords:
                inner.append(_Line([Note(c.start, c.end - c.start, v[0], 1, k) for c, v in zip(cut, voiced, strict=True)]))  # fmt: skip
        elif player.role == "melody":
            notes += [note._replace(part=k) for note in frame.melody]
        elif player.role == "double":
            double, _ = _placed(frame.melody, range_, [12, 0, -12])
            notes += [note._replace(part=k, velocity=max(1, note.velocity - 10)) for note in double]
        else:
            for start, _, plan in plans:
                notes += [
                    Note(start + at, max(1, score.ticks // 4), pitch, _LOUD["drums"], k) for at, pitch in plan.drums
                ]
    parts = tuple(_named(who))
    whole = Score.of(
        notes, ticks=score.ticks, parts=parts, tempos=score.tempos, metres=score.metres, keys=score.keys or ((0, key),),
        length=score.length, genre=score.genre,
    )  # fmt: skip
    made = Arranged(whole, tuple(who), seed, style, list(cut), frame.moved)
    return replace(made, faults=faults(made))


def _named(who: Sequence[Player]) -> list[Part]:
    """A part for each player; those of one instrument are numbered."""
    count = Counter(p.instrument.name for p in who)
    seen: Counter[str] = Counter()
    out = []
    for p in who:
        seen[p.instrument.name] += 1
        part = p.instrument.part
        out.append(
            part._replace(name=f"{part.name} {seen[p.instrument.name]}") if count[p.instrument.name] > 1 else part
        )
    return out


def _bass_events(
    plans: Sequence[Any], cut: Sequence[Chord], starts: Sequence[int]
) -> list[tuple[int, int, Chord, bool]]:
    """``(start, end, chord, whether the chord begins)`` of each note of the bass."""
    out = []
    for start, long, plan in plans:
        inside = [c.start for c in cut if start <= c.start < start + long]
        onsets = sorted({start + t for t in plan.bass if t < long} | set(inside))
        for a, b in pairwise([*onsets, start + long]):
            chord = cut[bisect_right(starts, a) - 1]
            out.append((a, min(b, a + plan.short, chord.end), chord, a == chord.start))
    return out


def _strokes(
    plans: Sequence[Any], cut: Sequence[Chord], starts: Sequence[int], voiced: Sequence[State], part: int
) -> list[Note]:
    """The strokes of a player of harmony, by the pattern of each bar; held chords are struck where they change."""
    out = []
    for start, long, plan in plans:
        strokes = [(start + t, start + min(long, t + d)) for t, d in plan.strokes]
        if plan.strokes == [(0, long)]:
            strokes = [(c.start, c.end) for c in cut if start <= c.start < start + long]
        for turn, (a, b) in enumerate(strokes):
            at = bisect_right(starts, a) - 1
            state = voiced[at]
            end = min(b, cut[at].end)
            sounding = state
            if plan.broken and len(state) > 1:
                rise = (*range(len(state)), *range(len(state) - 2, 0, -1))
                sounding = (state[::-1][rise[turn % len(rise)]],)
            out += [Note(a, end - a, p, _LOUD["harmony"], part) for p in sounding]
    return out


# ---- the rules -----------------------------------------------------------------------------------------------------


def faults(made: Arranged) -> list[Fault]:
    """Every rule that an arrangement breaks, in time, found in its notes alone (see ``arrange``).

    The rules are ``"range"``, ``"tone"``, ``"crossing"``, ``"leap"``, ``"fifths"`` and ``"octaves"``; voices are parts. A broken
    chord counts as if it were held.
    """
    who, score = made.players, made.score
    lines = score.lines()
    names = [p.name for p in score.parts]
    role = [p.role for p in who]
    out: list[Fault] = []
    lead = role.index("melody")
    low = role.index("bass") if "bass" in role else -1
    starts = [c.start for c in made.chords]
    for k, line in enumerate(lines):
        for n in line:
            if not who[k].instrument.low <= n.pitch <= who[k].instrument.high:
                out.append(Fault("range", n.onset, (k,), f"{names[k]} has pitch {n.pitch}, outside {who[k].instrument.low} to {who[k].instrument.high}"))  # fmt: skip
            at = bisect_right(starts, n.onset) - 1
            if role[k] in {"harmony", "bass"} and (at < 0 or n.pitch % 12 not in made.chords[at].tones):
                out.append(Fault("tone", n.onset, (k,), f"{names[k]} has a pitch that is not in the chord"))
    for k, line in enumerate(lines):
        if role[k] in {"harmony", "bass"}:
            out += _crossed(line, lines[lead], k, lead, f"{names[k]} lies above the melody")
        if role[k] in {"harmony", "double", "melody"} and low >= 0:
            out += _crossed(lines[low], line, low, k, f"{names[k]} lies below the bass")
    single = [k for k in range(len(who)) if role[k] == "harmony" and not who[k].instrument.chords]
    for upper, lower in pairwise(single):
        out += _crossed(lines[lower], lines[upper], lower, upper, f"{names[lower]} lies above {names[upper]}")
    for k in [*single, *([low] if low >= 0 else [])]:
        for a, b in pairwise(lines[k]):
            if a.onset + a.duration == b.onset and leaps(b.pitch - a.pitch):
                out.append(Fault("leap", b.onset, (k,), f"{names[k]} leaps by {b.pitch - a.pitch:+d} semitones"))
    ends = [lines[lead], *([lines[low]] if low >= 0 else [])]
    groups = [[(lead, ends[0]), *((k, _held(made, k)[0]) for k in single), *([(low, ends[1])] if low >= 0 else [])]]
    for k in range(len(who)):
        if role[k] == "harmony" and who[k].instrument.chords:
            groups.append([(lead, ends[0]), *((k, voice) for voice in _held(made, k)), *([(low, ends[1])] if low >= 0 else [])])  # fmt: skip
    for group in groups:
        for f in parallels(moments([line for _, line in group]))[0]:
            a, b = (group[v][0] for v in f.voices)
            out.append(Fault(f.rule, f.tick, (a, b), f"parallel {f.rule} of {names[a]} and {names[b]}"))
    return sorted(set(out), key=lambda f: (f.tick, f.voices, f.rule))


def _crossed(under: Sequence[Note], over: Sequence[Note], a: int, b: int, text: str) -> list[Fault]:
    """Where a note of a part that should lie below lies above one of another that sounds with it."""
    found = []
    first = 0
    for n in under:
        while first < len(over) and over[first].onset + over[first].duration <= n.onset:
            first += 1
        k = first
        while k < len(over) and over[k].onset < n.onset + n.duration:
            if over[k].onset + over[k].duration > n.onset and over[k].pitch < n.pitch:
                found.append(Fault("crossing", max(n.onset, over[k].onset), (a, b), text))
            k += 1
    return found


def _held(made: Arranged, part: int) -> list[list[Note]]:
    """The voices of a player of harmony from the top down, each pitch that it plays to a chord held as long as the chord."""
    starts = [c.start for c in made.chords]
    heard: dict[int, set[int]] = {}
    for n in made.score.lines()[part]:
        heard.setdefault(bisect_right(starts, n.onset) - 1, set()).add(n.pitch)
    count = max((len(p) for p in heard.values()), default=1)
    voices: list[list[Note]] = [[] for _ in range(count)]
    for at, pitches in sorted(heard.items()):
        chord = made.chords[max(at, 0)]
        for v, pitch in enumerate(sorted(pitches, reverse=True)):
            voices[v].append(Note(chord.start, chord.end - chord.start, pitch, 1, part))
    return voices


def chart(made: Arranged) -> list[str]:
    """The symbols of the chords of each bar, ``"G"``, ``"Em D7"``; ``"%"`` where a bar is as the one before ends."""
    out: list[list[str]] = []
    for start, long in made.score.bars():
        names = [c.name for c in made.chords if start <= c.start < start + long]
        if names or out:  # over an upbeat stands nothing
            out.append(names)
    told, last = [], ""
    for names in out:
        told.append("%" if names == [last] else " ".join(names))
        last = names[-1] if names else last
    return told
