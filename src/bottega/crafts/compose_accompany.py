"""Accompany a player: to every note that comes in, three lower voices at once, by the rules of voice leading."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bottega.core import BottegaError, DataError
from bottega.core.score import Key, Note, Part, Score, estimate_key
from bottega.core.voicing import allowed

__all__ = ["Accompanist", "Played", "live", "ports", "replay"]

PARTS = (Part("Melody", 73), Part("Alto", 48), Part("Tenor", 48), Part("Bass", 43))
_TRIADS = {"major": ((0, 4, 7), (2, 5, 9), (4, 7, 11), (5, 9, 0), (7, 11, 2), (9, 0, 4)),
           "minor": ((0, 3, 7), (3, 7, 10), (5, 8, 0), (7, 11, 2), (8, 0, 3), (10, 2, 5))}  # fmt: skip
_LIKED = {0: 0.0, 7: 0.5, 5: 0.7, 9: 1.2, 8: 1.2, 2: 1.2, 3: 1.5, 4: 2.0, 10: 1.8}  # cost of a root above the tonic
_LISTENED = 24  # notes by which the key is heard


class Accompanist:
    """Answers notes with chords.

    To each note it looks at the triads of the key that hold it (of any key where none does) and at all their settings below
    it that the rules leave (``core.voicing.allowed``), and takes the one with the least motion and the most usual chord. All
    settings are looked at, so the answer is the best there is; where no setting keeps the rules the voices rest.

    Args:
        key: of the piece; None hears it from the notes so far.
    """

    def __init__(self, key: Key | None = None) -> None:
        self.key, self.before, self.heard = key, (), []  # type: ignore[var-annotated]
        self.root = 0

    def hear(self, pitch: int) -> tuple[int, int, int] | None:
        """Alto, tenor and bass below a note that begins now; None where they rest.

        Raises:
            DataError: no MIDI pitch.
        """
        if not 0 <= pitch <= 127:
            raise DataError(f"{pitch} is no MIDI pitch; give 0 to 127")
        self.heard = [*self.heard, pitch][-_LISTENED:]
        key = self.key or estimate_key([Note(k, 1 + (k == len(self.heard) - 1), p) for k, p in enumerate(self.heard)])
        options = [tuple((key.tonic + t) % 12 for t in triad) for triad in _TRIADS[key.mode]]
        fitting = [c for c in options if pitch % 12 in c]
        if not fitting:
            fitting = [((pitch - d) % 12, (pitch - d + third) % 12, (pitch - d + 7) % 12)
                       for third in (4, 3) for d in (0, third, 7)]  # fmt: skip
        best: tuple[float, tuple[int, int, int], int] | None = None
        for chord in fitting:
            best = self._settings(pitch, chord, key, best)
        if best is None:
            self.before = ()
            return None
        self.before, self.root = (pitch, *best[1]), best[2]
        return best[1]

    def _settings(self, pitch: int, chord: tuple[int, ...], key: Key, best: Any) -> Any:
        base = _LIKED.get((chord[0] - key.tonic) % 12, 2.5)
        base += 0.4 * (chord[0] == self.root)
        tones = np.isin(np.arange(128) % 12, chord)
        # the cost only grows from voice to voice, so that a beginning as dear as the best whole need not be looked at
        aims = self.before[1:] or (65, 58, 48)
        for alto, one in self._near((pitch,), tones, aims[0], 0.15, base):
            if best is not None and one >= best[0]:
                break
            for tenor, two in self._near((pitch, alto), tones, aims[1], 0.15, one):
                if best is not None and two >= best[0]:
                    break
                have = {pitch % 12, alto % 12, tenor % 12}
                if len(have) < 2:
                    continue
                for bass, three in self._near((pitch, alto, tenor), tones, aims[2], 0.06, two):
                    if best is not None and three >= best[0]:
                        break
                    if len(have | {bass % 12}) < 3 or bass % 12 == chord[2]:
                        continue  # all three tones, and no six-four chord
                    cost = three + 0.6 * (bass % 12 != chord[0])
                    if best is None or cost < best[0]:
                        best = (cost, (alto, tenor, bass), chord[0])
        return best

    def _near(
        self, above: tuple[int, ...], tones: NDArray[np.bool_], aim: int, weight: float, cost: float
    ) -> list[tuple[int, float]]:
        """The pitches that the rules leave the next voice, the nearest to ``aim`` first, each with the cost so far."""
        left = np.flatnonzero(allowed(self.before, above) & tones).tolist()
        return sorted(((p, cost + weight * abs(p - aim)) for p in left), key=lambda pair: pair[1])


@dataclass(frozen=True)
class Played:
    """What was played to a melody.

    Attributes:
        score: melody and voices.
        milliseconds: from the note that came in to the answer, for each.
        rests: notes to which no chord keeps the rules.
    """

    score: Score
    milliseconds: list[float] = field(default_factory=list)
    rests: int = 0


def replay(melody: Score, key: Key | None = None) -> Played:
    """A file played as if live: its notes come in one after another, and each is answered before the next is known.

    Raises:
        DataError: not one single line.
    """
    lines = melody.voices()
    if lines is None or len(lines) != 1:
        many = "two notes at once" if lines is None else f"{len(lines)} voices"
        raise DataError(f"the melody has {many}, and one single line is wanted; leave out the others")
    line, player = lines[0], Accompanist(key)
    notes, spent, rests = [], [], 0
    for k, note in enumerate(line):
        began = time.perf_counter()
        answer = player.hear(note.pitch)
        spent.append(1e3 * (time.perf_counter() - began))
        notes.append(note._replace(part=0))
        end = line[k + 1].onset if k + 1 < len(line) else note.onset + note.duration
        if answer is None:
            rests += 1
            continue
        notes += [Note(note.onset, end - note.onset, p, max(1, note.velocity - 16), v) for v, p in enumerate(answer, 1)]
    return Played(melody.with_notes(notes, parts=PARTS), spent, rests)


def ports(hear: str | None = None, play: str | None = None) -> tuple[Any, Any]:
    """Ports of this machine to hear and to play, open, by mido's backend (python-rtmidi, where ``MIDO_BACKEND`` names no other).

    A name is that of a port or a part of it that no other port has. By default the first port is heard, and the one of the same name
    played to, else the first; ports that only pass on what they are given (ALSA's "Midi Through") are not chosen by themselves,
    since what is played would be heard again.

    Args:
        hear: name of the port to hear.
        play: name of the port to play to.

    Raises:
        BottegaError: mido or its backend is missing, or there is no such port; the message names those that there are.
    """
    try:
        import mido

        with _silent():
            ins, outs = list(mido.get_input_names()), list(mido.get_output_names())
    except ImportError as error:
        raise BottegaError(
            f"no live port can be opened ({error}); pip install mido python-rtmidi, or give a MIDI file to replay"
        ) from error
    except Exception as error:  # a backend fails in ways of its own
        raise BottegaError(f"no live port can be opened ({error}); give a MIDI file to replay") from error
    heard = _port(ins, hear, "to hear", "--port")
    back = heard if heard in outs and not _passes_on(heard) else None  # a keyboard that also sounds
    played = _port(outs, play or back, "to play to", "--to")
    opened = None
    try:
        opened = mido.open_input(heard)
        return opened, mido.open_output(played)
    except Exception as error:
        if opened is not None:
            opened.close()
        name = heard if opened is None else played
        raise BottegaError(f"the MIDI port {name} cannot be opened ({error}); close what else uses it") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is written on standard error: ALSA's C library does so by itself where there is no sequencer."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _passes_on(port: str) -> bool:
    """Whether a port sends what is played to it to whoever listens: playing to what is heard would be heard again."""
    return "through" in port.lower()


def _port(found: Sequence[str], name: str | None, what: str, option: str) -> str:
    there = f"there {'is' if len(found) == 1 else 'are'} {', '.join(found) or 'none'}"
    if name is None:
        own = [p for p in found if not _passes_on(p)]
        if not own:
            raise BottegaError(
                f"no MIDI port {what}; {there}: plug one in, name one with {option}, or give a MIDI file to replay"
            )
        return own[0]
    fitting = [name] if name in found else [p for p in found if name.lower() in p.lower()]
    if len(fitting) != 1:
        many = "no MIDI port" if not fitting else f"{len(fitting)} MIDI ports"
        raise BottegaError(
            f"{many} {what} called {name!r}; {there}: give {option} one of these, or a MIDI file to replay"
        )
    return fitting[0]


def live(
    incoming: Iterable[Any], send: Callable[[Any], None], key: Key | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Played:  # fmt: skip
    """Answer messages of mido as they come, until they end or Ctrl-C: a note goes on until the next is answered.

    Args:
        incoming: messages; only notes count.
        send: takes messages.
        key: None hears it.
        clock: seconds.

    Returns:
        What was played, in the time in which it was (two quarters a second).
    """
    import mido

    player, sounding, spent, rests = Accompanist(key), [], [], 0  # type: ignore[var-annotated]
    heard: list[tuple[float, int, int, tuple[int, ...]]] = []
    try:
        for message in incoming:
            if message.type != "note_on" or not message.velocity:
                continue
            began = clock()
            answer = player.hear(message.note)
            for pitch in sounding:
                send(mido.Message("note_off", note=pitch))
            sounding = list(answer or ())
            for pitch in sounding:
                send(mido.Message("note_on", note=pitch, velocity=max(1, message.velocity - 16)))
            spent.append(1e3 * (clock() - began))
            rests += answer is None
            heard.append((began, message.note, message.velocity, tuple(sounding)))
    except KeyboardInterrupt:  # how a player ends
        pass
    finally:
        for pitch in sounding:
            send(mido.Message("note_off", note=pitch))
    return Played(_written(heard, clock()), spent, rests)


def _written(heard: Sequence[tuple[float, int, int, tuple[int, ...]]], end: float) -> Score:
    """Seconds, notes, velocities and answers as a score of 480 ticks a quarter, two quarters a second."""
    if not heard:
        return Score.of([])
    at: list[int] = []
    for row in heard:  # of keys that are struck together each has a tick of its own: a part is a single line
        at.append(max(at[-1] + 1 if at else 0, round(960 * (row[0] - heard[0][0]))))
    ends = [*at[1:], max(at[-1] + 1, round(960 * min(end - heard[0][0], heard[-1][0] - heard[0][0] + 2)))]
    notes = [
        Note(a, max(1, b - a), pitch, max(1, velocity - 16 * (v > 0)), v)
        for a, b, (_, note, velocity, answer) in zip(at, ends, heard, strict=True)
        for v, pitch in enumerate((note, *answer))
    ]
    return Score.of(notes, ticks=480, parts=PARTS)
