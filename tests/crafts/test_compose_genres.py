"""Pieces of a genre: what is asked for is heard in what a small model writes, in a made world and after real tunes."""

from __future__ import annotations

import zipfile
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import bottega
from bottega.codecs.music import MusicCodec
from bottega.core import BottegaError, DataError, Item
from bottega.core.score import Note, Score
from bottega.crafts import compose
from bottega.crafts.compose_arrange import melody_of
from bottega.data import worlds
from bottega.data._tunes import GENRES, genre
from bottega.workshop.run import Run
from helpers import SHARED
from recipes import write_recipe

pytest.importorskip("mido", reason="scores are read as MIDI by mido (extra music)")

CODEC = {"name": "music", "tokens": "events", "steps": 4, "length": 64, "key": "common", "controls": "mode,genre"}
MUON = {"optim.name": "muon", "optim.lr": 3e-3, "optim.muon_lr": 0.02, "train.ema": 0.9}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A GPT of made tunes of two bars in six genres, a quarter of a minute's training."""
    here = tmp_path_factory.mktemp("genres")
    data = {"name": "tunes", "n": 1200, "bars": 2, "genres": True}
    toml = write_recipe(here, "gpt", name="tunes", size=2, data=data, codec=CODEC, steps=300, batch=16)
    return bottega.train(toml, out=here / "run", set=MUON, judge=False)


def test_the_world_of_genres_is_read_rightly():
    found = worlds.load("tunes", n=120, bars=3, genres=True, seed=4)
    assert [genre(i.value) for i in found.items] == found.truth["genres"]
    assert Counter(found.truth["genres"]) == dict.fromkeys(GENRES, 20)
    blind = [genre(replace(i.value, genre="")) for i in found.items]  # not from what the piece says of itself
    assert blind == found.truth["genres"]
    codec = MusicCodec(**{k: v for k, v in CODEC.items() if k != "name"} | {"length": 128}).fit(found.items)
    assert [genre(codec.canonical(i.value)) for i in found.items] == found.truth["genres"]
    assert genre(Score.of([Note(0, 1, 60)], ticks=1)) == ""
    with pytest.raises(DataError, match="not both"):
        worlds.load("tunes", moods=True, genres=True)


def test_a_genre_that_is_asked_for_is_heard(run):
    heard = {name: [genre(m.score) for m in compose.new(run, n=12, wishes={"genre": name})] for name in GENRES}
    right = sum(found.count(name) for name, found in heard.items())
    told = sum(g != "" for found in heard.values() for g in found)
    assert right >= 0.65 * 72, heard  # chance is a sixth
    assert right >= 0.9 * told, heard
    assert (
        compose.new(run, n=2, seed=5, wishes={"genre": "jig"})[1]
        == compose.new(run, seed=6, wishes={"genre": "jig"})[0]
    )


def test_what_is_not_asked_for_is_drawn_as_in_training(run):
    """Without a wish all genres come, as often as they were; each in its metre."""
    made = compose.new(run, n=90)
    said = Counter(m.score.genre for m in made)
    assert set(said) == set(GENRES)
    assert max(said.values()) < 30
    waltzes = [m.score for m in compose.new(run, n=8, wishes={"genre": "waltz"})]
    assert np.mean([s.usual_metre() == (3, 4) for s in waltzes]) > 0.7
    minor = compose.new(run, n=6, wishes={"genre": "jig", "mode": "minor"})
    assert all(m.score.key().mode == "minor" and m.score.genre == "jig" for m in minor)


def test_like_a_piece_is_of_its_mode_and_genre(run):
    some = worlds.load("tunes", n=36, bars=2, genres=True, seed=8).items
    found = [compose.wishes_like(run, replace(i.value, genre="")) for i in some]
    assert [f["mode"] for f in found] == [i.value.key().mode for i in some]
    assert np.mean([f["genre"] == i.value.genre for f, i in zip(found, some, strict=True)]) > 0.85
    assert compose.wishes_like(run, replace(some[0].value, genre="jig"))["genre"] == "jig"  # what it says comes first
    flute = replace(
        some[0].value, genre="", parts=(some[0].value.parts[0]._replace(program=99), some[0].value.parts[1])
    )
    with pytest.raises(DataError, match="program 99"):
        compose.wishes_like(run, flute)


def test_a_run_without_controls_is_like_nothing(run):
    plain = MusicCodec(tokens="events").fit([Item(Score.of([Note(0, 4, 60)], ticks=4))])
    with pytest.raises(BottegaError, match="cannot be asked for anything"):
        compose.wishes_like(
            Run(run.path, run.recipe, plain, run.model, {"step": 0}), Score.of([Note(0, 4, 60)], ticks=4)
        )


KINDS = {"jigs": "jig", "reels": "reel", "waltzes": "waltz"}


def features(score):
    """How often the melody's notes begin at each place of a bar, and last how long, in quarters of a quarter."""
    line = melody_of(score)
    starts = np.array([t for t, _ in score.bars()])
    at = [4 * (n.onset - starts[np.searchsorted(starts, n.onset, side="right") - 1]) / score.ticks for n in line]
    long = [4 * n.duration / score.ticks for n in line]
    return np.concatenate([np.histogram(at, np.arange(-0.5, 17))[0], np.histogram(long, np.arange(-0.5, 17))[0]]) / len(
        line
    )


@pytest.mark.slow
@pytest.mark.shared
def test_real_jigs_reels_and_waltzes_are_asked_for(tmp_path):
    """Nottingham by its file names, sorted into folders; a classifier of rhythm learned from real tunes hears what was asked for."""
    with zipfile.ZipFile(SHARED / "nottingham" / "nottingham_midi.zip") as archive:
        for name in archive.namelist():
            kind = next((KINDS[k] for k in KINDS if name.startswith(k)), None)
            if kind:
                (tmp_path / "folk" / kind).mkdir(parents=True, exist_ok=True)
                (tmp_path / "folk" / kind / name).write_bytes(archive.read(name))
    items = MusicCodec().read(tmp_path / "folk")
    assert {i.value.genre for i in items} == set(KINDS.values())
    x, y = np.stack([features(i.value) for i in items]), np.array([i.value.genre for i in items])
    held = np.arange(len(y)) % 4 == 0
    judge = LogisticRegression(C=100, class_weight="balanced", max_iter=2000).fit(x[~held], y[~held])
    real = np.mean([np.mean(judge.predict(x[held & (y == k)]) == k) for k in KINDS.values()])
    assert real > 0.85
    codec = CODEC | {"length": 200, "controls": "mode,genre"}
    toml = write_recipe(
        tmp_path, "gpt", name="folk", size=3, data={"name": str(tmp_path / "folk")}, codec=codec, steps=300, batch=16
    )
    run = bottega.train(toml, out=tmp_path / "run", set=MUON, judge=False)
    for kind in KINDS.values():
        made = [m.score for m in compose.new(run, n=16, wishes={"genre": kind}) if len(m.score.notes) > 8]
        assert len(made) >= 12
        found = Counter(judge.predict(np.stack([features(s) for s in made])).tolist())
        assert found[kind] >= 0.7 * len(made), found
