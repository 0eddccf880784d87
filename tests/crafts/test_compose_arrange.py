"""Arranging: chords that are known are found, every way keeps the rules, each rule's breach is seen, and files say the same notes."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bottega.cli import main
from bottega.codecs import _music_files as files
from bottega.codecs.music import MusicCodec
from bottega.core import BottegaError, DataError, Item, RecipeError
from bottega.core.score import Key, Note, Part, Score
from bottega.crafts import compose_arrange as craft
from bottega.crafts._chords import Chord, chords
from bottega.crafts._instruments import INSTRUMENTS
from bottega.crafts._patterns import STYLES, pattern
from bottega.data import worlds
from bottega.trust.mark import read as read_mark
from helpers import SHARED

pytest.importorskip("mido", reason="scores are written as MIDI by mido (extra music)")


def tune(metre=(4, 4), genre="", bars=8, seed=0):
    """A walk over a chord in each bar (I IV V I ...), the chords in a part of their own."""
    chance = np.random.default_rng(seed)
    long = 4 * 4 * metre[0] // metre[1]
    notes, at = [], 0
    for bar in range(bars):
        root = (0, 5, 7, 0)[bar % 4]
        tones = [60 + (root + k) % 12 for k in (0, 4, 7)]
        notes += [Note(at, long, p - 12, 64, 1) for p in tones]
        begin = at
        while at < begin + long:
            step = min(int(chance.choice([2, 4])), begin + long - at)
            notes.append(Note(at, step, int(chance.choice(tones)) + 12))
            at += step
    return Score.of(notes, ticks=4, parts=(Part("Tune", 73), Part("Chords")), metres=((0, *metre),), keys=((0, Key(0)),), genre=genre)  # fmt: skip


def test_chords_that_are_known_are_found():
    for item in worlds.load("tunes", n=20, seed=4).items:
        score = item.value
        truth = {}
        for n in score.lines()[1]:
            truth.setdefault(n.onset, set()).add(n.pitch % 12)
        same = sum(
            max(0, min(c.end, at + 16) - max(c.start, at))
            for c in chords(score)
            for at, tones in truth.items()
            if tones <= set(c.tones)
        )
        assert same >= 0.9 * score.length
    found = chords(tune())
    assert [c.name for c in found] == ["C", "F", "G", "C", "F", "G", "C"]  # the fourth bar and the fifth are one
    assert (found[0].start, found[-1].end) == (0, tune().length)
    alone = [c.name for c in chords(tune().with_notes([n for n in tune().notes if n.part == 0]))]
    assert np.mean([name in {"C", "F", "G", "G7", "Am", "Dm"} for name in alone]) > 0.7


ENSEMBLES = [
    *craft.ENSEMBLES,
    "oboe, harp",
    "trumpet, trombone",
    "choir, organ, flute=double, drums",
    "cello, accordion, double bass",
]


@pytest.mark.parametrize("metre", [(4, 4), (3, 4), (6, 8), (2, 2), (9, 8), (5, 8), (3, 8)])
@pytest.mark.parametrize("names", ENSEMBLES)
def test_every_way_keeps_the_rules_and_the_tune(names, metre):
    score, who = tune(metre), craft.players(names)
    ways = craft.arrange(score, who, n=2, seed=3)
    assert ways[0].score.notes != ways[1].score.notes
    for made in ways:
        assert craft.faults(made) == made.faults == []
        lines = made.score.lines()
        assert len(lines) == len(who)
        ratio = made.score.ticks // score.ticks
        for player, line in zip(who, lines, strict=True):
            assert line, player
            assert all(player.instrument.low <= n.pitch <= player.instrument.high for n in line)
            if player.role == "melody":
                given = [(n.onset * ratio, n.duration * ratio, n.pitch + made.moved) for n in craft.melody_of(score)]
                assert [n[:3] for n in line] == given
                assert made.moved % 12 == 0
            if player.role == "bass":  # roots where chords begin, but for what the rules forbid
                begins = {c.start: c.root for c in made.chords}
                hits = [n.pitch % 12 == begins[n.onset] for n in line if n.onset in begins]
                assert np.mean(hits) > 0.6
                assert all(a.onset + a.duration <= b.onset for a, b in pairwise(line))
        assert (made.score.metres, made.score.length) == (((0, *metre),), score.length * ratio)
    assert craft.arrange(score, who, n=2, seed=3) == ways


def test_chords_are_whole_and_a_style_is_heard():
    who = craft.players("flute, guitar, cello")
    for style in STYLES:
        (made,) = craft.arrange(tune((3, 4)), who, style=style)
        assert made.style == style
        bars = [[n for n in made.score.lines()[1] if b <= n.onset < b + t] for b, t in made.score.bars()]
        for (start, _), inside in zip(made.score.bars(), bars, strict=True):
            chord = next(c for c in made.chords if c.start == start)
            bass = {n.pitch % 12 for n in made.score.lines()[2] if n.onset == start}
            assert set(chord.tones) <= {n.pitch % 12 for n in inside} | bass
        onsets = sorted({(n.onset - made.score.bars()[0][0]) / made.score.ticks for n in bars[0]})
        assert onsets == {
            "held": [0], "oompah": [1, 2], "offbeat": [0.5, 1.5, 2.5], "arpeggio": [0, 0.5, 1, 1.5, 2, 2.5], "strum": [0, 1, 2],
        }[style]  # fmt: skip
        assert {n.onset for n in bars[-1]} == {made.score.bars()[-1][0]}  # it comes to rest
    assert craft.arrange(tune((3, 4), "waltz"), who)[0].style == "oompah"
    assert craft.arrange(tune(), who, genre="Hymn")[0].style == "held"
    assert craft.arrange(tune(), craft.players("string quartet"))[0].style == "held"
    drums = craft.arrange(tune(), craft.players("band"))[0]
    assert {(n.pitch, n.onset % 48) for n in drums.score.lines()[-1] if n.pitch in {36, 38} and n.onset < 144} == {
        (36, 0), (38, 12), (36, 24), (38, 36),
    }  # fmt: skip
    assert drums.score.parts[-1].drums


def test_patterns_stay_in_their_bar():
    for style in STYLES:
        for beats, unit in ((4, 4), (3, 4), (2, 4), (1, 4), (6, 8), (9, 8), (3, 8), (7, 8), (5, 4), (3, 2), (12, 16)):
            long = 4 * 12 * beats // unit
            made = pattern(style, beats, unit, 12, long)
            assert made.bass
            assert made.bass[0] == 0
            assert made.strokes
            assert all(0 <= t < long for t in made.bass + [s for s, _ in made.strokes] + [t for t, _ in made.drums])


def test_an_upbeat_is_left_to_the_melody():
    score = tune((3, 4))
    begun = [n._replace(onset=n.onset + 4) for n in score.notes] + [Note(0, 4, 67)]
    score = score.with_notes(begun, metres=((0, 1, 4), (4, 3, 4)), length=score.length + 4)
    (made,) = craft.arrange(score, craft.players("folk trio"))
    first = [n for n in made.score.notes if n.onset < made.score.ticks]
    assert [(n.part, n.pitch) for n in first] == [(0, 67)]
    assert min(n.onset for n in made.score.lines()[2]) == made.score.ticks


def test_a_first_bar_that_is_only_shorter_than_the_second_is_no_upbeat():
    score = tune((4, 4))
    begun = [n._replace(onset=n.onset + 12) for n in score.notes] + [
        Note(4 * k, 4, p) for k, p in enumerate((67, 72, 76))
    ]
    score = score.with_notes(begun, metres=((0, 3, 4), (12, 4, 4)), length=score.length + 12)
    (made,) = craft.arrange(score, craft.players("folk trio"))
    assert min(n.onset for n in made.score.lines()[2]) == 0
    assert craft.chart(made)[0]
    upbeat = tune((3, 4))
    begun = [n._replace(onset=n.onset + 4) for n in upbeat.notes] + [Note(0, 4, 67)]
    upbeat = upbeat.with_notes(begun, metres=((0, 1, 4), (4, 3, 4)), length=upbeat.length + 4)
    assert all(craft.chart(craft.arrange(upbeat, craft.players("folk trio"))[0]))


def test_a_held_note_goes_on_behind_an_ornament():
    notes = [Note(0, 16, 72), Note(4, 4, 76), Note(6, 2, 60), Note(16, 4, 71)]
    line = craft.melody_of(Score.of(notes, ticks=4))
    assert [(n.onset, n.duration, n.pitch) for n in line] == [(0, 4, 72), (4, 4, 76), (8, 8, 72), (16, 4, 71)]


def test_the_seed_of_a_way_makes_it_again():
    who = craft.players("folk trio")
    many = craft.arrange(tune((4, 4)), who, n=3, seed=4)
    assert len({m.seed for m in many}) == 3
    for made in many:
        (again,) = craft.arrange(tune((4, 4)), who, seed=made.seed)
        assert again.score.notes == made.score.notes
        assert (again.style, again.seed) == (made.style, made.seed)
    assert craft.arrange(tune((4, 4)), who, seed=-1)[0].seed >= -1


def test_each_broken_rule_is_seen():
    """Two chords, C and D, set without a fault; then one note moved at a time."""
    who = craft.players("violin, viola=harmony, guitar=harmony, cello=bass")
    held = [Chord(0, 4, 0), Chord(4, 8, 2)]
    plain = {0: ((76,), (74,)), 1: ((67,), (66,)), 2: ((64, 60, 55), (66, 62, 57)), 3: ((48,), (50,))}

    def found(**changed):
        setting = plain | {int(k[1:]): v for k, v in changed.items()}
        notes = [Note(4 * b, 4, p, 80, k) for k, bars in setting.items() for b, some in enumerate(bars) for p in some]
        score = Score.of(notes, ticks=4, parts=tuple(p.instrument.part for p in who))
        return {(f.rule, f.voices) for f in craft.faults(craft.Arranged(score, tuple(who), 0, "held", held))}

    good = {"p2": ((67, 60, 52), (66, 57, 54)), "p3": ((48,), (50,))}
    assert found(**good) == set()
    assert ("leap", (3,)) in found(**good | {"p3": ((48,), (38,))})
    assert ("leap", (3,)) in found(**good | {"p3": ((40,), (50,))})
    assert ("range", (0,)) in found(**good, p0=((76,), (102,)))
    assert ("tone", (1,)) in found(**good, p1=((67,), (65,)))
    assert ("tone", (2,)) in found(p2=((67, 60, 53), (66, 57, 54)))
    assert ("crossing", (1, 0)) in found(**good, p1=((79,), (66,)))
    assert ("crossing", (3, 2)) in found(p2=((67, 60, 52), (66, 57, 45)), p3=((48,), (50,)))
    assert ("octaves", (0, 3)) in found(**good, p0=((72,), (74,)))
    assert ("fifths", (1, 3)) in found(**good, p1=((67,), (69,)))
    assert ("octaves", (2, 3)) in found(p2=((67, 60, 52), (66, 62, 57)))
    assert ("fifths", (2, 2)) in found(p2=((67, 60, 52), (69, 62, 54)))


def test_a_broken_chord_counts_as_held():
    """The same parallels, hidden in an arpeggio."""
    who = craft.players("violin, guitar=harmony")
    held = [Chord(0, 6, 0), Chord(6, 12, 2)]
    notes = [Note(0, 6, 79), Note(6, 6, 78)]
    notes += [Note(2 * k, 2, p, 60, 1) for k, p in enumerate((52, 60, 67, 54, 62, 69))]
    made = craft.Arranged(
        Score.of(notes, ticks=4, parts=tuple(p.instrument.part for p in who)), tuple(who), 0, "arpeggio", held
    )
    assert {f.rule for f in craft.faults(made)} == {"fifths"}


def test_who_plays_what():
    roles = lambda text: [p.role for p in craft.players(text)]  # noqa: E731
    assert roles("violin, viola, cello") == ["melody", "harmony", "bass"]
    assert roles("cello=melody, violin, viola") == ["melody", "harmony", "harmony"]
    assert roles("Flute=double, oboe, tuba, drums") == ["double", "melody", "bass", "drums"]
    assert [p.instrument.name for p in craft.players("String-Quartet")] == ["violin", "violin", "viola", "cello"]
    for text, said in (
        ("vilin, cello", "did you mean 'violin'"), ("violin", "nobody beside the melody"), ("violin, cello=base", "did you mean 'bass'"),
        ("violin, flute=melody, oboe=melody", "2 players have the role melody"), ("violin=bass", "nobody for the melody"),
        ("drums=bass, violin, guitar", "drums cannot have the role 'bass'"), ("violin, guitar=drums", "guitar cannot have the role 'drums'"),
        ("", "nobody"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=said):
            craft.players(text)
    for who in INSTRUMENTS.values():
        assert 0 <= who.low < who.high <= 127
        assert 0 <= who.program <= 127


def test_what_is_refused():
    who = craft.players("flute, guitar, cello")
    wide = Score.of([Note(0, 4, 62), Note(4, 4, 103)], ticks=4)
    with pytest.raises(
        DataError, match="the melody goes from 62 to 103, and flute plays 60 to 96; take one with a wider"
    ):
        craft.arrange(wide, who)
    with pytest.raises(DataError, match=r"recorder plays 72 to 98; .*--transpose"):
        craft.arrange(Score.of([Note(0, 4, 62), Note(4, 4, 88)], ticks=4), craft.players("recorder, guitar"))
    with pytest.raises(DataError, match="nothing but drums"):
        craft.arrange(Score.of([Note(0, 4, 40)], ticks=4, parts=(Part("", 0, True),)), who)
    with pytest.raises(RecipeError, match="did you mean 'strum'"):
        craft.arrange(tune(), who, style="strom")
    with pytest.raises(RecipeError, match="did you mean 'waltz'"):
        craft.arrange(tune(), who, genre="walts")
    with pytest.raises(RecipeError, match="n is 0"):
        craft.arrange(tune(), who, n=0)
    with pytest.raises(
        BottegaError, match="0 of 1 arrangements keep the rules and differ; most often: Piccolo lies above the melody"
    ):
        craft.arrange(tune(), craft.players("flute, piccolo=harmony, cello=bass"))


def test_the_command_writes_what_it_says(tmp_path, capsys):
    source = tmp_path / "tune.abc"
    source.write_text(
        'X:1\nT:a\nR:waltz\nM:3/4\nL:1/4\nK:G\n"G"d2B|"D"A2c|"G"B2G|"D7"A3|"G"d2B|"C"c2e|"D7"d2F|"G"G3|\n'
    )
    out = ["--out", str(tmp_path / "made"), "--formats", "mid,musicxml,wav", "--json"]
    assert main(["compose", "arrange", str(source), "--for", "flute, guitar, cello", "-n", "2", *out]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chords"] == ["G", "D", "G", "D7", "G", "C", "D7", "G"]
    assert [w["faults"] for w in told["ways"]] == [0, 0]
    assert told["ways"][0]["style"] == "oompah"  # a waltz's
    assert [p["role"] for p in told["ways"][0]["parts"]] == ["melody", "harmony", "bass"]
    for way in told["ways"]:
        midi, xml, wav = way["files"]
        one, two = (MusicCodec().read(f)[0].value for f in (midi, xml))
        assert (
            [p[:2] for p in one.parts] == [p[:2] for p in two.parts] == [("Flute", 73), ("Guitar", 24), ("Cello", 42)]
        )
        assert one.notes == one.with_notes([n._replace(velocity=m.velocity) for n, m in zip(two.rescaled(one.ticks).notes, one.notes, strict=True)]).notes  # fmt: skip
        assert all(read_mark(f)["recipe"] == "compose arrange" for f in map(Path, (midi, xml, wav)))
    MusicCodec().write(Item(tune()), tmp_path / "tune.mid")
    for args, said in (
        (["--for", "lute, cello"], "did you mean 'flute'"), (["--style", "waltzy"], "no style called 'waltzy'"),
        (["--formats", "mp3"], "no format called 'mp3'"), (["--for", "flute, piccolo=harmony, cello"], "lies above the melody"),
    ):  # fmt: skip
        assert main(["compose", "arrange", str(tmp_path / "tune.mid"), "--out", str(tmp_path / "none"), *args]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.shared
def test_folk_tunes_are_arranged_without_a_fault():
    chance = np.random.default_rng(1)
    with zipfile.ZipFile(SHARED / "nottingham" / "nottingham_midi.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".mid"))
        scores = [files.read_midi(archive.read(names[k]), names[k]) for k in chance.permutation(len(names))[:12]]
    agree = []
    for score in scores:
        for made in craft.arrange(score, craft.players("folk trio"), n=2):
            assert craft.faults(made) == []
        theirs = {}
        for n in score.lines()[1]:
            theirs.setdefault((n.onset, n.duration), set()).add(n.pitch % 12)
        for (at, long), tones in theirs.items():
            held = [c for c in chords(score) if c.start < at + long and c.end > at]
            agree.append(np.mean([tones <= set(c.tones) or set(c.tones) <= tones for c in held]))
    assert np.mean(agree) > 0.9
