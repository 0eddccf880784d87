"""Scores survive files and tokens; what is damaged is told in one line; what is rendered sounds at its pitch."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bottega.codecs import _music_files as files
from bottega.codecs import _synth as synth
from bottega.codecs._music_pages import staves
from bottega.codecs.music import MusicCodec
from bottega.core import Batch, BottegaError, DataError, Item, RecipeError, Rng
from bottega.core.score import Key, Note, Part, Score, estimate_key, key_name, parse_key
from bottega.data import builtin, worlds
from bottega.families.gpt import GPT
from bottega.trust.mark import mark, read

pytest.importorskip("mido", reason="the music codec reads MIDI by mido (extra music)")
pytest.importorskip("music21", reason="ABC, MusicXML writing and the set bach need music21 (extra music)")

METRES = [(4, 4), (3, 4), (6, 8), (2, 2), (1, 4)]
MARK = mark("ab" * 32, 17, recipe="frames")


@st.composite
def scores(draw, voices=0):
    """Scores on a grid of four in a quarter, in lines; without ``voices`` of notes at once, too."""
    ticks = 4
    many = voices or draw(st.integers(1, 3))
    notes = []
    for part in range(many):
        at = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(1, 8))):
            long = draw(st.integers(1, 9))
            pitches = draw(st.sets(st.integers(40, 90), min_size=1, max_size=1 if voices else 3))
            notes += [Note(at, long, p, draw(st.sampled_from([8, 72, 120])), part) for p in pitches]
            at += long + draw(st.integers(0, 2))
    metres = [(0, *draw(st.sampled_from(METRES)))]
    if draw(st.booleans()):
        metres.append((draw(st.integers(1, 5)) * 4, *draw(st.sampled_from(METRES))))
    parts = tuple(Part(f"p{k}", k * 8) for k in range(many))
    keys = draw(st.sampled_from([(), ((0, Key(2)),), ((0, Key(9, "minor")),)]))
    tempos = ((0, 500_000), *(((8, 750_000),) if draw(st.booleans()) else ()))
    marks = max(m[0] for m in (*metres, *tempos))  # a file lasts at least to its last mark
    return Score.of(notes, ticks=ticks, parts=parts, metres=tuple(metres), keys=keys, tempos=tempos, length=marks)


@settings(max_examples=60, deadline=None)
@given(scores())
def test_midi_gives_back_every_score(score):
    assert files.read_midi(files.to_midi(score), "it") == score


@settings(max_examples=40, deadline=None)
@given(scores(), st.booleans())
def test_events_give_back_notes_and_marks(score, velocity):
    codec = MusicCodec(tokens="events", velocity=velocity, length=4096).fit([Item(score)])
    said = codec.canonical(score)
    assert [n[:3] for n in said.notes] == [n[:3] for n in score.quantised(4).notes]
    assert [n.part for n in said.notes] == [n.part for n in score.notes]
    if velocity:
        assert [n.velocity for n in said.notes] == [n.velocity for n in score.notes]
    assert said.bars()[: len(score.bars())] == score.bars()
    assert codec.canonical(said) == said == codec.decode(codec.encode([Item(score)]).x)[0].value


@settings(max_examples=40, deadline=None)
@given(scores(voices=2))
def test_voices_give_back_lines(score):
    codec = MusicCodec(tokens="voices", voices=2, length=4096).fit([Item(score)])
    said = codec.canonical(score)
    assert [(n.onset, n.duration, n.pitch, n.part) for n in said.notes] == [
        (n.onset, n.duration, n.pitch, n.part) for n in score.notes
    ]
    assert codec.canonical(said) == said


@settings(max_examples=40, deadline=None)
@given(scores())
def test_frames_and_rolls_give_back_the_88_bits(score):
    frames = MusicCodec(tokens="frames", length=2048).fit([Item(score)])
    roll = score.roll()
    np.testing.assert_array_equal(frames.canonical(score).roll(), roll)
    picture = MusicCodec(tokens="roll", length=128).fit([Item(score)])
    x = picture.encode([Item(score)]).x
    assert x.shape == (1, 1, 128, 88)
    back = picture.decode(x)[0].value.roll()
    last = int(np.flatnonzero(roll.any(1))[-1]) + 1
    np.testing.assert_array_equal(back, roll[:last])


def test_a_frame_has_one_spelling_so_its_likelihood_is_exact():
    """From the top down, whatever the order and the parts of the notes."""
    codec = MusicCodec(tokens="frames", steps=1, length=8).fit([])
    score = Score.of(
        [Note(0, 1, 60, 80, 0), Note(0, 1, 64, 80, 1), Note(0, 1, 60, 80, 1)], ticks=1, parts=(Part(), Part())
    )
    assert codec.words(codec.encode([Item(score)]).x[0])[:4] == ["64", "60", "next", "end"]
    assert codec.encode([Item(score)]).mask.sum() == 4


def test_music21_reads_the_same_notes_of_a_chorale():
    from music21 import corpus

    item = next(i for i in builtin.load("bach").items if i.name == "bwv10.7")
    theirs = corpus.parse("bach/bwv10.7")
    for part, line in zip(theirs.parts, item.value.lines(), strict=True):
        flat = part.stripTies().flatten().notes
        ours = [(n.onset / item.value.ticks, n.duration / item.value.ticks, n.pitch) for n in line]
        assert ours == [(float(n.offset), float(n.quarterLength), n.pitch.midi) for n in flat]
    assert key_name(item.value.key()) == "G minor"


def test_files_carry_notes_and_the_mark(tmp_path: Path):
    score = builtin.load("bach").items[0].value
    codec = MusicCodec(tokens="voices").fit([Item(score)])
    for ending in ("mid", "musicxml", "wav"):
        path = codec.write(Item(score), tmp_path / f"piece.{ending}", MARK)
        assert read(path) == MARK
        assert read(codec.write(Item(score), tmp_path / f"plain.{ending}")) == {}
        if ending != "wav":
            back = codec.read(path)[0].value.rescaled(score.ticks)
            assert back.notes == score.notes
            assert [k for _, k in back.keys][:1] == [k for _, k in score.keys][:1]
    assert codec.show([Item(score)], tmp_path / "roll").stat().st_size > 5000
    assert staves(score, tmp_path / "staves").stat().st_size > 5000


def test_abc_with_chord_symbols(tmp_path: Path):
    path = tmp_path / "tunes.abc"
    path.write_text('X:1\nT:a\nM:3/4\nL:1/4\nK:G\n"G"d2B|"D"A2c|\n\nX:2\nT:b\nM:2/4\nL:1/8\nK:Am\nAB cd|e4|\n')
    one, two = (i.value for i in MusicCodec().read(path))
    assert [(n.onset / one.ticks, n.pitch) for n in one.lines()[0]] == [(0, 74), (2, 71), (3, 69), (5, 72)]
    assert {n.pitch % 12 for n in one.lines()[1]} == {7, 11, 2, 9, 6}
    assert (one.metres[0], one.key(), two.key()) == ((0, 3, 4), Key(7), Key(9, "minor"))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.mid", b"", "empty"),
        ("a.mid", b"not a midi file", "no MIDI file"),
        ("a.mid", files.to_midi(Score.of([Note(0, 4, 60)] * 1, ticks=4))[:-6], "truncated"),
        ("a.mid", files.to_midi(Score.of([], ticks=4, length=16)), "holds no notes"),
        ("a.mid", files.to_midi(Score.of([Note(k % 4, 1, k % 128) for k in range(10_000)], ticks=4)), "10000 notes; the most is"),
        ("a.mid", b"MThd" + struct.pack(">IHHH", 6, 1, 1, 0xE728) + b"MTrk\0\0\0\4\0\xff\x2f\0", "SMPTE"),
        ("a.musicxml", b"<score-partwise>", "damaged MusicXML"),
        ("a.musicxml", b"<html/>", "not score-partwise"),
        ("a.mxl", b"PK\x03\x04 broken", "damaged MusicXML"),
        ("a.abc", b"no tune here", "no ABC tune"),
        ("a.json", b'{"train": [1]}', "not JSON of pieces"),
        ("a.png", b"x", "is no score"),
    ],
)  # fmt: skip
def test_bad_files_are_told_in_one_line(tmp_path: Path, name, data, said):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        MusicCodec().read(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_file_among_good_ones_is_skipped_where_asked(tmp_path: Path):
    (tmp_path / "a.mid").write_bytes(files.to_midi(Score.of([Note(0, 4, 60)], ticks=4)))
    (tmp_path / "b.mid").write_bytes(b"MThd")
    with pytest.raises(DataError, match=r"b\.mid"):
        MusicCodec().read(tmp_path)
    codec = MusicCodec(on_error="skip")
    assert len(codec.read(tmp_path)) == 1
    assert "b.mid" in codec.skipped[0]
    (tmp_path / "a.mid").unlink()
    with pytest.raises(
        DataError, match=r"no score that can be read \(1 cannot, the first: .*b\.mid is a damaged or truncated"
    ):
        codec.read(tmp_path)


def test_wrong_settings_are_named():
    for wrong, said in [
        ({"tokens": "evnts"}, "did you mean 'events'"), ({"controls": "moode"}, "did you mean 'mode'"), ({"steps": 0}, "steps is 0"),
        ({"controls": "key", "key": "common"}, "choose"), ({"tokens": "roll", "controls": "mode"}, "roll has none"),
    ]:  # fmt: skip
        with pytest.raises(RecipeError, match=said):
            MusicCodec(**wrong)


def test_steps_of_json_are_voices_or_chords(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"train": [[[72, 67, 64, 48], [72, 69, 64, -1]]]}))
    (item,) = MusicCodec(step=1.0).read(path)
    assert [(n.onset, n.duration, n.pitch, n.part) for n in item.value.notes] == [
        (0, 2, 72, 0), (0, 1, 67, 1), (0, 2, 64, 2), (0, 1, 48, 3), (1, 1, 69, 1),
    ]  # fmt: skip


def test_training_moves_pieces_and_keeps_their_intervals():
    items = worlds.load("tunes", n=8, bars=2).items
    codec = MusicCodec(tokens="frames", steps=1, length=64, transpose=6, controls="key").fit(items)
    source = codec.source(items, train=True)
    drawn = source.draw(torch.arange(8), Rng(0))
    moved = set()
    for item, row in zip(items, drawn.x.tolist(), strict=True):
        made = codec.decoded(row)
        plain = codec.canonical(item.value)
        by = made.notes[0].pitch - plain.notes[0].pitch
        assert plain.transposed(by).roll().tolist() == made.roll().tolist()
        assert made.key() == Key((plain.key().tonic + by) % 12, plain.key().mode)
        moved.add(by)
    assert len(moved) > 3


def test_narrow_batches_have_the_same_likelihood():
    items = worlds.load("tunes", n=3, bars=2).items
    codec = MusicCodec(tokens="frames", steps=1, length=256).fit(items)
    model = GPT(codec.spec, size=1).eval()
    whole, narrow = codec.encode(items), codec.source(items, train=True).take(torch.arange(3))
    assert narrow.x.shape[1] < 256
    torch.testing.assert_close(model.log_prob(whole, Rng(0)), model.log_prob(narrow, Rng(0)))


def test_long_pieces_are_cut_between_bars_and_nothing_is_lost():
    items = worlds.load("tunes", n=4, bars=12).items
    codec = MusicCodec(length=120).fit(items)
    rows = codec.rows(items)
    assert len(rows) > 4
    assert sum(row.whole for row in rows) == 4
    notes = sum(len(codec.decoded(row.tokens).notes) for row in rows)
    assert notes == sum(len(i.value.notes) for i in items)


def test_the_common_key_is_c_major_or_a_minor():
    items = worlds.load("tunes", n=30, bars=4).items
    codec = MusicCodec(key="common", controls="mode", length=512).fit(items)
    for item in items:
        said = codec.canonical(item.value)
        assert said.key() in {Key(0), Key(9, "minor")}
        assert {n.pitch % 12 for n in said.notes} <= set(Key(0).pitches)


def test_controls_stand_before_the_notes_and_may_be_asked_for():
    items = worlds.load("tunes", n=20, bars=2).items
    codec = MusicCodec(controls="key,mode,tempo,density,genre").fit(items)
    assert codec.prefix(items[0].value)[1] == f"key={key_name(items[0].value.key())}"
    assert codec.prefix(items[0].value, {"density": "dense"})[4] == "density=dense"
    assert codec.canonical(items[0].value).genre == "tune"
    with pytest.raises(RecipeError, match="did you mean 'sparse'"):
        codec.prefix(items[0].value, {"density": "sparce"})


def test_state_is_all_there_is_to_know():
    items = worlds.load("tunes", n=4, bars=2).items
    codec = MusicCodec().fit(items)
    again = MusicCodec().load_state(json.loads(json.dumps(codec.state())))
    assert again.spec == codec.spec
    assert torch.equal(again.encode(items).x, codec.encode(items).x)
    batch, keep = codec.start_edit(items[0])
    assert isinstance(batch, Batch)
    assert int(keep.sum()) == len(codec.piece(items[0].value)) - 1


def pitch_of(sound, rate, near):
    """The frequency of the fundamental: the phase that a window of it turns by, between two windows."""
    half = len(sound) // 2
    window = np.hanning(half)
    t = np.arange(half) / rate
    tone = window * np.exp(-2j * np.pi * near * t)
    gap = rate // 50
    a, b = (np.sum(sound[s : s + half] * tone) for s in (0, gap))
    return near + (np.angle(b / a * np.exp(-2j * np.pi * near * gap / rate)) / (2 * np.pi)) * rate / gap


@pytest.mark.parametrize("program", [0, 16, 24, 40, 52, 56, 71, 73])
def test_a_note_sounds_at_its_pitch_and_the_peak_is_where_it_should_be(program):
    score = Score.of([Note(0, 4, 69, 100)], ticks=4, parts=(Part("", program),), tempos=((0, 1_000_000),))
    sound = synth.render(score)
    assert abs(20 * np.log10(np.abs(sound).max()) + 1) < 0.01
    assert np.sqrt(np.mean(sound**2)) > 0.01
    heard = pitch_of(sound[4000:24000, 0].astype(float), synth.RATE, 440.0)
    assert abs(1200 * np.log2(heard / 440)) < 5


def test_nothing_folds_back_from_beyond_half_the_rate():
    score = Score.of([Note(0, 4, 108, 100)], ticks=4, parts=(Part("", 56),), tempos=((0, 1_000_000),))
    sound = synth.render(score)[:44_100, 0] * np.hanning(44_100)
    power = np.abs(np.fft.rfft(sound)) ** 2
    f0 = 440 * 2 ** (39 / 12)
    near = np.zeros(len(power), bool)
    for h in range(1, 6):
        near[max(0, int(h * f0) - 60) : int(h * f0) + 60] = True
    assert power[~near].sum() < 1e-4 * power.sum()


def test_fluidsynth_is_used_where_a_soundfont_is_named(tmp_path: Path, monkeypatch):
    score = Score.of([Note(0, 4, 60)], ticks=4)
    midi = lambda: files.to_midi(score)  # noqa: E731
    monkeypatch.setenv("PATH", str(tmp_path))
    np.testing.assert_array_equal(synth.played(score, midi), synth.render(score))
    monkeypatch.setenv("SOUNDFONT", str(tmp_path / "a.sf2"))
    with pytest.raises(BottegaError, match="fluidsynth is not installed"):
        synth.played(score, midi)
    (tmp_path / "plain.wav").write_bytes(synth.wav_bytes(np.full((100, 2), 0.25, np.float32)))
    program = tmp_path / "fluidsynth"
    program.write_text(f'#!/bin/sh\n/bin/cp {tmp_path}/plain.wav "$4"\n')
    program.chmod(0o755)
    with pytest.raises(BottegaError, match="no such file"):
        synth.played(score, midi)
    (tmp_path / "a.sf2").write_bytes(b"font")
    np.testing.assert_allclose(synth.played(score, midi), synth.PEAK, atol=1e-4)


@pytest.mark.system
def test_fluidsynth_itself_plays_the_note(monkeypatch):
    fonts = sorted(Path("/usr/share/sounds/sf2").glob("*.sf2"))
    if shutil.which("fluidsynth") is None or not fonts:
        pytest.skip("fluidsynth or a soundfont is not installed")
    monkeypatch.setenv("SOUNDFONT", str(fonts[0]))
    score = Score.of([Note(0, 8, 69)], ticks=4)  # an A of 440 Hz
    sound = synth.played(score, lambda: files.to_midi(score))[:44_100, 0]
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    assert power[435:446].sum() > 0.2 * power.sum()


def test_what_a_midi_file_has_no_room_for_is_brought_to_the_nearest():
    score = Score.of(
        [Note(0, 70_000, 60), Note(70_000, 70_000, 62)], ticks=70_000, parts=(Part("B\u266d Clarinet in \u4e2d"),),
        tempos=((0, 30_000_000),), metres=((0, 3, 4), (140_000, 3, 6)), length=280_000,
    )  # fmt: skip
    back = files.read_midi(files.to_midi(score), "it")
    assert [(n.onset / back.ticks, n.duration / back.ticks, n.pitch) for n in back.notes] == [(0, 1, 60), (1, 1, 62)]
    assert back.parts[0].name == "Bb Clarinet in ?"
    assert back.metres == ((0, 3, 4),)


def midi(*tracks):
    """A file of tracks of mido messages, 480 ticks a quarter."""
    import mido

    file = mido.MidiFile(type=1 if len(tracks) > 1 else 0, ticks_per_beat=480)
    for messages in tracks:
        file.tracks.append(mido.MidiTrack(messages))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def played(score):
    """Program and pitches of each part."""
    return [(p.program, [n.pitch for n in line]) for p, line in zip(score.parts, score.lines(), strict=True)]


def test_a_channel_that_changes_its_program_is_two_parts():
    from mido import Message as M

    def note(pitch, channel=0):
        return [M("note_on", note=pitch, channel=channel), M("note_off", note=pitch, channel=channel, time=480)]

    piano, flute = M("program_change", program=0), M("program_change", program=73)
    score = files.read_midi(midi([piano, *note(60), flute, *note(72), piano, *note(62)]), "it")
    assert played(score) == [(0, [60, 62]), (73, [72])]
    assert [n.onset for n in score.lines()[0]] == [0, 960]
    assert files.read_midi(files.to_midi(score), "it") == score
    # a note that sounds while the program changes stays with the one that began it
    over = [piano, M("note_on", note=60), flute, M("note_on", note=72), M("note_off", note=60, time=480), M("note_off", note=72)]  # fmt: skip
    assert played(files.read_midi(midi(over), "it")) == [(0, [60]), (73, [72])]
    # given in another track, by channel and time; a track's own comes first
    late = M("program_change", program=40, time=480)
    assert played(files.read_midi(midi([flute, late], [*note(60), *note(62)]), "it")) == [(73, [60]), (40, [62])]
    assert played(files.read_midi(midi([flute], [piano, *note(60)]), "it")) == [(0, [60])]
    kit = files.read_midi(midi([M("program_change", channel=9, program=8), *note(36, 9), M("program_change", channel=9), *note(38, 9)]), "it")  # fmt: skip
    assert [(p.drums, p.program) for p in kit.parts] == [(True, 0)]


def test_more_parts_than_channels_share_one_by_instrument():
    parts = tuple(Part(f"p{k}", k % 3) for k in range(20))
    score = Score.of([Note(4 * k, 4, 50 + k, 80, k) for k in range(20)], ticks=4, parts=parts)
    assert files.read_midi(files.to_midi(score), "it") == score
    with pytest.raises(DataError, match="20 instruments"):
        files.to_midi(replace(score, parts=tuple(Part(f"p{k}", k) for k in range(20))))


def test_genres_are_folders_or_a_csv_or_what_abc_says(tmp_path: Path):
    for name in ("jig/a.mid", "slip jig/b.mid", "jig/c.mid"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(files.to_midi(Score.of([Note(0, 4, 60)], ticks=4)))
    read = lambda where, **more: [i.value.genre for i in MusicCodec(**more).read(where)]  # noqa: E731
    assert read(tmp_path / "set") == read(tmp_path / "set", labels="folder") == ["jig", "jig", "slip jig"]
    assert read(tmp_path / "set", labels="none") == ["", "", ""]
    assert read(tmp_path / "set" / "jig") == ["", ""]  # one folder tells nothing apart
    table = tmp_path / "set" / "kinds.csv"
    table.write_text("file,kind\njig/a.mid,dance\njig/c.mid,song\nslip jig/b.mid,dance\n")
    assert read(tmp_path / "set", labels="kinds.csv:kind") == ["dance", "song", "dance"]
    with pytest.raises(DataError, match="no column 'label'"):
        read(tmp_path / "set", labels="kinds.csv")
    table.write_text("file,kind\njig/a.mid,dance\n")
    with pytest.raises(DataError, match=r"no kind for jig/c\.mid; add a row"):
        read(tmp_path / "set", labels="kinds.csv:kind")
    codec = MusicCodec(labels="kinds.csv:kind", on_error="skip")
    assert [i.value.genre for i in codec.read(tmp_path / "set")] == ["dance"]
    assert len(codec.skipped) == 2
    with pytest.raises(DataError, match="stands in no class folder"):
        read(tmp_path / "set" / "jig", labels="folder")
    abc = tmp_path / "t.abc"
    abc.write_text("X:1\nT:a\nR:Slip Jig\nM:9/8\nL:1/8\nK:G\nGAB GAB G3|\n\nX:2\nT:b\nR:\nM:2/4\nL:1/8\nK:G\nAB cd|\n")
    assert read(abc) == ["slip jig", ""]
    for folder in ("oneill", "kerr"):
        (tmp_path / "books" / folder).mkdir(parents=True)
        (tmp_path / "books" / folder / "t.abc").write_bytes(abc.read_bytes())
    assert read(tmp_path / "books") == [
        "slip jig",
        "kerr",
        "slip jig",
        "oneill",
    ]  # what a piece says is before its folder
    assert read(tmp_path / "books", labels="folder") == ["kerr", "kerr", "oneill", "oneill"]
    (tmp_path / "books" / "pdf").mkdir()
    assert len(read(tmp_path / "books")) == 4
    with pytest.raises(DataError, match="pdf holds no score"):
        read(tmp_path / "books", labels="folder")


def test_a_codec_without_controls_begins_with_the_metre_of_its_pieces():
    waltz = Score.of([Note(4 * k, 4, 60 + k) for k in range(6)], ticks=4, metres=((0, 3, 4),))
    for tokens in ("events", "voices"):
        codec = MusicCodec(tokens=tokens, voices=1).fit([Item(waltz)])
        assert codec.head({}, 0.3) == ["metre=3/4"]


def test_what_is_not_wished_is_as_in_training_pieces_that_have_what_is():
    def piece(genre, metre, program=0):
        return Score.of([Note(0, 12, 60)], ticks=4, metres=((0, *metre),), genre=genre, parts=(Part("", program),))

    scores = [*[piece("slip jig", (9, 8))] * 3, piece("slip jig", (6, 8)), *[piece("march", (4, 4))] * 4]
    codec = MusicCodec(controls="genre").fit([Item(s) for s in scores])
    drawn = [codec.head({"genre": "slip jig"}, (k + 0.5) / 8) for k in range(8)]
    assert sorted(map(tuple, drawn)) == [("metre=6/8", "genre=slip jig")] * 2 + [("metre=9/8", "genre=slip jig")] * 6
    assert {codec.head({}, u)[1] for u in (0.1, 0.9)} == {"genre=march", "genre=slip jig"}
    again = MusicCodec(controls="genre").load_state(json.loads(json.dumps(codec.state())))
    assert again.head({"genre": "march"}, 0.3) == ["metre=4/4", "genre=march"]
    with pytest.raises(RecipeError, match="did you mean 'march'"):
        codec.head({"genre": "marsh"})
    with pytest.raises(RecipeError, match="no control 'mode'"):
        codec.head({"mode": "major"})


def test_damage_that_makes_endless_bars_or_tempi_is_one_line():
    with pytest.raises(DataError, match="bars; the most is 100,000"):
        files.checked(Score.of([Note(0, 1 << 28, 60)], ticks=1, metres=((0, 1, 64),)), "it")
    xml = files.to_musicxml(Score.of([Note(0, 4, 60)], ticks=4), "").decode()
    slow = xml.replace('<measure number="1">', '<measure number="1"><sound tempo="inf"/>', 1)
    assert files.read_musicxml(slow.encode(), "it").tempos[0][1] >= 60_000
    with pytest.raises(DataError, match="cannot be read"):
        files.read_musicxml(xml.replace("<octave>4</octave>", "<alter>inf</alter><octave>4</octave>", 1).encode(), "it")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("readme.txt", "nothing here")
    with pytest.raises(DataError, match="damaged MusicXML"):
        files.read_musicxml(archive.getvalue(), "it")


def test_a_row_that_begins_in_the_middle_says_what_bars_before_it_left_behind():
    """Metre, tempo and player hold on from bar to bar; a row of its own says them anew."""
    parts = (Part("Piano", 0), Part("Flute", 73))
    notes = [Note(4 * k, 4, 60 + k % 12, 80, int(k >= 20)) for k in range(120)]
    score = Score.of(
        notes, ticks=4, parts=parts, tempos=((0, 500_000), (160, 1_000_000)), metres=((0, 4, 4), (160, 3, 4))
    )
    codec = MusicCodec(tokens="events", steps=4, length=128).fit([Item(score)])
    rows = codec.decode(codec.encode([Item(score)]).x)
    assert len(rows) > 2
    first, *rest = [row.value for row in rows]
    assert sum(len(s.notes) for s in (first, *rest)) == 120
    for late in rest[1:]:
        assert {late.parts[n.part].program for n in late.notes} == {73}
        assert late.tempos[0][1] == pytest.approx(1_000_000, rel=0.05)
        assert late.metres[0][1:] == (3, 4)


def test_keys_are_heard_and_read():
    assert parse_key("b flat minor".replace(" flat", "b")) == Key(10, "minor")
    scale = [Note(k, 1 + 2 * (k in {0, 4}), p) for k, p in enumerate((62, 64, 66, 67, 69, 71, 73))]
    assert estimate_key(replace(Score.of(scale, ticks=1))) == Key(2)
    with pytest.raises(ValueError, match="no key"):
        parse_key("H dur")


def test_the_world_of_tunes_knows_its_entropy_and_keys():
    found = worlds.load("tunes", n=600, bars=5)
    told = np.array([found.truth["log_prob"](i.value) for i in found.items])
    error = told.std() / np.sqrt(len(told))
    assert abs(-told.mean() - found.truth["entropy_nats"]) < 4 * error
    codec = MusicCodec().fit(found.items)
    again = [found.truth["log_prob"](i.value) for i in codec.decode(codec.encode(found.items[:50]).x)]
    np.testing.assert_allclose(again, told[:50])
    first = found.items[0].value
    assert found.truth["log_prob"](first.with_notes(first.notes[1:])) == -np.inf
    assert found.truth["keys"][0] == key_name(first.key())
    guessed = [key_name(estimate_key(i.value)) for i in found.items]
    assert np.mean([a == b for a, b in zip(guessed, found.truth["keys"], strict=True)]) > 0.8


def test_parts_of_chords_are_taken_apart_into_voices():
    """A tune above chords of three notes is four voices; chords of unequal size are none."""
    data = worlds.load("tunes", n=6, bars=3)
    codec = MusicCodec(tokens="voices", steps=1, length=64).fit(data.items)
    for item, back in zip(data.items, codec.decode(codec.encode(data.items).x), strict=True):
        one, two = (
            {(n.onset / s.ticks, n.duration / s.ticks, n.pitch) for n in s.notes} for s in (item.value, back.value)
        )
        assert one == two
    notes = [Note(0, 4, 72), Note(0, 4, 60, 64, 1), Note(0, 4, 64, 64, 1), Note(4, 4, 71), Note(4, 4, 62, 64, 1)]
    uneven = Score.of(notes, ticks=4, parts=(Part("Tune", 73), Part("Chords", 0)))
    with pytest.raises(DataError, match="two notes at once"):
        MusicCodec(tokens="voices", voices=3, length=64).fit([Item(uneven)]).encode([Item(uneven)])


def test_notes_far_from_their_staff_are_on_the_page(tmp_path: Path):
    """A high note makes room for itself: the page grows, and there is ink above where it ended before."""
    from PIL import Image

    usual, high = (staves(Score.of([Note(0, 8, p)], ticks=4), tmp_path / f"{p}.png") for p in (67, 108))
    with Image.open(usual) as a, Image.open(high) as b:
        assert b.height > a.height + 50
        top = np.asarray(b.convert("L"))[: b.height // 3]
    assert (top < 100).sum() > 50
