"""Music: MIDI, MusicXML and ABC outside; event tokens or piano rolls inside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from bottega.codecs import _music_files as files
from bottega.codecs import _music_pages as pages
from bottega.codecs import _music_rows as cut
from bottega.codecs import _synth as synth
from bottega.codecs._files import contents, many, read_bytes
from bottega.codecs._labels import labelled, no_empty_class
from bottega.codecs._music_rows import KEYS88, Row
from bottega.core import Batch, DataError, Item, RecipeError, Source, Spec, nearest
from bottega.core.files import write_atomically
from bottega.core.score import HIGHEST, LOWEST, Key, Note, Part, Score, key_name, parse_key

__all__ = ["MusicCodec", "SUFFIXES", "Row", "gm_name"]

SUFFIXES = frozenset({".mid", ".midi", ".xml", ".musicxml", ".mxl", ".abc", ".json"})
BPM = tuple(round(30 * 2 ** (k / 8)) for k in range(25))  # 30 to 240, steps of 9 %
DENSITIES = ("sparse", "medium", "dense")
CONTROLS = ("key", "mode", "tempo", "density", "genre")
NOMINAL = tuple((n, d) for d in (1, 2, 4, 8, 16, 32) for n in range(1, 17))
LONGEST_BAR, LONGEST_NOTE = 12, 16  # quarters
_VELOCITIES = tuple(range(8, 128, 16))  # middles of eight bins
_UNKNOWN = "?"
Tokens = Literal["events", "voices", "frames", "roll"]
_C = {"major": Key(0), "minor": Key(9, "minor")}


class MusicCodec:
    """Scores as token numbers ``(length,)``, or as piano rolls ``(1, length, 88)`` of two levels.

    ``read`` takes MIDI (``.mid``), MusicXML (``.musicxml``, ``.xml``, ``.mxl``), ABC (``.abc``, by music21) and JSON of
    steps (``{"train": [[[74, 70, 65, 58], ...], ...]}``), each also gzipped, folders and archives of them. An item's value
    is a ``core.score.Score``.

    Args:
        tokens: ``"events"``: bars, positions, pitches, velocities and durations (REMI, Huang & Yang 2020, arXiv:2002.00212),
            any number of instruments. ``"voices"``: in every step of the grid one token for each voice, a pitch, a rest or
            "goes on" (the layout of DeepBach, Hadjeres et al. 2017, arXiv:1612.01010); each voice has tokens of its own.
            ``"frames"``: the pitches that sound in each step, from the top down, then a token that ends the step: the
            likelihood is exactly that of the 88 bits of every frame. ``"roll"``: 88 bits a step as a picture.
        steps: of the grid in a quarter note; what lies between is moved to the nearest. Of notes of one voice that come to
            one step (``"voices"``) the longest stays.
        length: tokens in a row, for rolls steps. A longer piece is cut between bars (frames and rolls: steps) into several.
        voices: how many voices a piece must have; of ``"voices"`` only.
        controls: what is said before the notes, with commas between: key, mode, tempo, density (of notes) and genre; for tokens
            only. Events and voices always begin with the metre.
        key: ``"own"``, or ``"common"``: pieces are moved to C major or A minor, by the key as written or else as heard.
        transpose: training moves each piece by up to so many semitones up or down, as far as it stays on the keyboard.
        velocity: whether events say how hard notes are struck, in eight levels.
        step: quarters that a step of a JSON file lasts.
        labels: where genres come from: ``"auto"`` (the folder that a piece lies in, where all lie in folders), ``"folder"`` (the
            same, and an error where a piece lies in none), ``"none"``, or a CSV relative to the data with the columns ``file``
            and ``label``; ``"pieces.csv:genre"`` names another column. ABC says its own in ``R:``, which is before a folder's
            name for ``"auto"``, and behind it and a CSV's otherwise.
        on_error: ``"stop"`` at a file that cannot be read or coded, or ``"skip"`` it (its message is kept in ``skipped``).

    Raises:
        RecipeError: an argument has no such value.

    >>> codec = MusicCodec(tokens="frames", steps=1, length=8).fit([])
    >>> score = Score.of([Note(0, 2, 60), Note(1, 1, 64)], ticks=1)
    >>> codec.words(codec.encode([Item(score)]).x[0])
    ['60', 'next', '64', '60', 'next', 'end', 'end', 'end']
    """

    medium = "music"
    free = frozenset({"length", "transpose", "step", "on_error"})  # what decides nothing about the numbers

    def __init__(
        self,
        *,
        tokens: Tokens = "events",
        steps: int = 4,
        length: int = 512,
        voices: int = 4,
        controls: str = "",
        key: Literal["own", "common"] = "own",
        transpose: int = 0,
        velocity: bool = False,
        step: float = 0.25,
        labels: str = "auto",
        on_error: Literal["stop", "skip"] = "stop",
    ) -> None:
        for name, value, known in (
            ("tokens", tokens, get_args(Tokens)),
            ("key", key, ("own", "common")),
            ("on_error", on_error, ("stop", "skip")),
        ):
            if value not in known:
                raise RecipeError(f"codec.{name} is {value!r}{nearest(value, known)}")
        wanted = tuple(c.strip() for c in controls.split(",") if c.strip())
        for control in wanted:
            if control not in CONTROLS:
                raise RecipeError(f"codec.controls names {control!r}{nearest(control, CONTROLS)}")
        if wanted and tokens == "roll":
            raise RecipeError("codec.controls are tokens before the notes, and a roll has none; leave them out")
        if "key" in wanted and key == "common":
            raise RecipeError("codec.controls names the key, but codec.key = 'common' moves all pieces to one; choose")
        if not 1 <= steps <= 48:
            raise RecipeError(f"codec.steps is {steps}; it must lie between 1 and 48")
        if length < 8:
            raise RecipeError(f"codec.length is {length}; a row needs at least 8")
        if not 1 <= voices <= 16:
            raise RecipeError(f"codec.voices is {voices}; a piece has 1 to 16")
        if not 0 <= transpose <= 11:
            raise RecipeError(f"codec.transpose is {transpose}; pieces are moved by 0 to 11 semitones")
        if not step > 0:
            raise RecipeError(f"codec.step is {step}; a step lasts more than 0 quarters")
        self.tokens_, self.steps, self.length, self.voices = tokens, steps, length, voices
        self.controls = tuple(c for c in CONTROLS if c in wanted)
        self.key_, self.transpose, self.velocity, self.on_error = key, transpose, velocity, on_error
        self.step = Fraction(step).limit_denominator(48)
        self.labels = labels
        self.skipped: list[str] = []
        self.genres: list[str] = []
        self.heads: dict[str, int] = {}
        self.players: list[Part] = []
        self.bounds: list[float] = []
        self.tempo = 500_000

    @property
    def kind(self) -> str:
        """How scores are coded: ``"events"``, ``"voices"``, ``"frames"`` or ``"roll"``."""
        return self.tokens_

    # ---- files -> pieces -------------------------------------------------------------------------------------------

    def read(self, source: str | Path) -> list[Item]:
        """Scores of a file, a folder (sorted by name) or an archive.

        Raises:
            DataError: nothing there, a file that cannot be read, or a piece without the label that is asked for.
        """
        source = Path(source)
        self.skipped = []
        if not source.exists():
            raise DataError(f"there is no {source}; give a MIDI, MusicXML or ABC file, or a folder of them")
        if many(source):
            found = [(n, f"{source}/{n}", d) for n, d in sorted(contents(source, lambda n: _suffix(n) in SUFFIXES))]
        else:
            if _suffix(source.name) not in SUFFIXES:
                raise DataError(f"{source} is no score; supported: {', '.join(sorted(SUFFIXES))}, also .gz")
            found = [(source.name, str(source), read_bytes(source))]
        items: list[Item] = []
        of: list[str] = []  # the file of each
        for name, where, data in found:
            try:
                inside = self._pieces(name, where, data)
                items, of = items + inside, of + [name] * len(inside)
            except DataError as error:
                if self.on_error == "stop":
                    raise
                self.skipped.append(str(error))
        if not items:
            if self.skipped:
                raise DataError(
                    f"{source} holds no score that can be read ({len(self.skipped)} cannot, the first: {self.skipped[0]})"
                )
            raise DataError(f"{source} holds no score; supported: {', '.join(sorted(SUFFIXES))}, also .gz")
        return self._with_genres(source, items, of)

    def _with_genres(self, source: Path, items: list[Item], of: Sequence[str]) -> list[Item]:
        """The pieces with their genres, as ``labels`` says; ``of`` names the file of each."""
        if self.labels == "none":
            return items
        skipped = self.skipped if self.on_error == "skip" else None
        numbered = [Item(k, name=name) for k, name in enumerate(of)]
        root = source if source.is_dir() else source.parent
        known = labelled(root, numbered, self.labels, skipped, "score", one=not many(source))
        if source.is_dir() and self.labels == "folder":
            no_empty_class(source, known, skipped, "score")
        return [
            items[i.value]
            if i.cond is None or self.labels == "auto" and items[i.value].value.genre
            else replace(items[i.value], value=replace(items[i.value].value, genre=i.cond))
            for i in known
        ]

    def _pieces(self, name: str, where: str, data: bytes) -> list[Item]:
        if not data:
            raise DataError(f"{where} is empty; give a MIDI, MusicXML or ABC file")
        suffix = _suffix(name)
        if suffix in {".mid", ".midi"}:
            return [Item(files.read_midi(data, where), name=name)]
        if suffix == ".json":
            return [Item(s, name=f"{name}#{k}") for k, s in files.read_steps(data, where, self.step)]
        if suffix == ".abc":
            try:
                text = data.decode("utf-8-sig").replace("\r\n", "\n")
            except UnicodeDecodeError as error:
                raise DataError(f"{where} is not UTF-8 at byte {error.start}; convert it first") from error
            return [Item(s, name=f"{name}#{k}") for k, s in files.read_abc(text, where)]
        return [Item(files.read_musicxml(data, where), name=name)]

    # ---- pieces -> examples ----------------------------------------------------------------------------------------

    def fit(self, items: Sequence[Item]) -> Self:
        """Learn instruments, genres, the usual tempo and what counts as dense; the same data gives the same tokens."""
        scores = [item.value for item in items]
        found = {
            (p.program, p.drums) for s in scores for k, p in enumerate(s.parts) if any(n.part == k for n in s.notes)
        }
        self.genres = sorted({s.genre for s in scores if s.genre})
        if self.kind == "voices":
            parts = next((s.parts for s in scores if len(s.parts) == self.voices), ())
            named = [p.name for p in parts] or [f"Voice {k + 1}" for k in range(self.voices)]
            self.players = [Part(name, 52 if self.voices > 1 else 0) for name in named]
        else:
            self.players = [Part(gm_name(*p), *p) for p in sorted(found)] or [Part(gm_name(0), 0)]
        dense = sorted(s.density for s in scores)
        self.bounds = [dense[len(dense) // 3], dense[2 * len(dense) // 3]] if dense else [2.0, 4.0]
        paces = sorted(s.tempos[0][1] for s in scores)
        self.tempo = paces[len(paces) // 2] if paces else 500_000
        self._ready()
        heads = Counter("\t".join(self.prefix(s)) for s in scores) if self.vocabulary else Counter[str]()
        self.heads = {k: c for k, c in sorted(heads.items()) if all(w in self.number for w in k.split("\t"))}
        return self

    def _ready(self) -> Self:
        if self.kind == "roll":
            self.vocabulary: list[str] = []
            self.spec = Spec((1, self.length, KEYS88), vocab=2, ordinal=True)
            return self
        names: list[str] = []
        if self.kind == "events":
            names += [f"metre={n}/{d}" for n, d in NOMINAL] + ["bar"]
            names += [f"at={k}" for k in range(LONGEST_BAR * self.steps)] + [f"bpm={b}" for b in BPM]
            names += [f"play={k}" for k in range(len(self.players))]
            names += [f"v={v}" for v in _VELOCITIES] if self.velocity else []
            names += [str(p) for p in range(128)] + [f"long={k}" for k in range(1, LONGEST_NOTE * self.steps + 1)]
        elif self.kind == "voices":
            names += [f"metre={n}/{d}" for n, d in NOMINAL] + ["bar"]
            for v in range(self.voices):
                names += [f"{v}:hold", f"{v}:rest", *(f"{v}:{p}" for p in range(LOWEST, HIGHEST + 1))]
        else:
            names += [str(p) for p in range(LOWEST, HIGHEST + 1)] + ["next"]
        for control in self.controls:
            names += [f"{control}={value}" for value in [_UNKNOWN, *self._values(control)]]
        names.append("end")
        self.vocabulary = names
        self.number = {name: k for k, name in enumerate(names)}
        self.end = self.number["end"]
        self.spec = Spec((self.length,), vocab=len(names))
        self._moves = self._tables()
        return self

    def _values(self, control: str) -> list[str]:
        return {
            "key": [key_name(Key(t, m)) for m in ("major", "minor") for t in range(12)],  # type: ignore[arg-type]
            "mode": ["major", "minor"],
            "tempo": [str(b) for b in BPM],
            "density": list(DENSITIES),
            "genre": list(self.genres),
        }[control]

    def _tables(self) -> dict[int, Tensor]:
        """For every transposition that training may draw, the number that each token becomes; -1 where it leaves the range."""
        out = {}
        for k in range(-self.transpose, self.transpose + 1):
            table = torch.arange(len(self.vocabulary))
            for i, name in enumerate(self.vocabulary):
                head, colon, tail = name.rpartition(":")
                if tail.isdecimal() and (colon or name.isdecimal()):
                    table[i] = self.number.get(f"{head}{colon}{int(tail) + k}", -1)
                elif name.startswith("key=") and not name.endswith(_UNKNOWN):
                    key = parse_key(name[4:])
                    table[i] = self.number[f"key={key_name(Key((key.tonic + k) % 12, key.mode))}"]
            out[k] = table
        return out

    def words(self, row: Tensor | Sequence[int]) -> list[str]:
        """What each token of a row says."""
        return [self.vocabulary[int(t)] for t in row]

    def canonical(self, score: Score) -> Score:
        """What the tokens can say of a score: on the grid, in the common key, with the instruments and marks that they carry.

        ``decode`` of ``encode`` gives this, exactly. Raises DataError for a score that they cannot carry.
        """
        return self.decoded(self.piece(score))

    def piece(self, score: Score, name: str = "", controls: dict[str, str] | None = None) -> list[int]:
        """All tokens of a piece however long, ``end`` included; of rolls nothing.

        Args:
            score: the piece.
            name: for messages.
            controls: what to say before the notes instead of what is found, such as ``{"density": "dense"}``.

        Raises:
            DataError: a piece that these tokens cannot carry.
        """
        placed, _ = self.placed(score)
        head, groups = self._groups(placed, name or "a piece", controls)
        return [self.number[w] for w in [*head, *(w for group in groups for w in group), "end"]]

    def placed(self, score: Score) -> tuple[Score, int]:
        """The piece on the grid and, where asked, in the common key; and by how many semitones it was moved."""
        shift = 0
        if self.key_ == "common":
            key = score.key()
            shift = (_C[key.mode].tonic - key.tonic + 6) % 12 - 6
        moved = score.transposed(shift)
        placed = moved.quantised(self.steps)
        return (cut.thinned(placed) if self.kind == "voices" and moved.voices() is not None else placed), shift

    def prefix(self, score: Score, controls: dict[str, str] | None = None) -> list[str]:
        """What stands before the notes: the metre, then the controls."""
        head = []
        if self.kind in {"events", "voices"}:
            head.append("metre={}/{}".format(*score.usual_metre()))
        if not self.controls:
            return head
        key = score.key()
        bpm = min(BPM, key=lambda b: abs(b - 60e6 / score.tempos[0][1]))
        said = {
            "key": key_name(key), "mode": key.mode, "tempo": str(bpm), "genre": score.genre or _UNKNOWN,
            "density": DENSITIES[int(np.searchsorted(self.bounds, score.density, side="right"))],
        } | (controls or {})  # fmt: skip
        for control in self.controls:
            word = f"{control}={said[control]}"
            if word not in self.number:
                if control == "genre" and not (controls or {}).get("genre"):
                    word = f"genre={_UNKNOWN}"  # of a piece of a kind that training had not
                else:
                    raise RecipeError(f"{control} is {said[control]!r}{nearest(said[control], self._values(control))}")
            head.append(word)
        return head

    def head(self, wishes: Mapping[str, str], u: float = 0.5) -> list[str]:
        """What stands before the notes of a piece as wished; the metre and what is not wished are drawn from training pieces.

        Those pieces count that have all that is wished, or, where none has, as much of it as any.

        Args:
            wishes: values of controls, such as ``{"genre": "jig"}``.
            u: from 0 to 1, says which piece.

        Raises:
            RecipeError: a wish that is no control, or a value that was not learned.
        """
        for name, value in wishes.items():
            if name not in self.controls:
                raise RecipeError(f"there is no control {name!r}{nearest(name, self.controls)}")
            if f"{name}={value}" not in self.number:
                raise RecipeError(f"{name} is {value!r}{nearest(value, self._values(name))}")
        words = {f"{name}={value}" for name, value in wishes.items()}
        if not self.heads:  # nothing was read, or stands before the notes
            return self.prefix(
                Score.of([Note(0, 1, 60)], ticks=1), dict.fromkeys(self.controls, _UNKNOWN) | dict(wishes)
            )
        agree = {head: len(words & set(head.split("\t"))) for head in self.heads}
        fitting = [head for head, count in agree.items() if count == max(agree.values())]
        sums = np.cumsum([self.heads[head] for head in fitting])
        drawn = fitting[min(int(np.searchsorted(sums, u * sums[-1], side="right")), len(fitting) - 1)].split("\t")
        return [f"{name}={wishes[name]}" if (name := w.partition("=")[0]) in wishes else w for w in drawn]

    def _groups(
        self, score: Score, name: str, controls: dict[str, str] | None = None
    ) -> tuple[list[str], list[list[str]]]:
        """The prefix, and the words of each bar (of frames: of each step)."""
        groups = {"events": self._events, "voices": self._voices, "frames": self._frames}[self.kind](score, name)
        return self.prefix(score, controls), groups

    def _frames(self, score: Score, name: str) -> list[list[str]]:
        return [[*(str(LOWEST + p) for p in np.flatnonzero(step)[::-1]), "next"] for step in score.roll()]

    def _bars(self, score: Score, name: str) -> list[tuple[int, int, list[str]]]:
        """Start, steps and opening words of each bar; a metre is said where it is not that of the bar before."""
        out = []
        said = "{}/{}".format(*score.usual_metre())
        metres = {t: f"{n}/{d}" for t, n, d in score.metres}
        now = said
        for start, ticks in score.bars():
            now = metres.get(start, now)
            n, d = map(int, now.split("/"))
            if ticks != max(1, 4 * n * self.steps // d):  # the metre changes before this bar is full
                short = files.metre_of(Fraction(ticks, self.steps))
                now = "/".join(map(str, short or (n, d, "cut")))
            if f"metre={now}" not in self.number or ticks > LONGEST_BAR * self.steps:
                raise DataError(f"{name} has bars of {now}, which these tokens cannot say; leave it out")
            out.append((start, ticks, ["bar"] if now == said else ["bar", f"metre={now}"]))
            said = now
        return out

    def _voices(self, score: Score, name: str) -> list[list[str]]:
        lines = self.lines(score, name)
        word = np.full((score.length, self.voices), "rest", dtype=object)
        for v, line in enumerate(lines):
            for n in line:
                if not LOWEST <= n.pitch <= HIGHEST:
                    raise DataError(
                        f"{name} has pitch {n.pitch}, outside a piano's {LOWEST} to {HIGHEST}; transpose it"
                    )
                word[n.onset, v] = str(n.pitch)
                word[n.onset + 1 : n.onset + n.duration, v] = "hold"
        out = []
        for start, ticks, head in self._bars(score, name):
            steps = range(start, min(start + ticks, score.length))
            out.append(head + [f"{v}:{word[t, v]}" for t in steps for v in range(self.voices)])
        return out

    def lines(self, score: Score, name: str = "the piece") -> list[list[Note]]:
        """The single lines of a score, as many as there are voices; parts of chords are taken apart from the top down.

        Raises:
            DataError: there are more or fewer, or two notes at once in one.
        """
        found = score.voices()
        if found is not None and len(found) == self.voices:
            return found
        if found is None and (apart := cut.split(score)) is not None and len(apart) == self.voices:
            return apart
        how = "with two notes at once" if found is None else f"{len(found)}"
        raise DataError(
            f"{name} has parts {how}, not {self.voices} single voices; use codec.tokens = 'events', or leave it out"
        )

    def _events(self, score: Score, name: str) -> list[list[str]]:
        index = {(p.program, p.drums): k for k, p in enumerate(self.players)}
        who = []
        for n in score.notes:
            part = score.parts[n.part]
            if (part.program, part.drums) not in index:
                raise DataError(
                    f"{name} is played by program {part.program}, which was not in the training data; change it"
                )
            who.append(index[part.program, part.drums])
        tempos = dict(score.tempos)
        order = sorted(range(len(score.notes)), key=lambda i: (score.notes[i].onset, who[i], -score.notes[i].pitch, -score.notes[i].duration))  # fmt: skip
        out, k = [], 0
        pace: int | None = None
        player = 0
        for start, ticks, head in self._bars(score, name):
            words = list(head)
            marks = sorted({t for t in tempos if start <= t < start + ticks} - {0})
            while True:
                onsets = [score.notes[order[k]].onset] if k < len(order) else []
                at = min([*onsets, *marks], default=start + ticks)
                if at >= start + ticks or at >= score.length:
                    break
                words.append(f"at={at - start}")
                if marks and marks[0] == at:
                    pace = _bin(tempos[marks.pop(0)])
                    words.append(f"bpm={pace}")
                before = -1
                while k < len(order) and score.notes[order[k]].onset == at:
                    n = score.notes[order[k]]
                    k += 1
                    if who[order[k - 1]] == before and words[-2 - self.velocity] == str(n.pitch):
                        continue  # two players of one instrument in unison: one note
                    if len(self.players) > 1 and who[order[k - 1]] != player:
                        player = who[order[k - 1]]
                        words.append(f"play={player}")
                    before = who[order[k - 1]]
                    words.append(str(n.pitch))
                    if self.velocity:
                        words.append(f"v={_VELOCITIES[min(7, n.velocity // 16)]}")
                    words.append(f"long={min(n.duration, LONGEST_NOTE * self.steps)}")
            if start == 0 and 0 in tempos and "tempo" not in self.controls and _bin(tempos[0]) != _bin(self.tempo):
                words[len(head) : len(head)] = ["at=0", f"bpm={_bin(tempos[0])}"]
            out.append(words)
        return out

    def rows(self, items: Sequence[Item], *, overlap: bool = False) -> list[Row]:
        """The rows of pieces: whole where they have room, otherwise cut between bars (of frames: steps).

        Args:
            items: pieces.
            overlap: cut pieces come a second time, from the middle of each row on.

        Raises:
            DataError: a piece that cannot be coded, or a bar that is longer than a row.
        """
        out = []
        for item in items:
            name = item.name or "a piece"
            placed, shift = self.placed(item.value)
            head, groups = self._groups(placed, name)
            first = [self.number[w] for w in head]
            coded = [[self.number[w] for w in group] for group in groups]
            alone = [[self.number[w] for w in group] for group in cut.opened(head, groups)]
            sizes = [len(g) for g in alone]
            room = self.length - len(first)
            if max(sizes, default=0) > room:
                raise DataError(
                    f"{name} has a bar of {max(sizes)} tokens, and a row has room for {room}; set codec.length"
                )
            starts = cut.cuts(sizes, room)
            if overlap and len(starts) > 1:
                starts += [(min(b, a + (b - a) // 2), len(sizes)) for a, b in starts]
            for a, b in starts:
                row = [*first, *(alone[a] if a < b else [])]
                a += a < b
                while a < len(coded) and a < b and len(row) + len(coded[a]) <= self.length:
                    row += coded[a]
                    a += 1
                whole = a == len(coded)
                if whole and len(row) < self.length:
                    row.append(self.end)
                out.append(Row(row, placed, whole, shift))
        return out

    def _coded(self, items: Sequence[Item]) -> list[Item]:
        """The pieces that these tokens can carry; raises DataError for another, unless it is to be skipped."""
        if self.on_error == "stop" or self.kind == "roll":
            return list(items)
        good = []
        for item in items:
            try:
                self.piece(item.value, item.name)
                good.append(item)
            except DataError as error:
                self.skipped.append(str(error))
        if not good:
            raise DataError(f"none of {len(items)} pieces can be coded: {self.skipped[-1]}")
        return good

    def encode(self, items: Sequence[Item]) -> Batch:
        """``(rows, length)`` int64 with a mask (False behind the end), or rolls ``(rows, 1, length, 88)``."""
        if self.kind == "roll":
            return self._rolls(items)
        return self._padded([row.tokens for row in self.rows(self._coded(items))])

    def _padded(self, rows: Sequence[Sequence[int]]) -> Batch:
        x = torch.full((len(rows), self.length), self.end)
        for i, row in enumerate(rows):
            x[i, : len(row)] = torch.tensor(row)
        real = torch.tensor([len(row) for row in rows], dtype=torch.long)
        return Batch(x, None, torch.arange(self.length) < real[:, None])

    def _rolls(self, items: Sequence[Item]) -> Batch:
        parts, real = [], []
        for item in items:
            roll = self.placed(item.value)[0].roll()
            for at in range(0, max(1, len(roll)), self.length):
                part = np.zeros((self.length, KEYS88), np.int64)
                part[: len(roll) - at] = roll[at : at + self.length]
                parts.append(part)
                real.append(min(self.length, len(roll) - at))
        x = torch.from_numpy(np.stack(parts)) if parts else torch.zeros(0, self.length, KEYS88, dtype=torch.long)
        mask = torch.arange(self.length)[None, :] < torch.tensor(real, dtype=torch.long)[:, None]
        return Batch(x[:, None], None, mask[:, None, :, None].expand(-1, 1, -1, KEYS88))

    def source(self, items: Sequence[Item], *, train: bool) -> Source:
        """Rows for training, each moved by a drawn interval where ``transpose`` says so; or the rows of ``encode``."""
        if self.kind == "roll":
            batch = self._rolls(items)
            return cut.MovedRolls(batch, self.transpose) if train and self.transpose else batch
        if not train:
            return self.encode(items)
        batch = self._padded([row.tokens for row in self.rows(self._coded(items), overlap=True)])
        return cut.Moved(batch, self._moves)

    def encode_cond(self, values: Sequence[Any]) -> Tensor:
        """Refuses: what a piece is to be is said by tokens before its notes; see ``prefix``."""
        raise RecipeError("music is asked for by bottega compose (--key, --mode, --density ...), not by --cond")

    # ---- examples -> pieces ----------------------------------------------------------------------------------------

    def decode(self, x: Tensor, cond: Tensor | None = None) -> list[Item]:
        """The score of each row, up to its first ``end``; tokens that stand where they mean nothing are passed over."""
        if self.kind == "roll":
            return [Item(self._of_roll(row[0].bool().cpu().numpy())) for row in x]
        return [Item(self.decoded(row)) for row in x.tolist()]

    def decoded(self, tokens: Sequence[int]) -> Score:
        """The score that tokens say."""
        words = self.words(tokens)
        words = words[: words.index("end")] if "end" in words else words
        every = (
            w.partition("=") for w in reversed(words) if "=" in w
        )  # what is said first counts: it stands before the notes
        said = {k: v for k, _, v in every if k in self.controls}
        parts = tuple(self.players)
        if self.kind == "voices":
            reading = cut.of_voices(words, self.steps, parts, self.voices)
        else:
            reading = (cut.of_events if self.kind == "events" else cut.of_frames)(words, self.steps, parts)
        keys: tuple[tuple[int, Key], ...] = ()
        if said.get("key", _UNKNOWN) != _UNKNOWN:
            keys = ((0, parse_key(said["key"])),)
        elif self.key_ == "common" and said.get("mode") in _C:
            keys = ((0, _C[said["mode"]]),)
        tempos = {0: round(60e6 / _bin(self.tempo)) if self.kind == "events" else self.tempo, **dict(reading.tempos)}
        if said.get("tempo", _UNKNOWN) != _UNKNOWN:
            tempos[0] = round(60e6 / int(said["tempo"]))
        genre = said.get("genre", _UNKNOWN)
        return replace(
            reading, keys=keys, tempos=tuple(sorted(tempos.items())), genre="" if genre == _UNKNOWN else genre
        )

    def _of_roll(self, roll: np.ndarray[Any, Any]) -> Score:
        words: list[str] = []
        sounding = np.flatnonzero(roll.any(1))
        for step in roll[: int(sounding[-1]) + 1] if len(sounding) else []:
            words += [*(str(LOWEST + p) for p in np.flatnonzero(step)[::-1]), "next"]
        return replace(cut.of_frames(words, self.steps, tuple(self.players)), tempos=((0, self.tempo),))

    def encode_prompt(self, score: Score, controls: dict[str, str] | None = None) -> Tensor:
        """The beginning of a piece to be continued, int64 ``(tokens,)``, without ``end``."""
        return torch.tensor(self.piece(score, "the beginning", controls)[:-1])

    def start_edit(self, source: str | Path | Item, mask: Path | None = None) -> tuple[Batch, Tensor]:
        """A beginning and which tokens to keep: ``(1, length)``, what follows is to be made.

        Raises:
            RecipeError: a mask was given, a roll, or a beginning as long as a row.
        """
        if mask is not None or self.kind == "roll":
            raise RecipeError(
                "a piece is continued from its beginning, in tokens; bottega compose infill makes a bar anew"
            )
        score = source.value if isinstance(source, Item) else self.read(source)[0].value
        begun = self.encode_prompt(score)
        if len(begun) >= self.length:
            raise RecipeError(f"the beginning has {len(begun)} tokens, and a row {self.length}; give a shorter one")
        x = torch.full((1, self.length), self.end)
        x[0, : len(begun)] = begun
        return Batch(x), torch.arange(self.length)[None] < len(begun)

    # ---- pieces -> files -------------------------------------------------------------------------------------------

    def write(self, item: Item, path: Path, mark: dict[str, str] | None = None) -> Path:
        """One score as MIDI, MusicXML (``.musicxml``) or WAV, by the ending; MIDI where there is none.

        The mark is a text of the MIDI file's first track, a field of MusicXML's identification, the comment of the WAV.

        Raises:
            OutputError: the place cannot be written.
            BottegaError: a library is missing.
        """
        score: Score = item.value
        if path.suffix.lower() not in {".mid", ".midi", ".musicxml", ".xml", ".wav"}:
            path = path.with_name(path.name + ".mid")
        said = "" if mark is None else f"bottega {json.dumps(mark)}"  # MIDI texts are Latin-1: JSON escapes the rest
        if path.suffix.lower() == ".wav":
            data = synth.wav_bytes(synth.played(score, lambda: files.to_midi(score)), mark=mark)
        elif path.suffix.lower() in {".musicxml", ".xml"}:
            data = files.to_musicxml(score, said.removeprefix("bottega "))
        else:
            data = files.to_midi(score, said)
        write_atomically(path, data)
        return path

    def show(self, items: Sequence[Item], path: Path) -> Path:
        """Piano rolls of the first few pieces, as PNG."""
        return pages.rolls(items, path)

    def state(self) -> dict[str, Any]:
        """Instruments, genres, what stands before the training pieces, usual tempo and density."""
        return {
            "players": [list(p) for p in self.players],
            "genres": self.genres,
            "heads": self.heads,
            "bounds": self.bounds,
            "tempo": self.tempo,
        }

    def load_state(self, state: dict[str, Any]) -> Self:
        """The inverse of ``state``."""
        self.players = [Part(*p) for p in state["players"]]
        self.genres, self.bounds, self.tempo = list(state["genres"]), list(state["bounds"]), int(state["tempo"])
        self.heads = dict(state.get("heads", {}))
        return self._ready()


_GM = ("Piano", "Bells", "Organ", "Guitar", "Bass", "Strings", "Ensemble", "Brass", "Reed", "Flute", "Lead", "Pad", "Effects",
       "Plucked", "Percussion", "Sounds")  # fmt: skip


def gm_name(program: int, drums: bool = False) -> str:
    """A short name of a General MIDI program's family, with the program: ``"Piano 0"``; ``"Drums"``.

    >>> gm_name(52), gm_name(0, True)
    ('Ensemble 52', 'Drums')
    """
    return "Drums" if drums else f"{_GM[program // 8]} {program}"


def _suffix(name: str) -> str:
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def _bin(us: int) -> int:
    return min(BPM, key=lambda b: abs(b - 60e6 / us))
