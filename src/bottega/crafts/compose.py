"""Compose with a run of voices: go on from a beginning, make bars anew, set a melody in four voices.

The run knows chorales as tokens of four voices (recipe ``chorales``); the rules of voice leading (``core.voicing``) hold in
all that is written here, unless they are let go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from bottega.codecs import _music_pages as pages
from bottega.codecs.music import BPM, CONTROLS
from bottega.core import Batch, BottegaError, DataError, Item, RecipeError, Rng
from bottega.core.score import Note, Part, Score, key_name
from bottega.core.voicing import RANGES, Fault, faults, moments, parallels
from bottega.crafts import _chorus as chorus
from bottega.trust.mark import mark as mark_of
from bottega.workshop.run import Progress, Run, Tell, check_knobs

__all__ = [
    "Made",
    "continue_",
    "differ",
    "harmonise",
    "infill",
    "new",
    "one_piece",
    "reharmonise",
    "save",
    "save_given",
    "save_plain",
    "wishes_like",
]

VOICES = chorus.VOICES
ROUNDS = 4  # of drawing ways, until enough of them keep the rules
FORMATS = ("mid", "musicxml", "wav", "png")
_FALLBACK = (67, 60, 55, 48)
_QUIET: Tell = lambda _: None  # noqa: E731


@dataclass(frozen=True)
class Made:
    """A piece that was written.

    Attributes:
        score: the whole piece, with what was given.
        seed: of this way.
        nats_per_note: how surprising the model finds what was written, with what follows it; lower is likelier.
        faults: rules of voice leading that what was written breaks.
        written: ``(start, end)`` in ticks of what was written.
    """

    score: Score
    seed: int
    nats_per_note: float
    faults: list[Fault] = field(default_factory=list)
    written: tuple[int, int] = (0, 0)

    @property
    def said(self) -> dict[str, Any]:
        """Figures for people."""
        new = self.score.cut(*self.written)
        lines = new.voices() or []
        found, moves = parallels(moments(lines))
        return {
            "seed": self.seed, "key": key_name(self.score.key()), "seconds": round(self.score.seconds, 2), "notes": len(new.notes),
            "nats_per_note": self.nats_per_note, "in_key": new.in_key(self.score.key()), "faults": len(self.faults),
            "parallels": len(found), "parallels_per_100_moves": 100 * len(found) / max(1, moves),
        }  # fmt: skip


def one_piece(path: str | Path) -> Score:
    """The first score of a file; raises DataError for none, or one without notes."""
    from bottega.codecs.music import MusicCodec

    score: Score = MusicCodec().read(path)[0].value
    if not score.notes:
        raise DataError(f"{path} has no notes; give a piece that sounds")
    return score


def _need_voices(run: Run) -> Any:
    codec: Any = run.codec
    if codec.medium != "music" or codec.kind != "voices" or codec.voices != VOICES or not hasattr(run.model, "step"):
        raise BottegaError(
            f"{run.recipe.name} does not write four voices; train one with bottega train chorales, and give its folder"
        )
    return codec


def _four(score: Score, what: str) -> list[list[Note]]:
    lines = score.voices()
    if lines is None:
        raise DataError(f"{what} has a part with two notes at once; give four single voices, each in a part of its own")
    if len(lines) != VOICES:
        raise DataError(
            f"{what} has {len(lines)} voices, and four are wanted; bottega compose harmonise takes a melody"
        )
    return lines


def _taste(
    score: Score, temperature: float, top_p: float, accidentals: float, particles: int, rules: bool
) -> chorus.Taste:
    for name, value, good, wanted in (
        ("temperature", temperature, temperature > 0, "above 0"),
        ("top_p", top_p, 0 < top_p <= 1, "above 0 and at most 1"),
        ("accidentals", accidentals, 0 <= accidentals <= 1, "from 0 to 1"),
        ("particles", particles, 1 <= particles <= 256, "from 1 to 256"),
    ):
        if not good:
            raise RecipeError(f"{name} is {value}; give a number {wanted}")
    return chorus.Taste(temperature, top_p, accidentals, score.key().usual, particles, rules)


def _plan(codec: Any, template: Score, first: int, last: int, voices: Sequence[int], ends: bool) -> chorus.Plan:
    """The template's tokens; those of ``voices`` in the steps of the grid from ``first`` on and before ``last`` are free."""
    tokens = codec.piece(template, "the piece")[:-1]
    _, shift = codec.placed(template)
    voice, free, struck, step = [], [], set(), -1
    words = codec.words(tokens)
    sounding = [""] * VOICES
    for i, word in enumerate(words):
        head, colon, tail = word.partition(":")
        v = int(head) if colon else -1
        step += v == 0
        voice.append(v)
        mine = v in voices and first <= step < last
        free.append(mine)
        if mine and step == first:
            struck.add(i)
        if colon and tail != "hold":
            sounding[v] = tail
        if colon and tail == "hold" and step == last and v in voices and sounding[v] not in {"", "rest"}:
            tokens[i] = codec.number[f"{v}:{sounding[v]}"]  # what stood there goes on, struck anew
    if not any(free):
        raise DataError("there is nothing to write; give a longer piece, or more bars")
    return chorus.Plan(tokens, voice, free, frozenset(struck), shift, ends)


def _ways(
    run: Run, plan: chorus.Plan, finish: Any, k: int, seed: int, taste: chorus.Taste, need: bool, tell: Tell
) -> list[Made]:
    """``k`` different pieces, by rising surprise; where they need be faultless, ways that are not are drawn again."""
    if k < 1:
        raise RecipeError(f"asked for {k} ways; at least 1")
    codec, found = run.codec, {}
    for turn in range(ROUNDS):
        seeds = [seed + turn * k + i for i in range(k)]
        for s, way in zip(
            seeds, chorus.write(run.model.eval(), codec, plan, seeds, taste, lambda i, n: tell(Progress("write", i, n))), strict=True
        ):  # fmt: skip
            if way is None:
                continue
            made: Made = finish(way[0], s, way[1])
            if not (need and made.faults):
                found.setdefault(made.score.notes, made)
        if len(found) >= k:
            break
    if len(found) < k:
        raise BottegaError(
            f"{len(found)} of {k} ways were found that differ and keep the rules of voice leading; give more --particles, "
            "another --seed, or --free, or ask for fewer"
        )
    return sorted(found.values(), key=lambda made: made.nats_per_note)[:k]


def _spliced(
    codec: Any, original: Score, tokens: list[int], plan: chorus.Plan, first: int, last: int, keep: Sequence[int] = ()
) -> tuple[Score, tuple[int, int]]:
    """The original with what was written in the steps from ``first`` on and before ``last``; voices of ``keep`` stay."""
    base = math.lcm(original.ticks, codec.steps)
    whole = original.rescaled(base)
    new = codec.decoded(tokens).transposed(-plan.shift).rescaled(base)
    a, b = first * base // codec.steps, last * base // codec.steps
    order = [k for k, line in enumerate(whole.lines()) if line]  # the parts that play are the voices
    notes: list[Note] = []
    for n in whole.notes:
        if order.index(n.part) in keep:
            notes.append(n)
            continue
        end = n.onset + n.duration
        if n.onset < a:
            notes.append(n._replace(duration=min(n.duration, a - n.onset)))
        if n.onset >= b:
            notes.append(n)
        elif end > b:
            notes.append(n._replace(onset=b, duration=end - b))
    notes += [n._replace(part=order[n.part]) for n in new.notes if a <= n.onset < b and n.part not in keep]
    return whole.with_notes(notes, length=max(whole.length, b)), (a, b)


def _finish(codec: Any, original: Score, plan: chorus.Plan, first: int, last: int, keep: Sequence[int]) -> Any:
    def finish(tokens: list[int], seed: int, logprob: float) -> Made:
        score, (a, b) = _spliced(codec, original, tokens, plan, first, last, keep)
        lines = score.voices()
        assert lines is not None
        broken = [f for f in faults(lines, keep) if a <= f.tick < b or (f.tick == b and len(f.voices) == 2)]
        count = sum(plan.free[i] and ":hold" not in codec.vocabulary[t] for i, t in enumerate(tokens))
        return Made(score, seed, -logprob / max(1, count), broken, (a, b))

    return finish


def continue_(
    run: Run, score: Score, *, bars: int = 8, keep_bars: int = 0, n: int = 1, seed: int = 0, temperature: float = 0.8,
    top_p: float = 0.98, accidentals: float = 1.0, particles: int = 8, rules: bool = True, tell: Tell = _QUIET,
) -> list[Made]:  # fmt: skip
    """Go on from a piece of four voices for so many bars, to an end.

    Args:
        run: of voices.
        score: the beginning; every note of it stays.
        bars: to write.
        keep_bars: go on behind so many bars of it; 0 behind all.
        n: how many ways.
        seed: of the first way.
        temperature: above 1 more adventurous.
        top_p: of what the rules leave, the smallest set of likeliest notes with this mass.
        accidentals: what a pitch outside the key keeps of its probability.
        particles: drafts of each way.
        rules: whether the rules of voice leading hold.
        tell: told how far it is.

    Raises:
        DataError: not four voices, or a bar that is not there.
        BottegaError: the run writes no voices, or no way keeps the rules.
    """
    codec = _need_voices(run)
    if not 1 <= bars <= 200:
        raise RecipeError(f"bars is {bars}; 1 to 200 can be written")
    whole = score.bars()
    if not 0 <= keep_bars <= len(whole):
        raise DataError(f"the piece has {len(whole)} bars, so there is no bar {keep_bars}; give 1 to {len(whole)}")
    if keep_bars:
        score = score.cut(0, whole[keep_bars - 1][0] + whole[keep_bars - 1][1])
    lines = _four(score, "the beginning")
    (start, long), end = score.bars()[-1], score.length
    total = start + long + bars * long
    first, last = (_step(codec, score, t) for t in (end, total))
    order = [line[0].part for line in lines]
    begun = [n for n in score.notes if n.onset < end]
    stand = [Note(end, total - end, line[-1].pitch, line[-1].velocity, p) for line, p in zip(lines, order, strict=True)]
    template = score.with_notes([*begun, *stand], length=total, keys=((0, score.key()),))
    plan = _plan(codec, template, first, last, range(VOICES), ends=True)
    taste = _taste(score, temperature, top_p, accidentals, particles, rules)
    original = replace(score, keys=((0, score.key()), *score.keys[1:]))
    return _ways(run, plan, _finish(codec, original, plan, first, last, ()), n, seed, taste, rules, tell)


def _step(codec: Any, score: Score, tick: int) -> int:
    return (2 * tick * codec.steps + score.ticks) // (2 * score.ticks)


def infill(
    run: Run, score: Score, first: int, last: int = 0, *, n: int = 1, seed: int = 0, temperature: float = 0.8,
    top_p: float = 0.98, accidentals: float = 1.0, particles: int = 16, rules: bool = True, tell: Tell = _QUIET,
) -> list[Made]:  # fmt: skip
    """Write the bars from ``first`` to ``last`` of a piece of four voices anew; what stands around them is kept and met.

    Args:
        run: of voices.
        score: the piece.
        first: number of a bar; 1 is the first, an upbeat counts.
        last: the last bar; 0 is ``first``.
        n: how many ways.
        seed: of the first way.
        temperature: above 1 more adventurous.
        top_p: of what the rules leave, the smallest set of likeliest notes with this mass.
        accidentals: what a pitch outside the key keeps of its probability.
        particles: drafts of each way.
        rules: whether the rules of voice leading hold.
        tell: told how far it is.

    Raises:
        DataError: not four voices, or a bar that is not there.
        BottegaError: the run writes no voices, or no way keeps the rules.
    """
    codec = _need_voices(run)
    _four(score, "the piece")
    last = last or first
    bars = score.bars()
    if not 1 <= first <= last <= len(bars):
        raise DataError(
            f"the piece has bars 1 to {len(bars)}; there is no bar {first if not 1 <= first <= len(bars) else last}"
        )
    start, end = bars[first - 1][0], min(score.length, bars[last - 1][0] + bars[last - 1][1])
    a, b = _step(codec, score, start), _step(codec, score, end)
    plan = _plan(codec, score, a, b, range(VOICES), ends=end >= score.length)
    taste = _taste(score, temperature, top_p, accidentals, particles, rules)
    return _ways(run, plan, _finish(codec, score, plan, a, b, ()), n, seed, taste, rules, tell)


def harmonise(
    run: Run, melody: Score, *, n: int = 3, seed: int = 0, temperature: float = 0.8, top_p: float = 0.98,
    accidentals: float = 1.0, particles: int = 16, tell: Tell = _QUIET,
) -> list[Made]:  # fmt: skip
    """Alto, tenor and bass below a melody, in ``n`` ways that keep every rule of voice leading.

    Args:
        run: of voices.
        melody: one single line, in a soprano's range; every note of it stays.
        n: how many ways, all different; by rising surprise to the model.
        seed: of the first way.
        temperature: above 1 more adventurous.
        top_p: of what the rules leave, the smallest set of likeliest notes with this mass.
        accidentals: what a pitch outside the key keeps of its probability.
        particles: drafts of each way.
        tell: told how far it is.

    Raises:
        DataError: it is no single line, or out of range.
        BottegaError: the run writes no voices, or fewer than ``n`` ways keep the rules.
    """
    codec = _need_voices(run)
    lines = melody.voices()
    if lines is None or len(lines) != 1:
        many = "two notes at once" if lines is None else f"{len(lines)} voices"
        raise DataError(
            f"the melody has {many}, and one single line is wanted; bottega compose reharmonise takes a piece"
        )
    low, high = RANGES["soprano"]
    pitches = [n.pitch for n in lines[0]]
    if min(pitches) < low or max(pitches) > high:
        by = low - min(pitches) if min(pitches) < low else high - max(pitches)
        fits = low <= min(pitches) + by and max(pitches) + by <= high
        mend = f"transpose it by {by:+d} (--transpose {by})" if fits else "it is too wide for one voice; shorten it"
        raise DataError(
            f"the melody has pitch {min(pitches) if by > 0 else max(pitches)}, outside a soprano's {low} to {high}; {mend}"
        )
    return _below(
        run, codec, melody, lines[0], n, seed, _taste(melody, temperature, top_p, accidentals, particles, True), tell
    )


def reharmonise(
    run: Run, score: Score, *, n: int = 3, seed: int = 0, temperature: float = 0.9, top_p: float = 0.98,
    accidentals: float = 1.0, particles: int = 16, tell: Tell = _QUIET,
) -> list[Made]:  # fmt: skip
    """Other voices below the highest voice of a piece, those ways first that differ most from the piece; see ``differ``.

    Raises as ``harmonise`` does.
    """
    codec = _need_voices(run)
    lines = _four(score, "the piece")
    top = replace(score, keys=((0, score.key()), *score.keys[1:]))
    tune = top.with_notes([n._replace(part=0) for n in lines[0]], parts=(score.parts[lines[0][0].part],))
    taste = _taste(score, temperature, top_p, accidentals, particles, True)
    ways = _below(run, codec, tune, [n._replace(part=0) for n in lines[0]], n, seed, taste, tell)
    return sorted(ways, key=lambda made: -differ(made.score, score))


def _below(
    run: Run, codec: Any, melody: Score, line: Sequence[Note], n: int, seed: int, taste: chorus.Taste, tell: Tell
) -> list[Made]:
    names = [p.name for p in codec.players] or ["Soprano", "Alto", "Tenor", "Bass"]
    parts = tuple(Part(name, 52) for name in names)
    key = melody.key()
    end = max(note.onset + note.duration for note in line)
    stand = [Note(line[0].onset, end - line[0].onset, p, 72, v) for v, p in enumerate(_FALLBACK) if v]
    keys = ((0, key), *melody.keys[1:])
    template = melody.with_notes([*(x._replace(part=0) for x in line), *stand], parts=parts, keys=keys)
    last = _step(codec, template, template.length)
    plan = _plan(codec, template, 0, last, (1, 2, 3), ends=True)
    made = _ways(run, plan, _finish(codec, template, plan, 0, last, (0,)), n, seed, taste, True, tell)
    if len(made) < n:
        raise BottegaError(f"only {len(made)} of {n} ways keep the rules; give more --particles, or ask for fewer")
    return made


def differ(a: Score, b: Score) -> float:
    """The share of moments of ``a`` whose pitch classes are not those of ``b`` at that time."""
    ticks = math.lcm(a.ticks, b.ticks)
    one, two = (moments([line for line in s.rescaled(ticks).lines() if line]) for s in (a, b))
    if not one or not two:
        return 1.0

    def at(found: Sequence[Any], tick: int) -> frozenset[int]:
        held = [m for m in found if m.tick <= tick][-1:]
        return frozenset(p % 12 for m in held for p in m.pitches if p >= 0)

    return sum(at(one, m.tick) != at(two, m.tick) for m in one) / len(one)


def _need_tokens(run: Run) -> Any:
    codec: Any = run.codec
    if codec.medium != "music" or codec.kind == "roll" or not hasattr(run.model, "edit"):
        raise BottegaError(f"{run.recipe.name} writes no music as tokens; sample it with bottega sample")
    return codec


def new(run: Run, *, n: int = 1, seed: int = 0, wishes: dict[str, str] | None = None, **knobs: Any) -> list[Made]:
    """Pieces from nothing, as wished: key, mode, tempo, density and genre, of those that the run's codec has.

    The metre, and what is not wished, are as in a drawn training piece that has what is wished (``MusicCodec.head``).

    Args:
        run: of music as tokens.
        n: how many.
        seed: of the first.
        wishes: ``{"mode": "minor", "tempo": "120"}``; the model is told the nearest tempo that it knows, the piece has the one asked for.
        **knobs: of the family's ``edit`` (temperature, top_p, ...).

    Raises:
        RecipeError: a wish that the codec has not, or a value that it does not know.
    """
    codec = _need_tokens(run)
    wishes = dict(wishes or {})
    for name in wishes:
        if name not in codec.controls:
            has = f"it has {', '.join(codec.controls)}" if codec.controls else "it has none"
            raise RecipeError(
                f"{run.recipe.name} cannot be asked for a {name} ({has}; {', '.join(CONTROLS)} are known)"
            )
    pace = 0.0
    if "tempo" in wishes:
        try:
            pace = float(wishes["tempo"])
        except ValueError:
            pace = math.nan
        if not 10 <= pace <= 1000:
            raise RecipeError(f"tempo is {wishes['tempo']!r}; give quarters a minute, such as 96")
        wishes["tempo"] = str(min(BPM, key=lambda b: abs(b - pace)))
    check_knobs(run.model.edit, knobs, skip=3, without=("max_new", "stop", "overflow"))
    seeds = list(range(seed, seed + n))
    heads = [codec.head(wishes, float(Rng(s).uniform(1))) for s in seeds]
    start = torch.tensor([[codec.number[w] for w in head] for head in heads])
    x = torch.full((n, codec.length), codec.end)
    x[:, : start.shape[1]] = start
    keep = (torch.arange(codec.length)[None] < start.shape[1]).expand(n, -1)
    run.model.eval()
    rows = run.model.edit(Batch(x.to(run.device)), keep.to(run.device), Rng.for_rows(seeds, run.device), **knobs).cpu()
    out = []
    for s, item in zip(seeds, codec.decode(rows), strict=True):
        score: Score = item.value
        if pace:
            score = replace(score, tempos=((0, round(60e6 / pace)), *score.tempos[1:]))
        out.append(Made(score, s, math.nan, [], (0, score.length)))
    return out


@torch.no_grad()
def wishes_like(run: Run, score: Score) -> dict[str, str]:
    """What a piece is like, of the controls that the run's codec has; for ``new``.

    Key, mode, tempo and density are measured. The genre is the piece's own where the run knows it, else the one under which the run
    finds it likeliest (of a piece longer than a row, its beginning).

    Raises:
        BottegaError: the run writes no music as tokens, or has no controls.
        DataError: a piece that its tokens cannot carry.
    """
    codec = _need_tokens(run)
    if not codec.controls:
        raise BottegaError(
            f"{run.recipe.name} cannot be asked for anything; train with codec.controls, or leave --like out"
        )
    placed, _ = codec.placed(score)
    said = dict(w.split("=", 1) for w in codec.prefix(placed) if w.partition("=")[0] in codec.controls)
    if said.get("genre") == "?" and codec.genres:
        rows = [codec.piece(score, "the piece", said | {"genre": g})[: codec.length] for g in codec.genres]
        x = torch.tensor(rows, device=run.device)
        mask = torch.ones_like(x, dtype=torch.bool)
        found = run.model.eval().log_prob(Batch(x, None, mask), Rng.for_rows([0] * len(rows), run.device))
        said["genre"] = codec.genres[int(found.argmax())]
    if "tempo" in said:
        said["tempo"] = f"{60e6 / score.tempos[0][1]:.6g}"  # as it is, not the nearest that tokens have
    return {name: value for name, value in said.items() if value != "?"}


def save(run: Run, made: Made, stem: Path, formats: Sequence[str] = FORMATS, title: str = "") -> list[Path]:
    """Write a piece as ``stem.mid``, ``.musicxml``, ``.wav``, ``.png`` (piano roll) and ``-score.png``, all marked.

    Raises:
        RecipeError: an unknown format.
        OutputError: the place cannot be written.
    """
    return _saved(run.codec, made.score, stem, formats, run.mark(made.seed), title or stem.name)


def save_given(score: Score, path: Path) -> list[Path]:
    """Write a piece that nobody here made, as MIDI without a mark."""
    from bottega.codecs.music import MusicCodec

    return [MusicCodec().write(Item(score), path)]


def save_plain(score: Score, stem: Path, formats: Sequence[str], seed: int, how: str) -> list[Path]:
    """As ``save``, of a piece that no model but a craft of ours made; its mark says which."""
    from bottega.codecs.music import MusicCodec

    return _saved(MusicCodec(), score, stem, formats, mark_of("", seed, recipe=how), stem.name)


def _saved(
    codec: Any, score: Score, stem: Path, formats: Sequence[str], mark: dict[str, str], title: str
) -> list[Path]:
    for name in formats:
        if name not in FORMATS:
            raise RecipeError(f"no format called {name!r}; there are {', '.join(FORMATS)}")
    out = []
    for name in formats:
        path = stem.with_name(f"{stem.name}.{name}")
        if name == "png":
            out.append(pages.rolls([Item(score, name=title)], path, mark))
            out.append(pages.staves(score, stem.with_name(f"{stem.name}-score.png"), title, mark))
        else:
            out.append(codec.write(Item(score), path, mark))
    return out
