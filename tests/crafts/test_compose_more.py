"""Music without a run: copies, coverage, cues, accompaniment and playlists, each in a world whose answer is known."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from dataclasses import replace

import numpy as np
import pytest

from bottega.cli import main
from bottega.codecs.music import MusicCodec
from bottega.core import DataError, Item
from bottega.core.score import Key, Note, Part, Score
from bottega.core.voicing import faults
from bottega.crafts import compose_accompany, compose_check, compose_coverage, compose_cues, compose_playlist
from bottega.data import worlds
from bottega.trust.mark import read as read_mark


def copied(score: Score, chance: np.random.Generator) -> Score:
    """Moved to another key and stretched."""
    by, slower = int(chance.integers(1, 7)), int(chance.integers(1, 4))
    notes = [n._replace(onset=n.onset * slower, duration=n.duration * slower) for n in score.transposed(by).notes]
    return Score.of(notes, ticks=score.ticks, parts=score.parts)


def test_copies_are_found_in_any_key_and_at_any_pace_and_own_tunes_are_not():
    items = worlds.load("tunes", n=160, seed=5).items
    known, own = items[:100], items[100:]
    library, chance = compose_check.Library(known), np.random.default_rng(0)
    copies = [library.compare(copied(item.value, chance)) for item in known[:60]]
    assert np.mean([m.copy and m.name == item.name for m, item in zip(copies, known, strict=False)]) >= 0.95  # row I21
    assert np.mean([library.compare(item.value).copy for item in own]) <= 0.02


def test_a_copy_says_where_and_how_it_was_moved():
    items = worlds.load("tunes", n=40, seed=6).items
    library = compose_check.Library(items)
    piece = items[7].value
    moved = Score.of(
        [n._replace(onset=2 * n.onset, duration=2 * n.duration) for n in piece.transposed(3).notes],
        ticks=piece.ticks,
        parts=piece.parts,
    )
    found = library.compare(moved)
    assert (found.name, found.transposed, found.pace) == (items[7].name, 3, pytest.approx(2.0))
    assert found.notes >= len(compose_check.tune(piece)) - 1
    assert library.compare(piece, leave=items[7].name).name != items[7].name
    assert library.compare(piece.cut(0, 4)) is None  # too short to say
    with pytest.raises(DataError, match="no tune of six notes"):
        compose_check.Library([Item(piece.cut(0, 4))])


def test_check_ends_with_status_3_where_a_copy_is_found(tmp_path, capsys):
    items = worlds.load("tunes", n=30, seed=8).items
    for k, item in enumerate(items[:20]):
        MusicCodec().write(item, tmp_path / "mine" / f"{k:02d}.mid")
    MusicCodec().write(Item(items[3].value.transposed(4)), tmp_path / "copy.mid")
    MusicCodec().write(items[25], tmp_path / "own.mid")
    assert (
        main(["compose", "check", str(tmp_path / "copy.mid"), "--against", str(tmp_path / "mine"), "--json", "-q"]) == 3
    )
    said = json.loads(capsys.readouterr().out)["pieces"][0]
    assert (said["name"], said["transposed"], said["copy"]) == ("03.mid", 4, True)
    assert main(["compose", "check", str(tmp_path / "own.mid"), "--against", str(tmp_path / "mine")]) == 0
    assert main(["compose", "check", str(tmp_path / "own.mid")]) == 2
    capsys.readouterr()
    assert main(["compose", "check", "--help"]) == 0
    assert "Exit status 3 where one is found" in capsys.readouterr().out


def test_files_that_cannot_be_read_are_told(tmp_path, capsys):
    """In a folder they are left out and named, and in the JSON; alone they are an error."""
    items = worlds.load("tunes", n=6, seed=8).items
    for k, item in enumerate(items):
        MusicCodec().write(item, tmp_path / "mine" / f"{k}.mid")
    bad = tmp_path / "mine" / "bad.mid"
    bad.write_bytes((tmp_path / "mine" / "0.mid").read_bytes()[:90])
    (tmp_path / "mine" / "worse.mid").write_bytes(b"MThd")
    plays = tmp_path / "plays.csv"
    plays.write_text(
        "listener,piece\n" + "".join(f"{a},{k}\n" for a, k in (("anna", 0), ("anna", 1), ("ben", 1), ("ben", 2)))
    )
    mine = str(tmp_path / "mine")
    for args in (
        ["check", f"{mine}/5.mid", "--against", mine],
        ["coverage", mine],
        ["playlist", str(plays), "--listener", "anna", "--scores", mine, "--new", f"{mine}/5.mid"],
    ):
        assert main(["compose", *args, "--json"]) in {0, 3}
        told = capsys.readouterr()
        skipped = json.loads(told.out)["skipped"]
        assert len(skipped) == 2
        assert "bad.mid is a damaged or truncated MIDI file" in skipped[0]
        assert f"2 files that cannot be read were left out, the first: {skipped[0]}" in told.err
    for args in (
        ["check", str(bad), "--against", mine],
        ["check", f"{mine}/5.mid", "--against", str(bad)],
        ["coverage", str(bad)],
    ):
        assert main(["compose", *args]) == 2
        error = capsys.readouterr().err
        assert "bad.mid is a damaged or truncated MIDI file" in error
        assert error.count("\n") == 1


def test_rare_styles_are_marked(tmp_path, capsys):
    items = worlds.load("tunes", n=120, seed=2).items
    styled = [
        Item(replace(i.value, genre="march" if k < 4 else "song" if k < 60 else "dance"), name=i.name)
        for k, i in enumerate(items)
    ]
    cells = {(c.axis, c.value): c for c in compose_coverage.coverage(styled, wanted=["waltz"])}
    assert [v for (a, v), c in cells.items() if a == "style" and c.few] == ["march", "waltz"]
    assert cells["style", "song"].pieces == 56
    assert not any(c.few for (a, _), c in cells.items() if a in {"mode", "key"})  # the world draws all keys alike
    minor = [i for i in styled if i.value.keys[0][1].mode == "minor"]
    against = {(c.axis, c.value): c for c in compose_coverage.coverage(minor, against=styled)}
    assert against["mode", "major"].few
    assert against["mode", "major"].pieces == 0
    for k, item in enumerate(styled[:9]):
        MusicCodec().write(item, tmp_path / "scores" / ("jig" if k % 2 else "reel") / f"{k}.mid")
    assert main(["compose", "coverage", str(tmp_path / "scores"), "--axis", "style", "--json", "-q"]) == 0
    said = json.loads(capsys.readouterr().out)["cells"]
    assert {c["value"]: c["pieces"] for c in said} == {"reel": 5, "jig": 4}
    with pytest.raises(DataError, match="no piece"):
        compose_coverage.coverage([])


FILM = compose_cues.Film(
    (compose_cues.Cue(0, 0.1), compose_cues.Cue(7.31, 0.5, "door"), compose_cues.Cue(19.777, 1.0, "chase"), compose_cues.Cue(31.02, 0.1)), 40.0
)  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_cues_are_met_and_the_curve_is_followed(seed):
    score = compose_cues.compose(FILM, seed)
    assert max(compose_cues.misses(score, FILM)) < 0.002  # row I6 wants 0.05 s
    assert compose_cues.followed(score, FILM) >= 0.8
    assert score.seconds == pytest.approx(FILM.length, abs=0.01)
    bars = np.array([score.time_of(t) for t, _ in score.bars()])
    assert all(np.abs(bars - c.time).min() < 0.002 for c in FILM.cues)


def test_cue_lists_as_toml_and_csv_and_what_is_wrong_with_them(tmp_path, capsys):
    good = tmp_path / "cues.toml"
    good.write_text(
        'length = 8\nkey = "C major"\n[[cue]]\ntime = 0\nintensity = 0.4\n[[cue]]\ntime = 3.3\nintensity = 0.9\nwhat = "bang"\n'
    )
    assert (
        main(["compose", "cues", str(good), "--out", str(tmp_path / "film"), "--formats", "mid,wav", "--json", "-q"])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert max(said["milliseconds_off"]) < 2
    back = MusicCodec().read(tmp_path / "film.mid")[0].value  # what a player hears is what the file says
    assert min(abs(back.time_of(n.onset) - 3.3) for n in back.notes) < 0.002
    assert read_mark(tmp_path / "film.wav")["recipe"] == "compose cues"
    table = tmp_path / "cues.csv"
    table.write_text("time,intensity,what\n0,0.2,\n4,0.8,jump\n9,0.1,end\n")
    film = compose_cues.read(table)
    assert (len(film.cues), film.length) == (2, 9)
    for text, why in (
        (
            "length = 9\n[[cue]]\ntime = 5\nintensity = 2\n",
            "the cue at 5 s has intensity 2; intensities lie from 0 to 1",
        ),
        ("length = 9\n[[cue]]\ntime = 9\nintensity = 1\n", "times lie from 0 to before the end at 9 s"),
        ("length = 0.5\n[[cue]]\ntime = 0\nintensity = 1\n", "length is 0.5"),
        ("length = 9\ntempo = 500\n[[cue]]\ntime = 0\nintensity = 1\n", "tempo is 500"),
        ("[[cue]]\ntime = 5\nintensity = 1\n", "has one cue, at 5 s, and no end; add length"),
        ("length = 9\n[[cue]]\ntime = 5\nintensity = 1\n[[cue]]\ntime = 2\nintensity = 1\n", "in time"),
        ("length = 9\n", "no cues"),
        ("[[cue]]\nintensity = 1\n", "lacks a number"),
        ("[[cue", "cannot be read"),
    ):
        good.write_text(text)
        with pytest.raises(DataError, match=why):
            compose_cues.read(good)


def test_a_cue_list_of_one_row_is_refused(tmp_path, capsys):
    table = tmp_path / "cues.csv"
    table.write_text("time,intensity,what\n4,0.8,jump\n")
    assert main(["compose", "cues", str(table), "--out", str(tmp_path / "film")]) == 2
    assert "has one cue, at 4 s, and no end; add a row below it" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["cues.csv"]


def tune_of(key: Key, seed: int = 0, notes: int = 40) -> Score:
    """A walk through a scale, in a soprano's middle."""
    chance, scale = (
        np.random.default_rng(seed),
        sorted(60 + (p - 60) % 12 + 12 * o for p in key.pitches for o in (0, 1)),
    )
    at, out = 7, []
    for k in range(notes):
        out.append(Note(4 * k, 4, scale[at]))
        at = int(np.clip(at + chance.choice([-2, -1, 1, 2]), 3, 11))
    return Score.of(out, ticks=4, parts=(Part("Tune"),))


@pytest.mark.parametrize("key", [Key(0), Key(7), Key(9, "minor"), Key(3)])
def test_a_player_is_accompanied_by_the_rules_at_once(key):
    began = time.process_time()
    played = compose_accompany.replay(tune_of(key), key)
    spent = time.process_time() - began
    assert faults(played.score, given=(0,)) == []
    assert played.rests <= 2
    assert len(played.milliseconds) == 40
    assert 1000 * spent / 40 < 50  # row I9, of a processor of its own
    chords = {n.pitch % 12 for n in played.score.notes if n.part}
    assert chords <= set(key.usual)
    assert faults(compose_accompany.replay(tune_of(key, 1)).score, given=(0,)) == []  # the key is heard


def test_live_messages_are_answered_and_all_notes_end():
    mido = pytest.importorskip("mido")
    sent: list = []
    coming = [mido.Message("note_on", note=p, velocity=90) for p in (72, 74, 76)] + [mido.Message("note_off", note=76)]
    played = compose_accompany.live(iter(coming), sent.append, Key(0))
    assert len(played.milliseconds) == 3
    on = [m.note for m in sent if m.type == "note_on"]
    assert sorted(on) == sorted(m.note for m in sent if m.type == "note_off")
    assert len(on) == 9
    assert sorted(n.pitch for n in played.score.notes if n.part == 0) == [72, 74, 76]


def test_ctrl_c_ends_a_live_session_and_what_was_played_is_there():
    mido = pytest.importorskip("mido")
    sent: list = []

    def player():
        yield mido.Message("note_on", note=72, velocity=90)
        yield mido.Message("note_on", note=74, velocity=90)
        raise KeyboardInterrupt

    times = iter([0.0, 0.01, 0.5, 0.51, 1.0])  # of two notes, each begun and answered, and of the end
    played = compose_accompany.live(player(), sent.append, Key(0), lambda: next(times))
    melody = [(n.onset / 480, n.duration / 480, n.pitch) for n in played.score.notes if n.part == 0]
    assert melody == [(0, 1, 72), (1, 1, 74)]
    assert {n.part for n in played.score.notes} == {0, 1, 2, 3}
    assert played.milliseconds == pytest.approx([10, 10])
    on = [m.note for m in sent if m.type == "note_on"]
    assert sorted(on) == sorted(m.note for m in sent if m.type == "note_off")


@pytest.fixture
def midi_ports(monkeypatch):
    """A backend of mido whose ports the test names; what is coming is heard, what is sent is kept."""
    mido = pytest.importorskip("mido")
    from mido.ports import BaseInput, BaseOutput

    backend = types.ModuleType("ports_of_a_test")
    backend.ins, backend.outs, backend.coming, backend.sent, backend.busy = [], [], [], [], []

    class Input(BaseInput):
        def _open(self, **settings):
            if self.name in backend.busy:
                raise OSError("device busy")
            self.left = list(backend.coming)

        def _receive(self, block=True):
            if self.left:
                self._messages.append(self.left.pop(0))
            else:
                self.close()

    class Output(BaseOutput):
        def _open(self, **settings):
            if self.name in backend.busy:
                raise OSError("device busy")

        def _send(self, message):
            backend.sent.append((self.name, message))

    def get_devices(**settings):
        return [
            {"name": n, "is_input": n in backend.ins, "is_output": n in backend.outs}
            for n in dict.fromkeys([*backend.ins, *backend.outs])
        ]

    backend.Input, backend.Output, backend.get_devices = Input, Output, get_devices
    monkeypatch.setitem(sys.modules, "ports_of_a_test", backend)
    before = mido.backend
    mido.set_backend("ports_of_a_test")
    yield backend
    mido.set_backend(before)


def test_a_live_port_is_heard_and_answered_on_another(midi_ports, tmp_path, capsys):
    import mido

    midi_ports.ins = ["Midi Through Port-0 14:0", "Keys 20:0", "Pads 24:0"]
    midi_ports.outs = ["Midi Through Port-0 14:0", "Synth 28:0", "Keys 20:0"]
    midi_ports.coming = [mido.Message("note_on", note=p, velocity=90) for p in (72, 74, 76)]
    out = ["--key", "C major", "--out", str(tmp_path / "live"), "--formats", "mid", "--json"]
    assert main(["compose", "accompany", *out]) == 0
    told = capsys.readouterr()
    assert "listening to Keys 20:0, playing to Keys 20:0" in told.err  # never what passes on what it is given
    assert len(json.loads(told.out)["milliseconds"]) == 3
    on = [m.note for name, m in midi_ports.sent if m.type == "note_on"]
    assert len(on) == 9
    assert sorted(on) == sorted(m.note for _, m in midi_ports.sent if m.type == "note_off")
    heard = MusicCodec().read(tmp_path / "live.mid")[0].value
    assert [n.pitch for n in heard.lines()[0]] == [72, 74, 76]
    midi_ports.sent.clear()
    assert main(["compose", "accompany", "--port", "pads", "--to", "SYNTH", *out]) == 0
    assert "listening to Pads 24:0, playing to Synth 28:0" in capsys.readouterr().err
    assert {name for name, _ in midi_ports.sent} == {"Synth 28:0"}


@pytest.mark.parametrize(
    ("ins", "outs", "args", "said"),
    [
        ([], [], [], "no MIDI port to hear; there are none: plug one in"),
        (["Midi Through 14:0"], ["Midi Through 14:0"], [], "no MIDI port to hear; there is Midi Through 14:0: plug one in, name one with --port"),
        (["Keys", "Pads"], ["Keys"], ["--port", "organ"], "no MIDI port to hear called 'organ'; there are Keys, Pads: give --port"),
        (["Keys 1", "Keys 2"], ["Keys 1"], ["--port", "keys"], "2 MIDI ports to hear called 'keys'; there are Keys 1, Keys 2"),
        (["Keys"], ["Synth"], ["--to", "organ"], "no MIDI port to play to called 'organ'; there is Synth: give --to"),
        (["Busy"], ["Synth"], [], "the MIDI port Busy cannot be opened (device busy); close"),
        (["Keys"], ["Busy"], [], "the MIDI port Busy cannot be opened (device busy); close"),
    ],
)  # fmt: skip
def test_a_port_that_is_not_there_is_one_line_with_those_that_are(midi_ports, tmp_path, capsys, ins, outs, args, said):
    midi_ports.ins, midi_ports.outs, midi_ports.busy = ins, outs, ["Busy"]
    assert main(["compose", "accompany", *args, "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_fails_aloud_is_one_line_all_the_same(midi_ports, capfd):
    def loud(**settings):
        os.write(2, b"ALSA lib seq_hw.c:466: open /dev/snd/seq failed\n")
        raise RuntimeError("no sequencer")

    midi_ports.get_devices = loud
    assert main(["compose", "accompany"]) == 2
    assert capfd.readouterr().err == "bottega: no live port can be opened (no sequencer); give a MIDI file to replay\n"


def test_without_a_backend_a_file_can_still_be_replayed(monkeypatch, tmp_path, capsys):
    mido = pytest.importorskip("mido")
    for fault, said in (
        (ImportError("rtmidi"), "pip install mido python-rtmidi"),
        (RuntimeError("no sequencer"), "(no sequencer)"),
    ):

        def broken(fault=fault):
            raise fault

        monkeypatch.setattr(mido, "get_input_names", broken)
        assert main(["compose", "accompany"]) == 2
        assert said in capsys.readouterr().err
    MusicCodec().write(Item(tune_of(Key(0), notes=4)), tmp_path / "tune.mid")
    for option in ("--port", "--to"):
        assert main(["compose", "accompany", str(tmp_path / "tune.mid"), option, "keys"]) == 2
        assert "a file is replayed without a port" in capsys.readouterr().err
    assert main(["compose", "accompany", str(tmp_path / "tune.mid"), "--formats", "mid"]) == 0


def test_two_voices_are_no_melody():
    two = Score.of([Note(0, 4, 72), Note(0, 4, 65, 80, 1)], ticks=4, parts=(Part(), Part()))
    with pytest.raises(DataError, match="2 voices, and one single line"):
        compose_accompany.replay(two)
    with pytest.raises(DataError, match="no MIDI pitch"):
        compose_accompany.Accompanist().hear(200)


def test_taste_ranks_better_than_fame():
    world = compose_playlist.made_listeners(seed=1)
    ranker = compose_playlist.Ranker(world.plays)
    ours = [compose_playlist.ndcg(ranker.rank(i), later) for i, later in enumerate(world.later)]
    fame = [
        compose_playlist.ndcg(compose_playlist.popularity(world.plays, i), later) for i, later in enumerate(world.later)
    ]
    gain = np.array(ours) - np.array(fame)
    assert gain.mean() - 1.96 * gain.std() / np.sqrt(len(gain)) > 0  # row I7
    assert not set(ranker.rank(0)) & set(np.flatnonzero(world.plays[0]).tolist())


def test_a_new_piece_near_the_taste_and_a_playlist_by_name(tmp_path, capsys):
    slow = [
        Item(replace(i.value, tempos=((0, 1_200_000),)), name=f"slow{k}.mid")
        for k, i in enumerate(worlds.load("tunes", n=6, seed=1).items)
    ]
    fast = [
        Item(replace(i.value.transposed(12), tempos=((0, 300_000),)), name=f"fast{k}.mid")
        for k, i in enumerate(worlds.load("tunes", n=6, seed=2).items)
    ]
    best, share, away = compose_playlist.near_taste([*slow[:4], *fast[:4]], [1] * 4 + [0] * 4, [fast[5], slow[5]])
    assert best == 1
    assert away[1] < away[0]
    assert 0 <= share <= 1
    for item in [*slow[:4], *fast[:4]]:
        MusicCodec().write(item, tmp_path / "known" / item.name)
    for item in (fast[5], slow[5]):
        MusicCodec().write(item, tmp_path / "new" / item.name)
    plays = tmp_path / "plays.csv"
    rows = (
        [("anna", f"slow{k}") for k in range(3)]
        + [("ben", f"slow{k}") for k in range(4)]
        + [("cleo", f"fast{k}") for k in range(4)]
    )
    plays.write_text("listener,piece,plays\n" + "".join(f"{a},{b},3\n" for a, b in rows))
    args = ["compose", "playlist", str(plays), "--listener", "anna", "--json", "-q"]
    assert main([*args, "--scores", str(tmp_path / "known"), "--new", str(tmp_path / "new")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["pieces"][0] == "slow3"
    assert said["new"] == "slow5.mid"
    assert main(["compose", "playlist", str(plays), "--listener", "ana"]) == 2
    assert "anna" in capsys.readouterr().err
    plays.write_text("listener,piece,plays\nanna,x,many\n")
    assert main(args) == 2
    assert "line 2" in capsys.readouterr().err
