"""Scores in files: MIDI (by mido), MusicXML, ABC and MusicXML writing (by music21), and the steps of JSB-type JSON."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from bisect import bisect_right
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from math import lcm
from typing import Any
from xml.etree import ElementTree

from bottega.core import BottegaError, DataError
from bottega.core.score import Key, Note, Part, Score

__all__ = ["metre_of", "read_abc", "read_midi", "read_musicxml", "read_steps", "to_midi", "to_musicxml"]

MOST_IN_A_BAR = 2000  # notes; what a fault or an attack writes, and no music
MOST_TICKS = 1 << 31
MOST_BARS = 100_000
_MOST_A_QUARTER, _SLOWEST = 32767, (1 << 24) - 1  # ticks, and microseconds of a quarter, that a MIDI file can say
_DRUMS = 9  # the channel of General MIDI's drums
_FIFTHS = {"major": ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#"),
           "minor": ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")}  # fmt: skip


def need(library: str) -> Any:
    """The library by its name; raises BottegaError with the way to install it."""
    try:
        return __import__(library)
    except ImportError as error:
        raise BottegaError(f"this needs {library}; install it with: pip install 'bottega[music]'") from error


def checked(score: Score, where: str) -> Score:
    """The score, when it holds notes and no bar holds more than music does; raises DataError."""
    if not score.notes:
        raise DataError(f"{where} holds no notes; give a file with at least one")
    if score.length > MOST_TICKS:
        raise DataError(
            f"{where} is {score.length} ticks long; the most is {MOST_TICKS}: a delta time in it is damaged"
        )
    count = sum(
        (end - start) / max(1, 4 * beats * score.ticks // unit)
        for (start, beats, unit), end in zip(
            score.metres, [*(m[0] for m in score.metres[1:]), score.length], strict=True
        )
        if end > start
    )
    if count > MOST_BARS:
        raise DataError(
            f"{where} has {count:,.0f} bars; the most is {MOST_BARS:,}: a metre or a delta time in it is damaged"
        )
    at = 0
    for number, (start, ticks) in enumerate(score.bars(), 1):
        first = at
        while at < len(score.notes) and score.notes[at].onset < start + ticks:
            at += 1
        if at - first > MOST_IN_A_BAR:
            raise DataError(
                f"{where}, bar {number} has {at - first} notes; the most is {MOST_IN_A_BAR}: split the file"
            )
    return score


# ---- MIDI ----------------------------------------------------------------------------------------------------------


def read_midi(data: bytes, where: str) -> Score:
    """A score from the bytes of a standard MIDI file (types 0 and 1); a part for each track, channel and program that plays.

    A track whose channel is given no program in it takes what other tracks give that channel.

    Raises:
        DataError: truncated, damaged, empty, or more notes in a bar than music has.
    """
    mido = need("mido")
    if data[:4] == b"RIFF" and b"MThd" in data[:64]:
        data = data[data.index(b"MThd") :]
    if not data:
        raise DataError(f"{where} is empty; give a MIDI file")
    if data[:4] != b"MThd":
        raise DataError(f"{where} is no MIDI file (it does not begin with MThd); give one that a sequencer wrote")
    try:
        file = mido.MidiFile(file=io.BytesIO(data), clip=True)
        tracks = [_absolute(track) for track in file.tracks]
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, mido.KeySignatureError) as error:
        why = str(error).strip() or "it ends in the middle of a track"
        raise DataError(f"{where} is a damaged or truncated MIDI file ({why}); write it anew") from error
    if file.ticks_per_beat <= 0 or file.ticks_per_beat >= 0x8000:
        raise DataError(f"{where} counts time in frames of a film (SMPTE), not in beats; save it with beats")
    tempos: dict[int, int] = {0: 500_000}
    metres: dict[int, tuple[int, int]] = {0: (4, 4)}
    keys: dict[int, Key] = {}
    parts: list[Part] = []
    notes: list[Note] = []
    end = 0
    changes = [[(t, m.channel, m.program) for t, m in track if m.type == "program_change"] for track in tracks]
    elsewhere: dict[int, list[tuple[int, int]]] = defaultdict(list)  # of each channel when it gets which program
    for tick, channel, program in sorted(change for some in changes for change in some):
        elsewhere[channel].append((tick, program))
    for track, own in zip(tracks, changes, strict=True):
        index: dict[tuple[int, int], int] = {}  # of channel and program the part
        programs: dict[int, int] = {}
        named = {channel for _, channel, _ in own}
        name = ""
        open_: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)  # onset, velocity and part
        for tick, message in track:
            end = max(end, tick)
            kind = message.type
            if kind == "set_tempo":
                tempos[tick] = max(1, message.tempo)
            elif kind == "time_signature":
                metres[tick] = (max(1, message.numerator), message.denominator)
            elif kind == "key_signature":
                keys[tick] = _midi_key(message.key)
            elif kind == "track_name":
                name = name or message.name.strip()
            elif kind == "program_change":
                programs[message.channel] = message.program
            elif kind == "note_on" and message.velocity > 0:
                channel = message.channel
                program = programs.get(channel, 0)
                if channel not in named and (known := bisect_right(elsewhere[channel], (tick, 127))):
                    program = elsewhere[channel][known - 1][1]
                key = (channel, 0 if channel == _DRUMS else program)
                part = index.setdefault(key, len(parts) + len(index))
                open_[channel, message.note].append((tick, message.velocity, part))
            elif kind in {"note_on", "note_off"} and open_[message.channel, message.note]:
                begun, velocity, part = open_[message.channel, message.note].pop(0)
                notes.append(Note(begun, max(1, tick - begun), message.note, velocity, part))
        for (_, pitch), left in open_.items():  # never released: they sound to the end of the track
            last = track[-1][0] if track else 0
            notes += [Note(begun, max(1, last - begun), pitch, velocity, part) for begun, velocity, part in left]
        parts += [Part(name, program, channel == _DRUMS) for channel, program in index]
    score = Score.of(
        notes, ticks=file.ticks_per_beat, parts=tuple(parts) or (Part(),), tempos=tuple(sorted(tempos.items())),
        metres=tuple((t, *m) for t, m in sorted(metres.items())), keys=tuple(sorted(keys.items())), length=end,
    )  # fmt: skip
    return checked(score, where)


def _absolute(track: Any) -> list[tuple[int, Any]]:
    out, tick = [], 0
    for message in track:
        tick += message.time
        out.append((tick, message))
    return out


def _midi_key(name: str) -> Key:
    mode = "minor" if name.endswith("m") else "major"
    return Key.of_fifths(_FIFTHS[mode].index(name) - 7, mode)  # type: ignore[arg-type]


def to_midi(score: Score, mark: str = "") -> bytes:
    """A type 1 file: a track of tempo, metre and key, then one for each part; ``mark`` as its first text.

    Where the format has no room, the nearest that it has: finer ticks than 32767 a quarter, slower than 3.6 quarters a minute,
    letters that Latin-1 lacks.

    Raises:
        DataError: more than 15 pitched parts with different programs (a file has 16 channels).
    """
    mido = need("mido")
    if score.ticks > _MOST_A_QUARTER:
        score = score.rescaled(960)
    file = mido.MidiFile(type=1, ticks_per_beat=score.ticks)
    meta: list[tuple[int, int, Any]] = [(0, 0, mido.MetaMessage("text", text=mark))] if mark else []
    meta += [(t, 1, mido.MetaMessage("set_tempo", tempo=min(us, _SLOWEST))) for t, us in score.tempos]
    meta += [
        (t, 1, mido.MetaMessage("time_signature", numerator=n, denominator=d))
        for t, n, d in score.metres
        if d & (d - 1) == 0 and n < 256
    ]
    meta += [(t, 1, mido.MetaMessage("key_signature", key=_FIFTHS[k.mode][k.fifths + 7])) for t, k in score.keys]
    file.tracks.append(_track(mido, meta, score.length))
    channels = [c for c in range(16) if c != _DRUMS]
    # a channel for each part, or where there are too few one for each program
    pitched = {k: k for k, part in enumerate(score.parts) if not part.drums}
    if len(pitched) > len(channels):
        pitched = {k: score.parts[k].program for k in pitched}
    seats = {seat: k for k, seat in enumerate(dict.fromkeys(pitched.values()))}
    if len(seats) > len(channels):
        raise DataError(
            f"a MIDI file has 15 channels for pitched parts, and this piece has {len(seats)} instruments; leave some out"
        )
    for number, part in enumerate(score.parts):
        channel = _DRUMS if part.drums else channels[seats[pitched[number]]]
        events: list[tuple[int, int, Any]] = [
            (0, -2, mido.MetaMessage("track_name", name=_latin(part.name))),
            (0, -1, mido.Message("program_change", channel=channel, program=part.program)),
        ]
        for n in score.notes:
            if n.part == number:
                events.append((n.onset, 1, mido.Message("note_on", channel=channel, note=n.pitch, velocity=n.velocity)))
                events.append((n.onset + n.duration, 0, mido.Message("note_off", channel=channel, note=n.pitch, velocity=0)))  # fmt: skip
        file.tracks.append(_track(mido, events, score.length))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _latin(name: str) -> str:
    """What MIDI's texts can hold: musical signs in words, accents where Latin-1 has them, ``?`` for the rest."""
    for sign, word in (("\u266d", "b"), ("\u266f", "#"), ("\u266e", "")):
        name = name.replace(sign, word)
    return name.encode("latin-1", "replace").decode("latin-1")


def _track(mido: Any, events: list[tuple[int, int, Any]], length: int) -> Any:
    track = mido.MidiTrack()
    last = 0
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        message.time = tick - last
        last = tick
        track.append(message)
    track.append(mido.MetaMessage("end_of_track", time=max(0, length - last)))
    return track


# ---- MusicXML ------------------------------------------------------------------------------------------------------

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read_musicxml(data: bytes, where: str) -> Score:
    """A score from MusicXML, plain or compressed (``.mxl``); ties are joined, grace and cue notes left out.

    Repeats are read once, as written. An upbeat is a short first metre.

    Raises:
        DataError: no MusicXML, damaged, or without notes.
    """
    try:
        if data[:2] == b"PK":
            data = _unpacked(data)
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, StopIteration, EOFError, KeyError, ValueError, RuntimeError) as error:  # fmt: skip
        raise DataError(f"{where} is damaged MusicXML ({error}); export it anew") from error
    if root.tag != "score-partwise":
        raise DataError(f"{where} is {root.tag}, not score-partwise MusicXML; export it as MusicXML")
    try:
        return checked(_xml_score(root), where)
    except (ValueError, TypeError, KeyError, ArithmeticError, AttributeError) as error:
        raise DataError(f"{where} is MusicXML with a part that cannot be read ({error}); export it anew") from error


def _unpacked(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        if "META-INF/container.xml" in names:
            container = ElementTree.fromstring(archive.read("META-INF/container.xml"))
            full = next((e.get("full-path") for e in container.iter() if e.tag.endswith("rootfile")), None)
            if full in names:
                return archive.read(full)
        return archive.read(next(n for n in names if n.endswith((".xml", ".musicxml")) and "META-INF" not in n))


def _text(node: Any, path: str, default: str = "") -> str:
    found = node.find(path)
    return default if found is None or found.text is None else found.text.strip()


def _xml_score(root: Any) -> Score:
    listed = {}
    for entry in root.findall("part-list/score-part"):
        program = int(_text(entry, "midi-instrument/midi-program", "1")) - 1
        drums = _text(entry, "midi-instrument/midi-channel") == "10"
        listed[entry.get("id")] = Part(_text(entry, "part-name"), min(127, max(0, program)), drums)
    parts: list[Part] = []
    events: list[tuple[Fraction, Fraction, int, int]] = []  # onset, duration, pitch, part, in quarters
    tempos: dict[Fraction, int] = {}
    metres: dict[Fraction, tuple[int, int]] = {}
    keys: dict[Fraction, Key] = {}
    end = Fraction(0)
    for node in root.findall("part"):
        number = len(parts)
        parts.append(listed.get(node.get("id"), Part()))
        divisions, shift, now = 1, 0, Fraction(0)
        metre = (4, 4)
        tied: dict[int, int] = {}
        for count, measure in enumerate(node.findall("measure")):
            at = furthest = Fraction(0)
            last = Fraction(0)
            for item in measure:
                if item.tag == "attributes":
                    divisions = int(_text(item, "divisions", str(divisions)))
                    shift = int(_text(item, "transpose/chromatic", str(shift)) or 0)
                    if (key := item.find("key")) is not None and key.find("fifths") is not None:
                        mode = "minor" if _text(key, "mode") == "minor" else "major"
                        if number == 0:
                            keys[now + at] = Key.of_fifths(int(_text(key, "fifths")), mode)  # type: ignore[arg-type]
                    if (time := item.find("time")) is not None and time.find("beats") is not None:
                        beats = sum(int(b) for b in re.findall(r"\d+", _text(time, "beats")))
                        metre = (beats, int(_text(time, "beat-type")))
                        if number == 0:
                            metres[now + at] = metre
                elif item.tag == "backup":
                    at -= Fraction(int(_text(item, "duration")), divisions)
                elif item.tag == "forward":
                    at += Fraction(int(_text(item, "duration")), divisions)
                elif item.tag in {"direction", "sound"}:
                    sound = item if item.tag == "sound" else item.find("sound")
                    pace = float(sound.get("tempo") or 0) if sound is not None else 0.0
                    if 1 <= pace <= 1000:  # quarters a minute; no music is slower or faster
                        tempos.setdefault(now + at, round(60e6 / pace))
                elif item.tag == "note":
                    if item.find("grace") is not None or item.find("cue") is not None:
                        continue
                    long = Fraction(int(_text(item, "duration", "0")), divisions)
                    onset = last if item.find("chord") is not None else at
                    if item.find("chord") is None:
                        last, at = at, at + long
                    if (pitch := item.find("pitch")) is not None and long > 0:
                        sounding = (
                            12 * (int(_text(pitch, "octave")) + 1) + _STEPS[_text(pitch, "step")]
                            + round(float(_text(pitch, "alter", "0"))) + shift
                        )  # fmt: skip
                        ties = {t.get("type") for t in item.findall("tie")}
                        if (
                            "stop" in ties
                            and sounding in tied
                            and events[tied[sounding]][0] + events[tied[sounding]][1] == now + onset
                        ):
                            k = tied[sounding]
                            events[k] = (events[k][0], events[k][1] + long, sounding, number)
                        else:
                            events.append((now + onset, long, sounding, number))
                            tied[sounding] = len(events) - 1
                        if "start" not in ties:
                            tied.pop(sounding, None)
                furthest = max(furthest, at)
            whole = Fraction(4 * metre[0], metre[1])
            if number == 0 and count == 0 and 0 < furthest < whole:  # an upbeat
                short = metre_of(furthest)
                if short is not None:
                    metres[Fraction(0)], metres[furthest] = short, metre
            now += furthest if furthest else whole
        end = max(end, now)
    places = [f for e in events for f in e[:2]] + [end, *tempos, *metres, *keys]
    ticks = lcm(4, *(f.denominator for f in places))
    if ticks > 10_080:
        ticks = 10_080
    at_tick = lambda f: round(f * ticks)  # noqa: E731
    notes = [Note(at_tick(o), max(1, at_tick(d)), min(127, max(0, p)), 80, part) for o, d, p, part in events]
    tempos.setdefault(Fraction(0), 500_000)
    metres.setdefault(Fraction(0), (4, 4))
    return Score.of(
        notes, ticks=ticks, parts=tuple(parts) or (Part(),),
        tempos=tuple((at_tick(f), t) for f, t in sorted(tempos.items())),
        metres=tuple((at_tick(f), *m) for f, m in sorted(metres.items())),
        keys=tuple((at_tick(f), k) for f, k in sorted(keys.items())), length=at_tick(end),
    )  # fmt: skip


def metre_of(quarters: Fraction) -> tuple[int, int] | None:
    """A metre as long as so many quarters; None where no unit up to a 32nd fits."""
    for unit in (4, 8, 16, 32):
        if (quarters * unit / 4).denominator == 1:
            return int(quarters * unit / 4), unit
    return None


def to_musicxml(score: Score, mark: str = "") -> bytes:
    """MusicXML with bars, ties, beams and accidentals (by music21); ``mark`` as a field of its identification.

    Raises:
        BottegaError: music21 is not installed.
    """
    need("music21")
    from music21 import instrument, meter, stream, tempo
    from music21 import key as keys
    from music21 import note as notes
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    whole = stream.Score()
    for number, part in enumerate(score.parts):
        staff = stream.Part()
        staff.partName = part.name or f"Part {number + 1}"
        player = instrument.UnpitchedPercussion() if part.drums else instrument.instrumentFromMidiProgram(part.program)
        player.partName = staff.partName
        staff.insert(0, player)
        for tick, beats, unit in score.metres:
            staff.insert(Fraction(tick, score.ticks), meter.TimeSignature(f"{beats}/{unit}"))
        for tick, key in score.keys:
            tonic = keys.sharpsToPitch(key.fifths) if key.mode == "major" else keys.sharpsToPitch(key.fifths).transpose("-m3")  # fmt: skip
            staff.insert(Fraction(tick, score.ticks), keys.Key(tonic, key.mode))
        if number == 0:
            for tick, us in score.tempos:
                staff.insert(Fraction(tick, score.ticks), tempo.MetronomeMark(number=round(60e6 / us, 3)))
        signature = score.keys[0][1].fifths if score.keys else 0
        for n in score.notes:
            if n.part == number:
                made = notes.Note()
                made.pitch.midi = n.pitch
                made.pitch = _spelt(n.pitch, signature)
                made.quarterLength = Fraction(n.duration, score.ticks)
                made.volume.velocity = n.velocity
                staff.insert(Fraction(n.onset, score.ticks), made)
        whole.insert(0, staff)
    data: bytes = GeneralObjectExporter(whole).parse()
    return _marked_xml(data, mark) if mark else data


def _spelt(pitch: int, fifths: int) -> Any:
    """A pitch with the name it has in a signature: sharps in keys of sharps, flats in keys of flats."""
    from music21 import pitch as pitches

    sharp = (
        "C",
        "C#",
        "D",
        "D#" if fifths > 1 else "E-",
        "E",
        "F",
        "F#",
        "G",
        "G#",
        "A",
        "A#" if fifths > 2 else "B-",
        "B",
    )
    flat = ("C", "D-", "D", "E-", "E", "F", "F#" if fifths > -3 else "G-", "G", "A-", "A", "B-", "B")
    name = (sharp if fifths >= 0 else flat)[pitch % 12]
    return pitches.Pitch(f"{name}{pitch // 12 - 1}")


def _marked_xml(data: bytes, mark: str) -> bytes:
    root = ElementTree.fromstring(data)
    identification = root.find("identification")
    if identification is None:
        identification = ElementTree.Element("identification")
        root.insert(0, identification)
    field = identification.find("miscellaneous")
    if field is None:
        field = ElementTree.SubElement(identification, "miscellaneous")
    ElementTree.SubElement(field, "miscellaneous-field", name="bottega").text = mark
    head = b'<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + ElementTree.tostring(root, encoding="utf-8") + b"\n"


# ---- ABC and steps -------------------------------------------------------------------------------------------------


def read_abc(text: str, where: str) -> list[tuple[str, Score]]:
    """``(name, score)`` of each tune of an ABC file; chord symbols sound as chords in a part of their own, ``R:`` is the genre.

    Raises:
        DataError: a tune cannot be read, or there is none.
    """
    need("music21")
    from music21 import converter

    tunes = [t for t in re.split(r"(?m)^(?=X:)", text) if t.startswith("X:")]
    if not tunes:
        raise DataError(f"{where} holds no ABC tune; one begins with a line X: and a number")
    out = []
    for tune in tunes:
        number = tune.split("\n", 1)[0][2:].strip()
        try:
            found = converter.parse(tune, format="abc")
            score = _of_music21(found)
        except Exception as error:  # music21 raises many kinds of its own
            raise DataError(f"{where}, tune {number} cannot be read ({str(error).splitlines()[0] if str(error) else type(error).__name__}); mend or remove it") from error  # fmt: skip
        rhythm = re.search(r"(?m)^R:[ \t]*(.*?)[ \t]*(?:%|$)", tune)
        if rhythm and rhythm[1]:
            score = replace(score, genre=rhythm[1].lower())
        out.append((number, checked(score, f"{where}, tune {number}")))
    return out


def _of_music21(found: Any) -> Score:
    """A score of music21, repeats written once, chord symbols as a second part."""
    from music21 import chord, harmony, key, meter, stream, tempo

    parts = list(found.parts) or [found]
    tied = [p.stripTies() for p in parts]
    events: list[tuple[Fraction, Fraction, int, int]] = []
    metres: dict[Fraction, tuple[int, int]] = {}
    keys: dict[Fraction, Key] = {}
    tempos: dict[Fraction, int] = {}
    end = Fraction(0)
    symbols: list[tuple[Fraction, list[int]]] = []
    for number, part in enumerate(tied):
        flat = part.flatten()
        end = max(end, Fraction(flat.highestTime).limit_denominator(960))
        for item in flat:
            at = Fraction(item.offset).limit_denominator(960)
            if isinstance(item, harmony.ChordSymbol):
                symbols.append((at, [p.midi for p in item.pitches]))
            elif isinstance(item, chord.Chord) or hasattr(item, "pitch"):
                long = Fraction(item.quarterLength).limit_denominator(960)
                if long > 0:
                    events += [(at, long, p.midi, number) for p in item.pitches]
            elif number == 0 and isinstance(item, meter.TimeSignature):
                metres[at] = (item.numerator, item.denominator)
            elif number == 0 and isinstance(item, key.KeySignature):
                mode = "minor" if getattr(item, "mode", "major") == "minor" else "major"
                keys[at] = Key.of_fifths(item.sharps, mode)  # type: ignore[arg-type]
            elif number == 0 and isinstance(item, tempo.MetronomeMark) and item.getQuarterBPM():
                tempos[at] = round(60e6 / item.getQuarterBPM())
    if number_of := len(symbols):
        for k, (at, pitches) in enumerate(symbols):
            until = symbols[k + 1][0] if k + 1 < number_of else end
            if until > at:
                events += [(at, until - at, p, len(parts)) for p in sorted(set(pitches))]
    measures = list(parts[0].getElementsByClass(stream.Measure))
    if measures and metres:
        first = Fraction(measures[0].highestTime).limit_denominator(960)
        metre = metres[min(metres)]
        if 0 < first < Fraction(4 * metre[0], metre[1]) and (short := metre_of(first)) is not None:
            metres = {Fraction(0): short, first: metre, **{k: v for k, v in metres.items() if k > first}}
    ticks = lcm(
        4, *(f.denominator for e in events for f in e[:2]), *(f.denominator for f in [end, *metres, *keys, *tempos])
    )
    tempos.setdefault(Fraction(0), 500_000)
    metres.setdefault(Fraction(0), (4, 4))
    names = [Part(str(p.partName or "")) for p in parts] + ([Part("Chords")] if symbols else [])
    at_tick = lambda f: round(f * ticks)  # noqa: E731
    return Score.of(
        [Note(at_tick(o), at_tick(d), p, 80, part) for o, d, p, part in events], ticks=ticks, parts=tuple(names),
        tempos=tuple((at_tick(f), t) for f, t in sorted(tempos.items())),
        metres=tuple((at_tick(f), *m) for f, m in sorted(metres.items())),
        keys=tuple((at_tick(f), k) for f, k in sorted(keys.items())), length=at_tick(end),
    )  # fmt: skip


def read_steps(data: bytes, where: str, step: Fraction) -> list[tuple[str, Score]]:
    """``("train 0", score)`` ... of JSON ``{part: [piece, ...]}``, a piece a list of steps, a step a list of pitches.

    Where every step of all pieces has the same number of pitches, -1 for silence, they are single voices (soprano first).
    Otherwise a step is a chord, in one part. Pitches that go on from step to step are one note: the form cannot say that
    they were struck again.

    Args:
        data: the JSON.
        where: for messages.
        step: how many quarters a step lasts.

    Raises:
        DataError: it has another form.
    """
    try:
        found = json.loads(data)
        pieces = [(f"{name} {k}", piece) for name, some in found.items() for k, piece in enumerate(some)]
        steps = {len(s) for _, piece in pieces for s in piece}
        if not all(isinstance(p, int) and -1 <= p <= 127 for _, piece in pieces for s in piece for p in s):
            raise ValueError("a pitch is no whole number from -1 to 127")
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{where} is not JSON of pieces of steps of pitches; write {{\"train\": [[[60, 64], ...], ...]}}") from error  # fmt: skip
    voices = any(-1 in s for _, piece in pieces for s in piece) or len(steps) == 1
    names = ("Soprano", "Alto", "Tenor", "Bass") if steps == {4} else tuple(f"Voice {k + 1}" for k in range(max(steps, default=0)))  # fmt: skip
    unit = step.numerator
    ticks = step.denominator
    out = []
    for name, piece in pieces:
        notes: list[Note] = []
        sounding: dict[tuple[int, int], int] = {}
        for k, chord in enumerate(piece):
            now = {(p, v if voices else 0) for v, p in enumerate(chord) if p >= 0}
            for key in [key for key in sounding if key not in now]:
                del sounding[key]
            for pitch, part in sorted(now):
                if (pitch, part) in sounding:
                    i = sounding[pitch, part]
                    notes[i] = notes[i]._replace(duration=notes[i].duration + unit)
                else:
                    sounding[pitch, part] = len(notes)
                    notes.append(Note(k * unit, unit, pitch, 80, part))
        if notes:
            parts = tuple(Part(n) for n in names) if voices else (Part(),)
            out.append((name, Score.of(notes, ticks=ticks, parts=parts, length=len(piece) * unit)))
    if not out:
        raise DataError(f"{where} holds no notes; give a file with at least one")
    return out
